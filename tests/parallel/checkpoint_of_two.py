"""Run by test_hosts.py in two processes: a checkpoint of both, and training goes on from it."""

import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import numpy as np
import optax

import manual_bp as mbp

i, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
mbp.parallel.connect(f"127.0.0.1:{port}", 2, i, lost_after=30)
net = mbp.Network((16, 32, 16, 8), ("tanh", "relu", "softmax"), "cross_entropy", 0.01)
draw = np.random.default_rng(0)
x, y = draw.normal(size=(47, 16)).astype("f"), np.eye(8, dtype="f")[np.arange(47) % 8]
own = slice(0, 23) if i == 0 else slice(23, 47)
mesh = jax.make_mesh((2, 2), ("data", "model"))
how = {"batch_size": 16, "key": jax.random.key(1), "optimizer": optax.adam(0.01)}
how |= {"mesh": mesh, "fully_sharded": True}
whole, _ = mbp.fit(net, net.init(jax.random.key(0)), x[own], y[own], epochs=3, **how)
half, history = mbp.fit(net, net.init(jax.random.key(0)), x[own], y[own], epochs=2, **how)
mbp.save_checkpoint(folder, net, half, history)
_, again, told = mbp.load_checkpoint(folder, mesh=mesh, fully_sharded=True)
goes_on = {"start_epoch": told.epoch, "optimizer_state": told.optimizer_state}
on, _ = mbp.fit(net, again, x[own], y[own], epochs=1, **goes_on, **how)
found, expected = mbp.parallel.whole((on, whole))
same = map(np.array_equal, jax.tree.leaves(found), jax.tree.leaves(expected))
print("same bits" if all(same) else "other bits")
