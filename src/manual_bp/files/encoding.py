"""What stands behind the numbers of x and y: columns, classes, and how they were scaled."""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float


class Encoding(NamedTuple):
    """How inputs became x, and what outputs say in words; it is saved with the network.

    Attributes:
        columns: the name of each input; () where they have none.
        target: the name of the target column, or "".
        classes: each class as its text, in the order of its number; () where numbers are enough.
        mean: of each input over the training part; () where nothing is scaled.
        deviation: the standard deviation of each input over the training part, 1 of a constant one.
        target_mean: that of a target that is a number and was scaled; 0 else.
        target_deviation: likewise; 1 else.

    Example:
        >>> encoding = Encoding(("length",), "kind", ("cat", "dog"), (2.0,), (0.5,))
        >>> encoding.scaled(np.array([[3.0]])), encoding.class_numbers(["dog", "cow"])
        (array([[2.]]), array([ 1, -1]))
    """

    columns: tuple[str, ...] = ()
    target: str = ""
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    target_mean: float = 0.0
    target_deviation: float = 1.0

    @classmethod
    def from_dict(cls, told: dict[str, Any], n_0: int, n_L: int) -> "Encoding":
        """That of a file that is not trusted, of a network of these inputs and outputs.

        Raises:
            ValueError, TypeError: it is not one, or not of such a network.
        """
        parts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
        encoding = cls(**parts)
        words = [*encoding.columns, encoding.target, *encoding.classes]
        deviations = [*encoding.deviation, encoding.target_deviation]
        numbers = [*encoding.mean, encoding.target_mean, *deviations]
        if (
            not all(isinstance(word, str) for word in words)
            or not all(type(number) in (int, float) for number in numbers)
            or not all(map(math.isfinite, numbers))
            or min(deviations) <= 0
            or len(encoding.columns) not in (0, n_0)
            or len(encoding.mean) not in (0, n_0)
            or len(encoding.deviation) != len(encoding.mean)
            or len(encoding.classes) not in (0, n_L if n_L > 1 else 2)
        ):
            raise ValueError("no encoding of this network")
        return encoding

    def fitted(self, x: np.ndarray, y: np.ndarray | None = None) -> "Encoding":
        """The same with the mean and standard deviation of these inputs, and of these targets."""
        mean, deviation = _moments(x)
        fitted = self._replace(mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()))
        if y is None:
            return fitted
        mean, deviation = _moments(y[:, 0])
        return fitted._replace(target_mean=float(mean), target_deviation=float(deviation))

    def scaled(self, x: Float[np.ndarray, "m n_0"]) -> Float[np.ndarray, "m n_0"]:
        """Inputs as the network takes them: (x − mean) / deviation where they are scaled.

        Raises:
            ValueError: there are more or fewer inputs.
        """
        if not self.mean:
            return x
        if x.ndim != 2 or x.shape[1] != len(self.mean):
            raise ValueError(
                f"x: expected shape (m, {len(self.mean)}), got {x.shape}; give the inputs that the "
                f"network was trained on"
            )
        return (x - np.array(self.mean)) / np.array(self.deviation)

    def targets_scaled(self, y: np.ndarray) -> np.ndarray:
        """Targets as the network is trained on them."""
        return (y - self.target_mean) / self.target_deviation

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs in the units of the target column."""
        if self.target_mean == 0 and self.target_deviation == 1:
            return outputs
        return outputs.astype(np.float64) * self.target_deviation + self.target_mean

    def class_numbers(self, cells: Sequence[Any]) -> np.ndarray:
        """The number of each class; −1 for one that there was none of in training."""
        known = {text: number for number, text in enumerate(self.classes)}
        return np.array([known.get(class_text(cell), -1) for cell in cells])


def class_text(cell: Any) -> str:
    """A class as text, in which 1, 1.0 and "1" are the same."""
    text = str(cell).strip()
    with suppress(ValueError):
        return text if "_" in text else str(int(text))
    with suppress(ValueError):
        return str(int(float(text))) if float(text).is_integer() else text
    return text


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; of a constant one that is 1, as of no scaling."""
    x = np.asarray(x, np.float64)
    size = np.abs(x).max(axis=0)
    size = np.where(size > 0, size, 1)  # by which a constant is 1, exactly, and no square overflows
    deviation = (x / size).std(axis=0) * size
    return (x / size).mean(axis=0) * size, np.where(deviation > 0, deviation, 1)
