"""What a step needs at least, counted by hand and by the compiler."""

import jax
import numpy as np

from peers import gradient_functions
from works import Work


def test_least_operations_of_a_small_network():
    # 2-3-4, batch 5: forward and BP4 5·(3·2 + 4·3) products each, BP2 only through W² : 5·4·3.
    assert Work("small", (2, 3, 4), "relu", 5).operations == 2 * (2 * 5 * (6 + 12) + 5 * 12)


def test_least_operations_are_what_the_compiler_counts():
    # Identity and a wide batch: all but the products is a few operations an element.
    work = Work("wide", (64, 96, 80), "identity", 512)
    value_and_grad = gradient_functions(work)["by hand"]
    x, y = (np.zeros((512, n), np.float32) for n in (64, 80))
    params = work.net.init(jax.random.key(0))
    lowered = jax.jit(value_and_grad).lower(params, x, y)
    counted = lowered.cost_analysis()["flops"]
    elements = 512 * (64 + 96 + 80)
    assert 0 <= counted - work.operations <= 8 * elements
