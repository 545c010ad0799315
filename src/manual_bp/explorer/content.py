"""What the page reads: the arrays that are shown, their verdicts and the words, for JSON."""

import base64
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from manual_bp.activations import softmax
from manual_bp.calls import examples
from manual_bp.diagnosis.check import Diagnosis
from manual_bp.explorer.sample import Sample, axes
from manual_bp.explorer.steps import Step
from manual_bp.files.json import number
from manual_bp.lean import class_of
from manual_bp.network import Network
from manual_bp.plot.regions import classes_of, decided
from manual_bp.record import Place, by_layer, places
from manual_bp.subjects.subject import double
from manual_bp.verdicts.judge import Judged
from manual_bp.verdicts.reading import Reading
from manual_bp.verdicts.rows import Row, nearest_right_value

OUR_LAYOUT = (
    "the matrices are shown with an example a row, and W as (out, in); what is wrong is told in "
    "your own layout."
)
REGION_CELLS = 40  # along each side of the plane of two inputs


def of_network(net: Network, sample: Sample, reading: Reading) -> dict[str, Any]:
    """The network, and how its numbers are scaled."""
    scales = reading.subject.scales
    return {
        "name": str(net),
        "sizes": net.sizes,
        "neurons": [neurons.tolist() for neurons in sample.neurons],
        "activations": [sigma.name for sigma in net.activations],
        "cost": net.cost.name,
        "slopeIsDelta": net.cost.delta is not None,
        "mixesOutputs": net.sigma[net.depth] is softmax and net.cost.delta is None,
        "biases": [b is not None for _, b in reading.call.params],
        "penalty": net.l2 * scales.gradient_penalty,
        "penaltyOnBiases": net.l2_biases,
        "collected": scales.collected,
        "perExample": scales.delta / examples(reading.call.x),
    }


def of_step(
    step: Step, diagnosis: Diagnosis, sample: Sample, names: Sequence[str], picture: Any
) -> dict[str, Any]:
    """One step: its arrays by name, its examples, the verdict on each place."""
    reading = diagnosis.reading
    assert reading is not None  # `write` has seen to it
    arrays, net = _Arrays(reading, sample), reading.call.net
    content: dict[str, Any] = {
        "number": step.number,
        "cost": number(step.cost),
        "accuracy": number(step.accuracy),
        "learningRate": step.learning_rate,
        "examples": _examples(reading, sample, names, picture),
        "arrays": arrays.by_name(step),
        "rows": [_row(row) for row in reading.agreement.rows],
        "findings": [
            {"place": _place_of(finding, reading), "text": str(finding)}
            for finding in diagnosis.findings
        ],
        "headline": diagnosis.headline,
        "notes": [
            *(f"{note}." for note in diagnosis.agreement.notes),
            *diagnosis.warnings,
            *[OUR_LAYOUT] * any(map(diagnosis.convention.is_transposed, places(net))),
        ],
    }
    x, y = (np.atleast_2d(np.asarray(array, np.float64)) for array in reading.call[2:])
    if net.sizes[0] == 2 and classes_of(net, y) is not None:
        content["regions"] = _regions(reading, x, y, names)
    return content


class _Arrays:
    """The arrays of one step, in float64."""

    def __init__(self, reading: Reading, sample: Sample) -> None:
        self.reading, self.sample = reading, sample
        self.judged = {one.place: one for one in reading.judged}

    def by_name(self, step: Step) -> dict[str, Any]:
        """By its name in files, and W, b and y; σ′ and where BP1 starts from as well."""
        net, params, _, y = self.reading.call
        found = {place.name: self._one(one) for place, one in self.judged.items()}
        for letter, layers in zip("Wb", by_layer(params), strict=True):
            for l, array in layers.items():
                if array is not None:
                    found[f"{letter}{l}"] = self._plain(_weight_axes(letter, l), array)
        if step.after is not None:
            for letter, layers in zip("Wb", by_layer(step.after), strict=True):
                for l, array in layers.items():
                    if array is not None:
                        found[f"{letter}{l}after"] = self._plain(_weight_axes(letter, l), array)
        y = np.atleast_2d(np.asarray(y, np.float64))
        found["y"] = self._plain((-1, net.depth), y)
        return found | self._factors(net, y)

    def _factors(self, net: Network, y: Any) -> dict[str, Any]:
        """What stands in BP1 and BP2 beside the arrays of the record: ∇ₐC and σ′."""
        found, L, scale = {}, net.depth, self.reading.subject.scales.delta / len(y)
        with jax.enable_x64(True):
            z = {l: double(self._value(Place("forward", "z", l))) for l in net.layers}
            a = {l: double(self._value(Place("forward", "a", l))) for l in net.layers}
            slope = np.asarray(net.cost.slope(a[L], double(y))) * scale
            found["slope"] = self._plain((-1, L), slope)
            for l in net.layers:
                if net.sigma[l] is not softmax:
                    of_z = net.sigma[l].prime(z[l], net.sigma[l](z[l]))
                    of_a = net.sigma[l].prime(z[l], a[l])
                    prime = np.where(self._takes_a(l), of_a, of_z)
                    found[f"prime{l}"] = self._plain((-1, l), prime)
        return found

    def _takes_a(self, l: int) -> np.ndarray:
        """Where a δˡ is held to the σ′ of the given aˡ, which does not follow from zˡ."""
        one = self.judged[Place("BP1" if l == self.reading.call.net.depth else "BP2", "delta", l)]
        if one.got is None:
            return np.zeros(one.truth.shape, bool)
        return np.asarray(nearest_right_value(one)[1] != one.truth)

    def _value(self, place: Place) -> np.ndarray:
        """What is given at a place, or the truth."""
        one = self.judged[place]
        return np.asarray(one.truth if one.got is None else one.got.value, np.float64)

    def _plain(self, layers: Sequence[int], array: Any) -> dict[str, Any]:
        array = np.asarray(array, np.float64)
        return {"axes": layers, "value": packed(self.sample.cut(layers, array))}

    def _one(self, one: Judged) -> dict[str, Any]:
        content = self._plain(axes(one.place), self._value(one.place))
        if one.got is None:
            return content | {"given": False}
        _, truth, bound, _ = nearest_right_value(one)
        with np.errstate(invalid="ignore", over="ignore"):  # of numbers as wrong as can be
            difference = one.got.value - truth
        if one.got.valid is not None:
            difference = np.where(one.got.valid, difference, 0)
        parts = {"difference": difference, "bound": np.broadcast_to(bound, truth.shape)}
        for name, array in parts.items():
            content[name] = packed(self.sample.part(one.place, np.asarray(array)))
        return content


