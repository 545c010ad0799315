"""What train says of its data and of a cost that does not fall."""

import numpy as np
import pytest

from manual_bp import History
from manual_bp.cli.training_report import closing, examples, hint, line
from manual_bp.files.data import Data
from manual_bp.files.encoding import Encoding


def history(*cost, **more):
    none = dict.fromkeys(("accuracy", "validation_cost", "validation_accuracy"))
    curves = {"cost": np.array(cost), "seconds": np.ones(len(cost)), "epoch": len(cost)}
    return History(**none | curves | more)


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ((1.0, 1.2), "the cost grew from 1 to 1.2: --learning-rate 0.02 may be too large; try 0.0"),
        ((-2.0, -1.0), "the cost grew from -2 to -1: "),
        ((1.0, 1.0), "the cost fell by less than 1 % in 2 epochs: --learning-rate 0.02 may be too"),
        ((1.0, 0.9, 0.995), "the cost fell by less than 1 % in 3 epochs: "),
        ((-1.0, -1.005), "the cost fell by less than 1 %"),
    ],
)
def test_hints(costs, said):
    assert hint(history(*costs), 0.02, scaled=True).startswith(said)
    assert ("--standardize" in hint(history(*costs), 0.02, scaled=False)) == ("grew" in said)


@pytest.mark.parametrize(
    "fine",
    [
        history(1.0, 0.98),
        history(-1.0, -1.5),
        history(1.0),
        history(),
        history(1.0, 1.0, accuracy=np.array([1.0, 1.0])),
    ],
)
def test_no_hint_where_all_is_well(fine):
    assert hint(fine, 0.02, scaled=False) == ""


def test_a_hint_of_what_was_not_finite():
    said = hint(history(stopped="stopped in epoch 1 at step 1 of 1: the cost is nan"), 3, False)
    assert said == (
        "--learning-rate 3 may be too large; try 0.3, or scale the inputs with --standardize"
    )


def data(**encoding):
    return Data(np.ones((4, 9)), np.ones((4, 2)), None, None, "a.csv", Encoding(**encoding))


def test_the_data_in_words():
    assert examples(data(), None) == "4 examples of a.csv, 0 held out"
    of_numbers = data(columns=tuple("abcdefghi"), target="y", mean=(0.0,) * 9, target_deviation=2.0)
    assert examples(of_numbers, 3) == (
        "4 examples of a.csv, 0 held out (drawn by --seed 3, classes not balanced)\n"
        "inputs: a, b, c, d, e, f, … and i, standardized\n"
        "target: y, a number, standardized"
    )
    assert examples(data(classes=("k", "l")), None).endswith("\ntarget: y, 2 classes: k and l")
    assert examples(data(mean=(0.0,)), None).endswith("0 held out, standardized")


def test_the_result_in_words():
    alone, half = history(1.0, 0.5), np.array([0.25, 0.5])
    both = history(1.0, 0.5, accuracy=half, validation_cost=half, validation_accuracy=half)
    assert closing(alone) == "after 2 epochs: cost 0.5"
    assert closing(both) == "held out after 2 epochs: cost 0.5, accuracy 50.00%"
    assert line(alone, 10, 7) == "epoch  2 of 10: cost 0.5; 7 examples/s"
    assert line(both, 2, 7) == (
        "epoch 2 of 2: cost 0.5, accuracy 50.00%; held out: cost 0.5, accuracy 50.00%; 7 examples/s"
    )
