"""Run by test_parallel.py in a process of its own, on eight virtual devices: a verdict a line."""

import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import manual_bp as mbp

EVERYTHING = "everything" in sys.argv
BOTH = ("data", "model")
MESHES = {
    "8": ((8,), ("data",)),
    "4x2": ((4, 2), BOTH),
    "2x4": ((2, 4), BOTH),
    "1x8": ((1, 8), BOTH),
    "model": ((8,), ("model",)),
}
DEEP = mbp.Network((16, 32, 16, 8), ("tanh", "relu", "softmax"), "cross_entropy", 0.01, True)
SHALLOW = mbp.Network((16, 8), ("sigmoid",), "quadratic")


def case(net, m, bias=True):
    keys = jax.random.split(jax.random.key(len(net.sizes)), 3)
    params = net.init(keys[0], bias=bias)
    if bias:
        params = tuple(mbp.Layer(W, b + 0.1) for W, b in params)
    x = jax.random.normal(keys[1], (m, net.sizes[0]))
    return params, x, jax.nn.one_hot(jnp.arange(m) % net.sizes[-1], net.sizes[-1])


def mesh(name, kind):
    shape, axes = MESHES[name]
    return jax.make_mesh(shape, axes, axis_types=(kind,) * len(axes))


def verdict(net, mesh, m, fully_sharded, bias=True):
    """What is wrong with the steps on a mesh, in words; nothing where all is right."""
    params, x, y = case(net, m, bias)
    record = mbp.parallel.backprop(net, mesh, fully_sharded=fully_sharded)(params, x, y)
    whole = mbp.Backprop(*jax.device_get(record))
    agreement = mbp.compare(net, params, x, y, subject=whole)
    if not agreement.ok:
        return str(agreement)
    for array in jax.tree.leaves(record):
        parts = {}
        for shard in array.addressable_shards:
            parts.setdefault(str(shard.index), set()).add(np.asarray(shard.data).tobytes())
        if any(len(replicas) > 1 for replicas in parts.values()):
            return "replicas differ"
    step = mbp.parallel.value_and_grad(net, mesh, fully_sharded=fully_sharded)
    C, gradients = step(params, x, y)
    ours = mbp.Backprop(
        np.asarray(C),
        dW=tuple(np.asarray(layer.W) for layer in gradients),
        db=tuple(None if layer.b is None else np.asarray(layer.b) for layer in gradients),
    )
    agreement = mbp.compare(net, params, x, y, subject=ours)
    return "" if not agreement.disagreements else str(agreement)


def layouts():
    for name in MESHES if EVERYTHING else ("2x4",):
        for fully in (False, True) if name != "model" else (False,):
            kind = AxisType.Explicit if fully else AxisType.Auto
            m = 21 if name in ("8", "2x4") else 24
            yield f"{name} {fully}", verdict(DEEP, mesh(name, kind), m, fully)
    yield "no biases", verdict(DEEP, mesh("4x2", AxisType.Auto), 24, False, bias=False)
    yield "one layer", verdict(SHALLOW, mesh("4x2", AxisType.Explicit), 5, False)


def sharded_arguments():
    """Every public function, on arrays that lie on a mesh of Auto and of Explicit axes."""
    net, (params, x, y) = DEEP, case(DEEP, 24)
    calls = {
        "backprop": lambda p, x, y: mbp.backprop(net, p, x, y),
        "autodiff": lambda p, x, y: mbp.autodiff(net, p, x, y),
        "forward": lambda p, x, y: mbp.forward(net, p, x),
        "cost": lambda p, x, y: mbp.cost(net, p, x, y),
        "predict": lambda p, x, y: mbp.predict(net, p, x),
        "value_and_grad": lambda p, x, y: mbp.value_and_grad(net)(p, x, y),
        "microbatch": lambda p, x, y: mbp.value_and_grad(net, 8)(p, x, y),
        "update": lambda p, x, y: mbp.update(p, p, 0.1),
        "weight_gradient": lambda p, x, y: mbp.weight_gradient(y, x),
        "fit": lambda p, x, y: mbp.fit(
            net, p, x, y, epochs=1, batch_size=8, key=jax.random.key(0), learning_rate=0.1
        )[0],
    }
    for kind in (AxisType.Auto, AxisType.Explicit):
        on = mesh("4x2", kind)
        rows = NamedSharding(on, P("data", None))
        placed = jax.device_put(params, NamedSharding(on, P())), *jax.device_put((x, y), rows)
        for name, call in calls.items():
            if not EVERYTHING and (kind is AxisType.Auto or name in ("autodiff", "microbatch")):
                continue
            got, expected = jax.device_get((call(*placed), call(params, x, y)))
            apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), got, expected)
            worst = max(jax.tree.leaves(apart))
            yield f"{name} {kind.name}", "" if worst < 1e-5 else f"off by {worst}"
        for name, judge in (("compare", mbp.compare), ("check", mbp.check)):
            if not EVERYTHING and kind is AxisType.Auto:
                continue
            found = judge(net, *placed, **{"subject": mbp.backprop})
            yield f"{name} {kind.name}", "" if found.ok else str(found)
    lies = mbp.backprop(net, *placed)
    specs = [lies.delta[0].sharding.spec[0], lies.dW[0].sharding.spec]
    yield "where results lie", "" if specs == ["data", P(None, None)] else str(specs)


def refusals():
    for name, call, words in (
        ("widths", lambda: mbp.parallel.backprop(
            mbp.Network((15, 30, 8), ("tanh", "softmax"), "cross_entropy"),
            mesh("2x4", AxisType.Auto)), "the width 30 of layer 1 is split over model, and 4 does"),
        ("mesh", lambda: mbp.parallel.backprop(DEEP, 3), "mesh: expected one of jax.make_mesh"),
        ("axes", lambda: mbp.parallel.backprop(DEEP, jax.make_mesh((8,), ("batch",))),
         "mesh: expected the axes 'data', 'model' or both"),
    ):  # fmt: skip
        try:
            call()
            yield name, "not refused"
        except (ValueError, TypeError) as error:
            yield name, "" if words in str(error) else str(error)


if __name__ == "__main__":
    wrong = 0
    for section in (layouts, sharded_arguments, refusals):
        for name, what in section():
            print(f"{section.__name__}: {name}: {what or 'right'}", flush=True)
            wrong += bool(what)
    sys.exit(bool(wrong))
