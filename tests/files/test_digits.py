import builtins

import numpy as np
import pytest
from sklearn import datasets

from helpers import assert_close
from manual_bp.files.data import load


def test_digits_are_pixels_over_16_and_one_hot_rows():
    pixels, labels = datasets.load_digits(return_X_y=True)
    digits = load()
    assert digits.name == "digits"
    assert digits.x_test is None
    assert digits.y_test is None
    assert_close(digits.x, (pixels / 16).astype(np.float32))
    assert_close(digits.y, (labels[:, None] == np.arange(10)).astype(np.float32))


def test_digits_without_scikit_learn_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'manual_bp\[data\]'"):
        load("digits")
