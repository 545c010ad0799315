"""What people do to an equation whose arrays are split over devices: a table beside the other one.

It is searched only where a step is said to be split, since a device's part of a sum is a likely
mistake nowhere else. See `manual_bp.parallel` for the steps as they should be.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from manual_bp.diagnosis.edits import CATALOGUE, Edit, Option
from manual_bp.diagnosis.equations import Inputs
from manual_bp.rounding.sized import Sized

Numbers = np.ndarray[Any, Any]
_SUM_ONCE = "Sum over the axis data once, and nothing else: psum(part, 'data')."
_WHOLE_M = "Divide by the number of all examples of the batch, on every device alike."


def edits_for(g: Inputs) -> Iterator[Edit]:
    """Every edit that may have been made to an equation."""
    yield from CATALOGUE.values()
    if g.shards.is_split:
        yield from SHARDED.values()


def _examples(g: Inputs) -> list[list[Numbers]]:
    """For each way to split a batch, the examples of each device, as a column of ones."""
    n, numbers = g.shards.data, np.arange(g.m)
    each = -(-g.m // n)
    lengths = [len(part) for part in np.array_split(numbers, n)]
    filled_up, shared_out = numbers // each, np.repeat(np.arange(n), lengths)
    ways = [filled_up] if np.array_equal(filled_up, shared_out) else [filled_up, shared_out]
    split = [[(way == i)[:, None] * 1.0 for i in range(n)] for way in ways]
    return [masks for masks in split if all(mask.any() for mask in masks)] if n > 1 else []


def _neurons(g: Inputs, l: int) -> list[Numbers]:
    """The neurons of a layer that each device has, as a row of ones; none if they do not split."""
    k, n = g.shards.model, g.net.sizes[l]
    if k == 1 or n % k:
        return []
    return [(np.arange(n) // (n // k) == j) * 1.0 for j in range(k)]


def _alone(g: Inputs) -> Iterator[Option]:
    for masks in _examples(g):
        for i, mask in enumerate(masks):
            yield Option(mask, None, f"{i}")


def _left_out(g: Inputs) -> Iterator[Option]:
    if g.shards.data > 2:  # of two, the other one is alone
        for masks in _examples(g):
            for i, mask in enumerate(masks):
                yield Option(1 - mask, None, f"{i}")


def _twice(g: Inputs) -> Iterator[Option]:
    """The part of one device in the place of another's."""
    for masks in _examples(g):
        for i, lost in enumerate(masks):
            for j, again in enumerate(masks):
                if i != j:
                    yield Option(1 - lost + again, None, f"{i} with that of device {j}")


def _stale(g: Inputs) -> Iterator[Option]:
    """The part of one device is another one, such as that of an earlier step.

    What is left without the parts of the others has no higher rank than that device has examples.
    """
    shape = g.place.shape(g.net, g.m)
    for masks in _examples(g) if g.neurons is None else ():
        for i, mask in enumerate(masks):
            rank = int(mask.sum())
            if rank >= min(shape):
                continue

            def after(_: Any, mask: Numbers = mask, rank: int = rank) -> Sized:
                own = mask if g.got is not None else 0 * mask
                others = (g.layer(g.l, "delta") * (1 - own)).transposed @ g.layer(g.l - 1)
                others = others * g.scales.collected
                if g.got is None:  # to plant it: each of its examples counts otherwise
                    weights = mask * (np.cos(np.arange(g.m)) - 1)[:, None]
                    part = (g.layer(g.l, "delta") * weights).transposed @ g.layer(g.l - 1)
                    return others + part * g.scales.collected
                rest = g.got - others.value - (g.penalty if g.penalised else 0)
                left, sizes, right = np.linalg.svd(rest)
                part = left[:, :rank] * sizes[:rank] @ right[:rank]
                return Sized(others.value + part, others.size + np.abs(part))

            fitted = rank * (sum(shape) - rank)
            yield Option(after, None, f"{i}", 0 if g.got is None else fitted)


