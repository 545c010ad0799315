"""The record: what stands where, by place and by layer, and how it is shown."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import random_case
from manual_bp import Backprop, Layer, Network, backprop
from manual_bp.record import Place, by_layer, named_places, places

NET = Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
CASE = random_case(NET, 7, 0, "float32")


@pytest.fixture(scope="module")
def record():
    return backprop(NET, *CASE)


def test_places_are_in_the_order_of_the_steps():
    assert [(place.equation, place.quantity, place.layer) for place in places(NET)] == [
        ("forward", "a", 0),
        ("forward", "z", 1),
        ("forward", "a", 1),
        ("forward", "z", 2),
        ("forward", "a", 2),
        ("cost", "cost", 2),
        ("BP1", "delta", 2),
        ("BP3", "db", 2),
        ("BP4", "dW", 2),
        ("BP2", "delta", 1),
        ("BP3", "db", 1),
        ("BP4", "dW", 1),
    ]


def test_names_symbols_and_kinds():
    assert list(named_places(NET)) == [
        *("cost", "z1", "z2", "a0", "a1", "a2", "delta1", "delta2", "dW1", "dW2", "db1", "db2")
    ]
    assert {name: place.name for name, place in named_places(NET).items()} == {
        name: name for name in named_places(NET)
    }
    assert [place.kind for place in places(NET)] == [
        *("x", "z", "a", "z", "a", "cost", "BP1", "BP3", "BP4", "BP2", "BP3", "BP4")
    ]
    assert [place.symbol for place in places(NET)][:3] == ["a⁰", "z¹", "a¹"]
    assert Place("cost", "cost", 2).symbol == "C"


def test_a_place_is_where_the_record_has_it(record):
    shapes = {place.name: record.at(place).shape for place in places(NET)}
    assert shapes == {place.name: place.shape(NET, 7) for place in places(NET)}
    assert shapes["a0"] == (7, 3)
    assert record.at(named_places(NET)["a0"]) is record.a[0]
    assert record.at(named_places(NET)["a2"]) is record.a[2]
    assert record.at(named_places(NET)["delta2"]) is record.delta[1]
    assert record.at(named_places(NET)["cost"]) is record.cost
    one = {place.name: place.shape(NET) for place in places(NET)}
    assert (one["a0"], one["z1"], one["dW1"], one["cost"]) == ((3,), (4,), (4, 3), ())


def test_there_and_back(record):
    arrays = {place: record.at(place) for place in places(NET)}
    again = Backprop.from_places(arrays, NET)
    assert jax.tree.structure(again) == jax.tree.structure(record)
    assert all(again.at(place) is array for place, array in arrays.items())
    assert dict(record.items()) == arrays


def test_one_array_is_replaced_and_no_other(record):
    for place in places(NET):
        changed = record.replaced(place, "new")
        assert changed.at(place) == "new"
        assert all(changed.at(p) is record.at(p) for p in places(NET) if p != place)


def test_every_field_may_be_left_out():
    assert Backprop() == Backprop(None, None, None, None, None, None)
    gradients = Backprop(dW=(1, 2), db=(3, 4))
    assert [(place.name, value) for place, value in gradients.items()] == [
        *(("dW1", 1), ("dW2", 2), ("db1", 3), ("db2", 4))
    ]
    assert all(gradients.at(place) is None for place in places(NET) if place.is_per_example)
    given = Backprop.from_places({named_places(NET)["dW2"]: 2}, NET)
    assert given.dW == (None, 2)
    assert given.cost is None


def test_by_layer_counts_from_one():
    params, _, _ = CASE
    W, b = by_layer(params)
    assert list(W) == list(b) == [1, 2]
    assert W[2] is params[1].W
    assert b[1] is params[0].b
    assert by_layer([["W1", "b1"]]) == ({1: "W1"}, {1: "b1"})


# ── How it is shown ──────────────────────────────────────────────────────────────────────────────


def test_one_line_a_quantity_and_no_wall_of_digits(record):
    lines = str(record).splitlines()
    assert [line.split()[0] for line in lines] == [place.symbol for place, _ in record.items()]
    assert max(map(len, lines)) <= 100
    assert repr(record) == str(record)
    (line,) = (line for line in lines if line.startswith("δ¹"))
    delta = np.abs(np.asarray(record.delta[0], float))
    assert "(7, 4) float32" in line
    assert f"mean {delta.mean():.3g}, largest {delta.max():.3g}" in line
    assert record._repr_html_().count("<tr>") == len(lines) + 1


def test_what_is_not_given_is_said():
    assert str(Backprop()) == "Backprop()"
    assert str(Backprop(dW=(None, jnp.ones((2, 4))))).splitlines() == [
        "∂C/∂W¹ not given",
        "∂C/∂W² (2, 4) float32, sizes: mean 1, largest 1",
    ]
    shown = []
    jax.jit(lambda x: shown.append(str(Backprop(z=(x,)))))(jnp.ones(3))
    assert shown == ["z¹ (3,) float32"]  # traced: it has no numbers yet


def test_params_show_their_shapes():
    layer = Layer(jnp.ones((2, 3)), jnp.zeros(2))
    assert repr(layer) == (
        "Layer(W: (2, 3) float32, sizes: mean 1, largest 1; "
        "b: (2,) float32, sizes: mean 0, largest 0)"
    )
    assert repr(layer) in str((layer,))
