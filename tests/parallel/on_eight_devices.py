"""Run by test_parallel.py in a process of its own, on eight virtual devices: a verdict a line."""

import contextlib
import functools
import inspect
import io
import os
import sys
import tempfile
from unittest import mock

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import manual_bp as mbp
from manual_bp.cli.main import main
from manual_bp.parallel import steps

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


def right_code():
    """Random networks and batches on every layout, in float32 and float64: none is rejected."""
    draw = np.random.default_rng(0)
    for name in MESHES if EVERYTHING else ("4x2",):
        for fully, dtype in ((False, "float32"), (True, "float64")):
            if name == "model" and fully:
                continue
            m, on = int(draw.integers(9, 33)), mesh(name, AxisType.Auto)
            rejected = 0
            with jax.enable_x64(dtype == "float64"):
                step = mbp.parallel.backprop(DEEP, on, fully_sharded=fully)
                for _ in range(23 if EVERYTHING else 1):
                    params = tuple(
                        mbp.Layer(draw.normal(size=W.shape).astype(dtype) * draw.uniform(0.1, 2),
                                  draw.normal(size=b.shape).astype(dtype))
                        for W, b in case(DEEP, 1)[0]
                    )  # fmt: skip
                    x = (10 ** draw.uniform(-2, 2) * draw.normal(size=(m, 16))).astype(dtype)
                    y = np.eye(8, dtype=dtype)[draw.integers(8, size=m)]
                    rejected += not mbp.check(DEEP, params, x, y, step(params, x, y)).ok
            yield f"{name} {fully} {dtype} {m}", f"{rejected} rejected" if rejected else ""
    if not EVERYTHING:
        yield "the other layouts", ""  # in the sweep


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


def lowering():
    """The programs of a mesh lower for every accelerator."""
    shapes = jax.eval_shape(DEEP.init, jax.random.key(0))
    batch = [jax.ShapeDtypeStruct((21, n), jnp.float32) for n in (16, 8)]
    for name, fully in (("2x4", False), ("4x2", True), ("8", False)):
        layout = mbp.parallel.Layout(DEEP, mesh(name, AxisType.Auto), fully)
        for part in (steps.whole, steps.cost_and_gradients):
            program = steps.program(layout, part)
            lowered = jax.export.export(program, platforms=("cuda", "rocm", "tpu"))(shapes, *batch)
            there = lowered.platforms == ("cuda", "rocm", "tpu") and lowered.nr_devices == 8
            yield f"{name} {fully} {part.__name__}", "" if there else str(lowered.platforms)


SUM_b = "psum(bias_gradient(delta[l]), layout.data)"
MISTAKES = {
    "sum over data missing": ({SUM_b: "bias_gradient(delta[l])"}, "one_device_alone"),
    "sum over data twice": ({SUM_b: f"psum({SUM_b}, layout.data)"}, "summed_over_devices_twice"),
    "bias on every device": (
        {"W[l]), None, a[l - 1])": "W[l]), b[l], a[l - 1])",
         "z[l] if b[l] is None else z[l] + b[l]": "z[l]"}, "bias_on_every_device"),
    "sum of z missing": ({"z[l] = psum(z[l], layout.model)": "pass"}, "forward_sum_of_one_device"),
    "sum of the error missing": ({"back = psum(back, layout.model)": "pass"},
                                 "backward_sum_of_one_device"),
    "own m": ({"a[L], y, m)": "a[L], y, 1) / real.sum()"}, "divided_by_own_m"),
    "sum over the wrong axis": ({"layout, l, weight_gradient(": "layout, l, over_model(layout, "},
                                "summed_over_wrong_axis"),
}  # fmt: skip
"""Edits of the steps, and what each is called."""


def over_model(layout, delta, a_prev):
    """∂C/∂W of one device's examples, its blocks added up over the wrong axis."""
    return jax.lax.psum(steps.weight_gradient(delta, a_prev), "model")


