"""Networks that between them have room for every mistake, and a subject of one's own making."""

import functools

import jax.numpy as jnp
import numpy as np

import manual_bp as mbp
from helpers import random_case
from manual_bp.checking.mistakes import CATALOGUE, Mistake, backprop_with, layers_of

# A square one, as wide as its batch, in which most mistakes have the right shape.
SQUARE = mbp.Network((4, 4, 4, 4), ("tanh", "tanh", "sigmoid"), "quadratic", 0.1)
UNEQUAL = mbp.Network((3, 5, 2), ("tanh", "softmax"), "cross_entropy", 0.1)
DIAGONAL = mbp.Network((3, 5, 2), ("tanh", "softmax"), "quadratic")


@functools.cache
def square():
    return SQUARE, *random_case(SQUARE, 4, 0, "float32")


@functools.cache
def unequal(dtype="float32", m=7):
    """One class is all but impossible, so that a clipped logarithm shows."""
    params, x, y = random_case(UNEQUAL, m, 1, dtype)
    W, b = params[1]
    return UNEQUAL, (params[0], mbp.Layer(W, b.at[-1].add(-20))), x, y


@functools.cache
def ordinary(dtype="float32", m=7):
    return UNEQUAL, *random_case(UNEQUAL, m, 1, dtype)


@functools.cache
def diagonal():
    return DIAGONAL, *random_case(DIAGONAL, 7, 2, "float32")


@functools.cache
def right(case):
    """Backpropagation without a mistake, of one of the cases by name."""
    return backprop_with(*case(), {})


def room(mistake, place):
    """The first of the cases, and its last layer, where a mistake changes a number."""
    for case in (square, unequal, diagonal):
        for l in reversed(layers_of(case()[0], place)):
            try:
                wrong = backprop_with(*case(), {(place, l): mistake})
            except ValueError:
                continue
            if not same(right(case), wrong):
                return case(), l, wrong
    return None


def same(one, other):
    pairs = zip(leaves(one).values(), leaves(other).values(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def leaves(record):
    found = {"cost": np.asarray(record.cost)}
    for quantity in mbp.Backprop._fields[1:]:
        first = 0 if quantity == "a" else 1
        for l, array in enumerate(getattr(record, quantity), first):
            found[f"{quantity}{l}"] = np.asarray(array)
    return found


def plant(case, *where, eta=0.5):
    """A record with mistakes of the catalogue at (name, place, layer)."""
    return backprop_with(*case, {(place, l): CATALOGUE[name] for name, place, l in where}, eta)


def own_mistake(case, place, l, formula):
    """A record with a mistake that the catalogue does not have: `formula` of the right array."""
    mistake = Mistake("mine", (place,), "", "", lambda given: formula(jnp.asarray(given.right)))
    return backprop_with(*case, {(place, l): mistake})


def found(diagnosis):
    return [(f.equation, f.layer, f.mistake) for f in diagnosis.findings]


def gradients_alone(record):
    return mbp.Backprop(None, None, None, None, record.dW, record.db)
