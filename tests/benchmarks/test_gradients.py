"""The planted mistakes are mistakes, the other ways are right, and what they edit is there."""

import jax
import numpy as np
import pytest

from gradients.cases import LAYERS, SIZES, case
from gradients.edited import edited
from gradients.mistakes import ARGUMENTS, MISTAKES
from gradients.ways import WAYS, right_cases


def test_what_is_edited_is_on_its_page():
    for one in (*MISTAKES, *WAYS):
        assert callable(edited(one.layer, one.edits))
    with pytest.raises(ValueError, match="expected 'no such line' once on its page, got 0"):
        edited("rnn", (("no such line", ""),))


def test_there_are_many_and_each_has_a_name_of_its_own():
    assert len({(one.layer, one.name) for one in MISTAKES}) == len(MISTAKES) >= 60
    assert len({(one.layer, one.name) for one in WAYS}) == len(WAYS)
    assert 2 * sum(len(SIZES[way.layer]) * len(way.fits) for way in WAYS) >= 1000  # two seeds
    way, one = next(right_cases())
    assert way.layer == one.layer
    assert {one.layer for one in MISTAKES} == {one.layer for one in WAYS} == set(LAYERS)


def test_cases_have_the_arguments_that_mistakes_name():
    for layer in LAYERS:
        assert list(case(layer).args) == ARGUMENTS[layer].split()


@pytest.mark.sweep
@pytest.mark.parametrize("layer", LAYERS)
def test_a_mistake_shows_in_the_gradients_that_it_names_alone(x64, layer):
    cases = [case(layer, size, dtype="float64") for size in range(len(SIZES[layer]))]
    right = [one.gradients(one.by_hand) for one in cases]
    for mistake in (one for one in MISTAKES if one.layer == layer):
        shown = {wrong_ones(one, its, mistake) for one, its in zip(cases, right, strict=True)}
        # Without padding, with one block or a stride of 1 some of them change nothing.
        assert shown - {()} == {tuple(sorted(mistake.wrong))}, mistake.name


def wrong_ones(one, right, mistake):
    found = zip(one.args, right, mistake.gradients(one), strict=True)
    return tuple(
        sorted(name for name, a, b in found if np.abs(a - b).max() > 1e-9 * np.abs(a).max())
    )


@pytest.mark.sweep
@pytest.mark.parametrize("layer", LAYERS)
def test_other_ways_are_right(x64, layer):
    cases = [case(layer, size, dtype="float64") for size in range(len(SIZES[layer]))]
    for one in cases:
        expected = one.gradients(one.plain)
        for way in (way for way in WAYS if way.layer == layer):
            for name, a, b in zip(one.args, expected, way.gradients(one), strict=True):
                # A hundred roundings of the largest; a mistake is thousands of times above.
                assert np.abs(a - b).max() <= 100 * 2.0**-53 * np.abs(a).max(), (way.name, name)


def test_widened_numbers_are_the_same_in_the_same_order(x64):
    one = case("conv2d", dtype="bfloat16")
    wide = one.widened
    assert list(wide.args) == list(one.args)
    assert all((wide.args[name] == one.args[name]).all() for name in one.args)
    assert {array.dtype for array in jax.tree.leaves((wide.args, wide.cotangent))} == {
        np.dtype("float64")
    }
