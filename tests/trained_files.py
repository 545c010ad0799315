"""What stands in a file of `manual-bp train --save`, to compare two of them."""

import numpy as np

import manual_bp as mbp


def arrays(path):
    """All the numbers of a file, but for the seconds."""
    _, params, history = mbp.load(path)
    found = {
        f"{name}{l}": v for l, layer in enumerate(params) for name, v in layer._asdict().items()
    }
    found |= {f"state {name}": v for name, v in history.optimizer_state.arrays.items()}
    for name in ("cost", "accuracy", "validation_cost", "validation_accuracy"):
        found[name] = getattr(history, name)
    return {name: np.asarray(v) for name, v in found.items() if v is not None}


def assert_same(one, other):
    one, other = arrays(one), arrays(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
