"""Networks that between them have room for every mistake, and a subject of one's own making."""

import copy
import functools

import jax.numpy as jnp
import numpy as np

import manual_bp as mbp
from helpers import random_case
from manual_bp.diagnosis.edits import CATALOGUE, Edit, Option
from manual_bp.diagnosis.planting import backprop_with, places_for
from manual_bp.record import places
from manual_bp.rounding.sized import Sized

# A square one, as wide as its batch, in which most mistakes have the right shape.
SQUARE = mbp.Network((4, 4, 4, 4), ("tanh", "tanh", "sigmoid"), "quadratic", 0.1)
UNEQUAL = mbp.Network((3, 5, 2), ("tanh", "softmax"), "cross_entropy", 0.1)
DIAGONAL = mbp.Network((3, 5, 2), ("tanh", "softmax"), "quadratic")
DECAYED = mbp.Network((3, 5, 2), ("tanh", "sigmoid"), "quadratic", 0.1, l2_biases=True)
DEEP = mbp.Network((3, 5, 4, 5, 4), ("tanh",) * 4, "quadratic")


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
def decayed():
    return DECAYED, *random_case(DECAYED, 7, 3, "float32")


@functools.cache
def deep():
    return DEEP, *random_case(DEEP, 7, 4, "float32")


@functools.cache
def right(case):
    """Backpropagation without a mistake, of one of the cases by name."""
    return backprop_with(*case(), {})


def at(net, kind, l):
    """The place of a kind (such as "BP2", "z" or "x") in layer l."""
    return next(p for p in places(net) if (p.kind, p.layer) == (kind, l))


def room(mistake, kind):
    """The first of the cases, and its last place of a kind, where a mistake changes a number."""
    for case in (square, unequal, diagonal, decayed, deep):
        for place in reversed(places_for(case()[0], mistake)):
            if place.kind != kind:
                continue
            try:
                wrong = backprop_with(*case(), {place: mistake})
            except ValueError:
                continue
            if not same(right(case), wrong):
                return case(), place, wrong
    return None


def same(one, other):
    pairs = zip(leaves(one).values(), leaves(other).values(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def leaves(record):
    """A whole record's arrays by their names, in the order of the fields."""
    return {place.name: np.asarray(array) for place, array in record.items()}


def plant(case, *where, eta=0.5):
    """A record with mistakes of the catalogue at (name, kind of place, layer)."""
    return backprop_with(
        *case, {at(case[0], kind, l): CATALOGUE[name] for name, kind, l in where}, eta
    )


def own_mistake(case, kind, l, formula):
    """A record with a mistake that the catalogue does not have: `formula` of the right array."""

    def after(right):
        return Sized.of(np.asarray(formula(jnp.asarray(right.value))))

    mistake = Edit("mine", kind, "result", "", "", lambda inputs: [Option(after)])
    return backprop_with(*case, {at(case[0], kind, l): mistake})


def with_sigmas(net, *activations):
    """The network with functions that it would refuse, such as a σ with another one's σ′."""
    planted = copy.copy(net)
    object.__setattr__(planted, "activations", activations)
    return planted


def found(diagnosis):
    return [(f.equation, f.layer, f.mistake) for f in diagnosis.findings]


def gradients_alone(record):
    return mbp.Backprop(dW=record.dW, db=record.db)