def packed(array: np.ndarray) -> str:
    """Numbers as the page unpacks them: in four bytes each, or in eight where four are too few.

    Example:
        >>> packed(np.array([1.0, 2.0])), packed(np.array([1e-60]))
        ('4AACAPwAAAEA=', '8JqasqgS2eTM=')
    """
    with np.errstate(over="ignore", under="ignore"):
        short = array.astype("<f4")
    usual = np.isfinite(short) & (np.abs(short) >= np.finfo(np.float32).tiny)
    if (usual | (array == 0) | ~np.isfinite(array)).all():
        return "4" + base64.b64encode(short.tobytes()).decode()
    return "8" + base64.b64encode(array.astype("<f8").tobytes()).decode()


def _weight_axes(letter: str, l: int) -> tuple[int, ...]:
    return (l, l - 1) if letter == "W" else (l,)


def _row(row: Row) -> dict[str, Any]:
    """The verdict on a place."""
    return {
        "name": row.place.name,
        "equation": row.equation,
        "symbol": row.place.symbol,
        "verdict": row.verdict,
        "ratio": number(row.bound_ratio),
        "values": row.values,
        "wrong": row.wrong,
        "note": row.note,
        "worst": row.worst and row.worst.index,
    }


def _place_of(finding: Any, reading: Reading) -> str | None:
    """The name of the place where a finding is, if it is at one."""
    here = finding.equation, finding.layer
    named = [row for row in reading.agreement.disagreements if (row.equation, row.layer) == here]
    hidden = [place for place in places(reading.call.net) if (place.equation, place.layer) == here]
    return next((row.place.name for row in named), hidden[0].name if hidden else None)


def _examples(
    reading: Reading, sample: Sample, names: Sequence[str], picture: Any
) -> dict[str, Any]:
    """The examples that are shown: numbers, classes, what the network says, and pictures."""
    net, _, x, y = reading.call
    x, y = (np.atleast_2d(np.asarray(array, np.float64)) for array in (x, y))
    shown: dict[str, Any] = {"shown": sample.examples.tolist(), "of": len(x)}
    if (classes := classes_of(net, y)) is not None:
        own = _named(classes[0], names)
        output = next(one for one in reading.judged if one.place.name == f"a{net.depth}")
        a = output.truth if output.got is None else output.got.value
        said = [str(own[int(k)]) for k in np.asarray(class_of(net, a))[sample.examples]]
        shown["target"] = [str(own[int(k)]) for k in classes[1][sample.examples]]
        shown["predicted"] = said
    if picture is not None:
        pixels, (low, high) = x[sample.examples], (x.min(), x.max())
        grey = (255 * (pixels - low) / ((high - low) or 1)).round().astype(np.uint8)
        shown["pictures"] = [base64.b64encode(row.tobytes()).decode() for row in grey]
    return shown


def _named(classes: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """What the classes are called, where there is a name for each of them; else their numbers."""
    return names if len(names) == len(classes) else classes


def _regions(
    reading: Reading, x: np.ndarray, y: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """The plane of two inputs: the class that is decided in each cell, and the examples."""
    net, params = reading.call.net, reading.call.params
    across, up, classes = decided(net, params, x, y, REGION_CELLS)
    found = classes_of(net, y)
    assert found is not None
    return {
        "across": [float(across[0]), float(across[-1])],
        "up": [float(up[0]), float(up[-1])],
        "cells": base64.b64encode(classes.astype(np.uint8).tobytes()).decode(),
        "side": REGION_CELLS,
        "points": [[*map(float, point), int(k)] for point, k in zip(x, found[1], strict=True)],
        "names": list(_named(found[0], names)),
    }