def with_mistake(layout, edits, params, x, y):
    """The record of steps that are edited, on the mesh; JAX's own check of copies turned off."""
    source = inspect.getsource(steps.shard_steps)
    for old, new in edits.items():
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    namespace = vars(steps) | {"over_model": over_model}
    if over_model.__name__ in source:
        namespace["scattered"] = lambda layout, l, dW: dW
    exec(source, namespace)
    unchecked = functools.partial(jax.shard_map, check_vma=False)
    with (
        mock.patch.object(steps, "shard_steps", namespace["shard_steps"]),
        mock.patch.object(jax, "shard_map", unchecked),
    ):
        return steps.program.__wrapped__(layout, steps.whole)(params, x, y)


def mistakes():
    """Mistakes in the code of the steps: found, and by their names; copies that differ are told."""
    for name, (edits, told) in MISTAKES.items():
        for where in ("2x4", "4x2") if EVERYTHING else ("4x2",):
            layout = mbp.parallel.Layout(DEEP, mesh(where, AxisType.Auto))
            m = 21 if told == "divided_by_own_m" else 24
            params, x, y = case(DEEP, m)
            record = with_mistake(layout, edits, params, x, y)
            if m % 4:  # of an uneven batch each array is whole, as the caller sees it
                record = mbp.Backprop(*jax.device_get(record))
            diagnosis = mbp.check(DEEP, params, x, y, record, shards=dict(layout.mesh.shape))
            names = {
                edit
                for finding in diagnosis.findings
                for way in (finding.edits, *finding.alternatives)
                for edit in way
            }
            differ = "missing" in name or "axis" in name
            wrong = [f"named {names or None}"] * (told not in names)
            wrong += ["copies that differ"] * (differ != ("copies_differ" in names))
            yield f"{name} {where}", "; ".join(wrong) and f"{wrong} {diagnosis}"


def drift():
    """Weights whose copies drifted apart, NaN beside NaN, and right code on a mesh."""
    params, x, y = case(DEEP, 24)
    on = mesh("8", AxisType.Auto)
    alike = NamedSharding(on, P())
    copies = [np.array(params[0].W) for _ in range(8)]
    copies[3][0, 0] += 1e-3
    W = jax.make_array_from_single_device_arrays(
        params[0].W.shape, alike, [jax.device_put(c, d) for c, d in zip(copies, jax.devices(),
                                                                        strict=True)]
    )  # fmt: skip
    apart = (mbp.Layer(W, params[0].b), *params[1:])
    told = [str(finding) for finding in mbp.check(DEEP, apart, x, y, mbp.backprop).findings]
    words = "the copies of W¹ on devices 0 and 3 differ at (0, 0): "
    yield "weights", "" if any(words in one for one in told) else str(told)
    agreement = mbp.compare(DEEP, apart, x, y, subject=mbp.autodiff)
    silent = agreement.ok or words not in " ".join(agreement.notes)
    yield "compare", "" if not silent else str(agreement)
    record = mbp.parallel.backprop(DEEP, on)(params, x, y)
    yield "right", "" if mbp.check(DEEP, params, x, y, record).ok else "not right"
    copies = [np.array(record.db[0]) for _ in range(8)]
    copies[3][1] += 1
    copies = [jax.device_put(c, d) for c, d in zip(copies, jax.devices(), strict=True)]
    b = jax.make_array_from_single_device_arrays(copies[0].shape, alike, copies)
    head = mbp.check(DEEP, params, x, y, record._replace(db=(b, *record.db[1:]))).headline
    yield "headline", "" if head == "Wrong: 1 finding." else head
    nan = jax.device_put(np.full(params[0].W.shape, np.nan, "f"), alike)
    found = mbp.check(DEEP, params, x, y, record._replace(dW=(nan, *record.dW[1:]))).findings
    yield "NaN", "" if all("copies" not in str(one) for one in found) else str(found)


