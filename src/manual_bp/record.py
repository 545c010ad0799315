"""The record of a backward pass, and where each array stands in it.

Three words, each with one meaning. An *equation* is "forward", "cost", or "BP1" to "BP4". A
*quantity* is what it gives: "z", "a", "cost", "delta", "dW" or "db". A *place* is one equation's
quantity in one layer. Only this module knows that `a` starts at layer 0, with the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from manual_bp.network import Network, Params
from manual_bp.text import html_table, printable, summary, symbol, table

Layers = Mapping[int, Any]
ANY_FUNCTION = VALUE, GRADIENT = ("value", "VJP")
"""In place of an equation, where it is not a network but any function that is judged."""
FIRST_LAYER = {"z": 1, "a": 0, "delta": 1, "dW": 1, "db": 1}


class Place(NamedTuple):
    """One equation's quantity in one layer: l = 1…L, 0 for the input, L for the cost."""

    equation: str
    quantity: str
    layer: int

    @property
    def kind(self) -> str:
        """The equation; of the forward pass, which has three, what it gives: "x", "z" or "a"."""
        if self.equation != "forward":
            return self.equation
        return self.quantity if self.layer else "x"

    @property
    def name(self) -> str:
        """As in files: "z1", "a0", "dW2"; the cost has no number."""
        return "cost" if self.quantity == "cost" else f"{self.quantity}{self.layer}"

    @property
    def symbol(self) -> str:
        """As in the equations: z¹, ∂C/∂W², C; of any other function its own name, or ∂/∂q."""
        if self.equation in ANY_FUNCTION:
            return self.quantity
        return symbol(self.quantity, self.layer)

    @property
    def where(self) -> str:
        """For a sentence: the cost, or BP2 at layer 1."""
        if self.equation in ANY_FUNCTION:
            return self.equation
        return "the cost" if self.equation == "cost" else f"{self.equation} at layer {self.layer}"

    @property
    def is_per_example(self) -> bool:
        """Whether each example has a row of its own there."""
        return self.quantity in ("z", "a", "delta")

    def shape(self, net: Network, *batch: int) -> tuple[int, ...]:
        """The array's shape, of `batch` examples, or of one example without the batch axis."""
        n = net.sizes[self.layer]
        if self.is_per_example:
            return (*batch, n)
        return {"cost": (), "db": (n,), "dW": (n, net.sizes[self.layer - 1])}[self.quantity]


def places(net: Network, params: Params | None = None) -> list[Place]:
    """Every place, in the order of the six steps: forwards, the cost, then backwards.

    With params, no place for the biases that they do not have.
    """
    L = net.depth
    found = [Place("forward", "a", 0)]
    for l in net.layers:
        found += [Place("forward", "z", l), Place("forward", "a", l)]
    found.append(Place("cost", "cost", L))
    for l in reversed(net.layers):
        found.append(Place("BP1" if l == L else "BP2", "delta", l))
        found += [Place("BP3", "db", l)] if params is None or params[l - 1][1] is not None else []
        found.append(Place("BP4", "dW", l))
    return found


def named_places(net: Network, params: Params | None = None) -> dict[str, Place]:
    """Every place by its name, quantity by quantity and layer by layer, as in a record."""
    order = sorted(places(net, params), key=lambda place: place.layer)
    return {
        place.name: place
        for quantity in Backprop._fields
        for place in order
        if place.quantity == quantity
    }


def by_layer(params: Params) -> tuple[dict[int, Any], dict[int, Any]]:
    """({l: Wˡ}, {l: bˡ}) for l = 1…L, as the equations count; None for no biases."""
    W, b = zip(*params, strict=True)
    return dict(enumerate(W, start=1)), dict(enumerate(b, start=1))


class Backprop(NamedTuple):
    """What a backward pass computes, a tuple over the layers for each quantity; None: not given.

    Attributes:
        cost: C of the batch.
        z: the input sums z¹ … zᴸ, each (m, n_l).
        a: the activations a⁰ … aᴸ, each (m, n_l), where a⁰ = x.
        delta: the errors δ¹ … δᴸ, δ = ∂C/∂z, each (m, n_l).
        dW: the gradients ∂C/∂W¹ … ∂C/∂Wᴸ, each of W's shape.
        db: the gradients ∂C/∂b¹ … ∂C/∂bᴸ, each of b's shape; None for a layer without biases.

    Example:
        >>> import manual_bp as mbp
        >>> mine = mbp.Backprop(dW=([[1.0, 2.0]],), db=([3.0],))
        >>> mine.cost is None, mine.dW[0]
        (True, [[1.0, 2.0]])
    """

    cost: Any = None
    z: Any = None
    a: Any = None
    delta: Any = None
    dW: Any = None
    db: Any = None

    def at(self, place: Place) -> Any:
        """The array at a place; None where it is not given."""
        quantity = getattr(self, place.quantity)
        if quantity is None or place.quantity == "cost":
            return quantity
        return quantity[place.layer - FIRST_LAYER[place.quantity]]

    def replaced(self, place: Place, array: Any) -> Backprop:
        """The record with another array at a place whose quantity is given."""
        if place.quantity == "cost":
            return self._replace(cost=array)
        arrays = list(getattr(self, place.quantity))
        arrays[place.layer - FIRST_LAYER[place.quantity]] = array
        return self._replace(**{place.quantity: tuple(arrays)})

    def items(self) -> Iterator[tuple[Place, Any]]:
        """Every given quantity's arrays with their places, in the order of the fields."""
        depth = max(
            (len(arrays) - 1 + first for name, first in FIRST_LAYER.items()
             if (arrays := getattr(self, name)) is not None),
            default=1,
        )  # fmt: skip
        names = {"z": "forward", "a": "forward", "db": "BP3", "dW": "BP4"}
        if self.cost is not None:
            yield Place("cost", "cost", depth), self.cost
        for quantity, first in FIRST_LAYER.items():
            for l, array in enumerate(getattr(self, quantity) or (), first):
                equation = names.get(quantity) or ("BP1" if l == depth else "BP2")
                yield Place(equation, quantity, l), array

    @staticmethod
    def from_layers(
        cost: Any, z: Layers, a: Layers, delta: Layers, dW: Layers, db: Layers
    ) -> Backprop:
        """A record of arrays by layer, in whatever order they were computed."""
        quantities = (tuple(array[l] for l in sorted(array)) for array in (z, a, delta, dW, db))
        return Backprop(cost, *quantities)

    @staticmethod
    def from_places(arrays: Mapping[Place, Any], net: Network) -> Backprop:
        """A record of arrays by place; None where none is given."""
        fields: dict[str, Any] = {}
        for place in named_places(net).values():
            if place.quantity == "cost":
                fields["cost"] = arrays.get(place)
            else:
                fields.setdefault(place.quantity, []).append(arrays.get(place))
        return Backprop(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in fields.items()
            }
        )

    def _lines(self) -> list[tuple[str, str]]:
        return [
            (place.symbol, summary(array))
            for place, array in self.items()
            if not (array is None and place.quantity == "db")  # there are no such biases
        ]

    def __repr__(self) -> str:
        return printable("\n".join(table(self._lines(), left=(0, 1))) or "Backprop()")

    def _repr_html_(self) -> str:
        return html_table(("quantity", "shape and size of its values"), self._lines())