def _weighted(weight: Callable[[Inputs, int, int], float]) -> Callable[[Inputs], Iterator[Option]]:
    """Each device's examples times a weight by how many it has."""

    def options(g: Inputs) -> Iterator[Option]:
        for masks in _examples(g):
            weights: Any = sum(mask * weight(g, len(masks), int(mask.sum())) for mask in masks)
            if not np.allclose(weights, weights[0]):  # else it is a factor
                yield Option(weights)

    return options


def _rows_weighted(g: Inputs) -> Iterator[Option]:
    for option in _weighted(lambda g, n, own: g.m / own)(g):
        weights = option.part
        yield Option(lambda core, weights=weights: core * weights)


def _even(g: Inputs) -> Iterator[Option]:
    n = g.shards.data
    return iter([Option(float(n))] if n > 1 and g.m % n == 0 else [])


def _blocks_added(g: Inputs) -> Iterator[Option]:
    """The parts of W's rows, or columns, added up, of one device's examples."""
    for axis, l in ((0, g.l), (1, g.l - 1)):
        k = len(_neurons(g, l))
        for masks in _examples(g) or [[np.ones((g.m, 1))]]:
            for i, mask in enumerate(masks) if k else ():

                def after(_: Any, mask: Numbers = mask, axis: int = axis, k: int = k) -> Sized:
                    part = (g.layer(g.l, "delta") * mask).transposed @ g.layer(g.l - 1)
                    part = part * g.scales.collected

                    def added(v: Numbers) -> Numbers:
                        total = sum(np.split(v, k, axis=axis))
                        return np.concatenate([total] * k, axis=axis)

                    return Sized(added(part.value), added(part.size))

                yield Option(after, None, f"{i}")


SHARDED = {
    edit.name: edit
    for edit in (
        Edit("one_device_alone", "BP3 BP4", "over", "of the examples of device {} alone", _SUM_ONCE,
             _alone),
        Edit("device_left_out", "BP3 BP4", "over", "without the examples of device {}", _SUM_ONCE,
             _left_out),
        Edit("part_of_other_device", "BP3 BP4", "over", "with the part of device {}",
             "Let each device read its own examples.",
             _twice),
        Edit("stale_part", "BP4", "after", "with a part of device {} that is not of this step",
             "Let each device hand over the part of this very step.", _stale),
        Edit("summed_over_devices_twice", "BP3 BP4", "factor",
             "summed over the devices of data once more: times {}", _SUM_ONCE,
             lambda g: iter([Option(float(g.shards.data))] if g.shards.data > 1 else [])),
        Edit("mean_of_means", "BP3 BP4", "over", "as the mean of each device's own mean",
             _WHOLE_M, _weighted(lambda g, n, own: g.m / (n * own))),
        Edit("mean_over_own_examples", "BP3 BP4", "over", "divided by each device's own m",
             _WHOLE_M, _weighted(lambda g, n, own: g.m / own)),
        Edit("divided_by_own_m", "BP1", "after", "divided by each device's own m", _WHOLE_M,
             _rows_weighted),
        Edit("own_m_for_m", "cost BP1 BP3 BP4", "factor",
             "divided by each device's own m: times {}", _WHOLE_M, _even),
        Edit("summed_over_wrong_axis", "BP4", "after",
             "summed over model in place of data, of device {}", _SUM_ONCE, _blocks_added),
        Edit("bias_on_every_device", "z", "b", " + bˡ from every device of model",
             "Add the bias once, after the sum over model.",
             lambda g: iter([Option(g.shards.model * g.layer(g.l, "b"))]
                            if g.shards.model > 1 and g.b[g.l] is not None else [])),
        Edit("forward_sum_of_one_device", "z", "a", "aˡ⁻¹ of the neurons of one device",
             "Complete z over the axis model: psum(z, 'model').",
             lambda g: (Option(g.layer(g.l - 1) * mask)
                        for mask in _neurons(g, g.l - 1))),
        Edit("backward_sum_of_one_device", "BP2", "delta", "δˡ⁺¹ of the neurons of one device",
             "Complete (Wˡ⁺¹)ᵀδˡ⁺¹ over the axis model: psum(back, 'model').",
             lambda g: (Option(g.layer(g.l + 1, "delta") * mask)
                        for mask in _neurons(g, g.l + 1))),
    )
}  # fmt: skip
"""Each mistake of a step that is split, by its name."""