def training():
    """fit on a mesh: the parameters of one device, to rounding, and its history."""
    params, x, y = case(DEEP, 45)
    sgd, adam = {"learning_rate": 0.5}, {"optimizer": optax.adam(0.01)}
    how = {"epochs": 2, "batch_size": 20, "key": jax.random.key(3), "validation": (x[:9], y[:9])}
    cases = {
        "data": ("8", False, AxisType.Auto, sgd),
        "both": ("2x4", False, AxisType.Auto, sgd | {"verify_every": 2}),
        "model": ("model", False, AxisType.Explicit, adam),
        "fully sharded, adam": ("4x2", True, AxisType.Explicit, adam),
    }
    with jax.enable_x64(True):
        params, x, y = jax.tree.map(lambda one: np.asarray(one, "float64"), (params, x, y))
        how["validation"] = x[:9], y[:9]
        for name, (devices, fully, kind, rule) in cases.items():
            if name in ("data", "model") and not EVERYTHING:
                continue
            expected, alone = mbp.fit(DEEP, params, x, y, **how, **rule)
            on = mesh(devices, kind)
            found, history = mbp.fit(
                DEEP, params, x, y, **how, **rule, mesh=on, fully_sharded=fully
            )
            off = max(
                float(np.abs(got - right).max())
                for got, right in zip(*map(jax.tree.leaves, jax.device_get((found, expected))),
                                      strict=True)
            )  # fmt: skip
            lies = mbp.parallel.Layout(DEEP, on, fully).W(1)
            curves = np.allclose(history.validation_cost, alone.validation_cost, rtol=1e-12)
            same = curves and history.accuracy.tolist() == alone.accuracy.tolist()
            wrong = [f"off by {off:.1e}"] * (off > 1e-13)
            wrong += ["another history"] * (not same)
            wrong += [f"W1 lies as {found[0].W.sharding}"] * (
                found[0].W.sharding != NamedSharding(on, lies)
            )
            yield name, "; ".join(wrong)
        np.save(file := os.path.join(tempfile.mkdtemp(), "x.npy"), x)
        where = {"mesh": on, "fully_sharded": fully}
        first, half = mbp.fit(DEEP, params, x, y, **how | {"epochs": 1}, **rule, **where)
        again, _ = mbp.fit(
            DEEP, first, x, y, **how | {"epochs": 1}, **rule, **where, start_epoch=half.epoch,
            optimizer_state=half.optimizer_state,
        )  # fmt: skip
        same = jax.tree.map(np.array_equal, *jax.device_get((again, found)))
        yield "resumed", "" if all(jax.tree.leaves(same)) else "not the same bits"
        mapped, _ = mbp.fit(DEEP, params, np.load(file, mmap_mode="r"), y, **how, **rule, **where)
        same = jax.tree.map(np.array_equal, *jax.device_get((mapped, found)))
        yield "memory-mapped", "" if all(jax.tree.leaves(same)) else "not the same bits"
        del how["batch_size"]
        pairs = [(x[i : i + 20], y[i : i + 20]) for i in (0, 20)]
        expected, _ = mbp.fit(DEEP, params, pairs, **how, **rule)
        for name, place in (("device", jax.devices()[3]), ("mesh", NamedSharding(on, P()))):
            placed = jax.device_put(pairs, place)
            found, _ = mbp.fit(DEEP, params, placed, **how, **rule, mesh=on)
            close = jax.tree.map(
                functools.partial(np.allclose, rtol=0, atol=1e-13), found, expected
            )
            yield f"batches on a {name}", "" if all(jax.tree.leaves(close)) else "they differ"


def checkpoints():
    """Written on one mesh, loaded on any, and training goes on as if never interrupted."""
    params, x, y = case(DEEP, 40)
    rule = {"optimizer": optax.adam(0.01), "key": jax.random.key(3), "batch_size": 16}
    first_mesh = mesh("4x2", AxisType.Explicit)
    how = rule | {"mesh": first_mesh, "fully_sharded": True}
    whole, _ = mbp.fit(DEEP, params, x, y, epochs=3, **how)
    half, history = mbp.fit(DEEP, params, x, y, epochs=2, **how)
    folder = tempfile.mkdtemp()
    mbp.save_checkpoint(folder, DEEP, params)
    mbp.save_checkpoint(folder, DEEP, half, history)
    yield "kept", "" if len(os.listdir(folder)) == 2 else str(os.listdir(folder))
    for name, on, fully in (("same", first_mesh, True), ("other", mesh("8", AxisType.Auto), False),
                            ("one device", None, False)):  # fmt: skip
        net, again, told = mbp.load_checkpoint(folder, mesh=on, fully_sharded=fully)
        same = jax.tree.map(np.array_equal, *jax.device_get((again, half)))
        wrong = ["not the same bits"] * (not all(jax.tree.leaves(same)))
        wrong += ["another network"] * (net != DEEP)
        wrong += ["another history"] * (told.cost.tolist() != history.cost.tolist())
        if on is not None:
            lies = mbp.parallel.Layout(DEEP, on, fully)
            wrong += ["lies elsewhere"] * (again[1].W.sharding != NamedSharding(on, lies.W(2)))
            moments = told.optimizer_state.arrays["[0].mu[1].W"]
            wrong += ["moments lie elsewhere"] * (moments.sharding.spec != lies.W(2))
        more = rule | {"mesh": on, "fully_sharded": fully} if on is not None else rule
        on_, _ = mbp.fit(DEEP, again, x, y, epochs=1, start_epoch=told.epoch,
                         optimizer_state=told.optimizer_state, **more)  # fmt: skip
        bits = jax.tree.map(np.array_equal, *jax.device_get((on_, whole)))
        near = jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-5),
                            *jax.device_get((on_, whole)))  # fmt: skip
        is_right = all(jax.tree.leaves(bits if name == "same" else near))
        yield name, "; ".join(wrong + ["went on otherwise"] * (not is_right))


def command_line():
    """manual-bp train --mesh, and what it refuses."""
    folder = tempfile.mkdtemp()
    files = [os.path.join(folder, name) for name in ("one.safetensors", "many.safetensors")]
    short = ["train", "--sizes", "64-32-16-10", "--epochs", "2", "--quiet", "--dtype", "float64"]
    for file, more in zip(files, ([], ["--mesh", "data=4,model=2"]), strict=True):
        code, said = ran([*short, "--save", file, *more])
        yield f"train {' '.join(more)}", "" if code == 0 else said
    with jax.enable_x64(True):
        (_, one, _), (_, many, _) = map(mbp.load, files)
    same = jax.tree.map(lambda a, b: np.allclose(a, b, rtol=0, atol=1e-9), one, many)
    yield "the same parameters", "" if all(jax.tree.leaves(same)) else "they differ"
    for mesh_, words in (
        ("data=9", "--mesh: data=9 takes 9 devices, and 8 are there"),
        ("dta=2", "--mesh: expected how many devices along data, model or both"),
        ("data=two", "--mesh: expected how many devices"),
        ("model=5", "--sizes, --mesh: the width 16 of layer 2 is split over model"),
    ):
        code, said = ran([*short, "--mesh", mesh_])
        yield mesh_, "" if code == 2 and words in said and "Traceback" not in said else said


def ran(argv):
    """The exit code of a command, and what it says on the error stream."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main(argv)
    return code, errors.getvalue()


def refusals():
    for name, call, words in (
        ("widths", lambda: mbp.parallel.backprop(
            mbp.Network((15, 30, 8), ("tanh", "softmax"), "cross_entropy"),
            mesh("2x4", AxisType.Auto)), "the width 30 of layer 1 is split over model, and 4 does"),
        ("mesh", lambda: mbp.parallel.backprop(DEEP, 3), "mesh: expected one of jax.make_mesh"),
        ("microbatch", lambda: mbp.fit(DEEP, *case(DEEP, 8), epochs=1, batch_size=4,
            key=jax.random.key(0), learning_rate=1.0, microbatch=2, mesh=mesh("8", AxisType.Auto)),
         "microbatch, mesh: expected one of them alone"),
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
    for section in (
        layouts,
        right_code,
        sharded_arguments,
        lowering,
        mistakes,
        drift,
        training,
        checkpoints,
        command_line,
        refusals,
    ):
        for name, what in section():
            print(f"{section.__name__}: {name}: {what or 'right'}", flush=True)
            wrong += bool(what)
    sys.exit(bool(wrong))
