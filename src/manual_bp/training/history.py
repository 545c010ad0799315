"""What `fit` measured, an entry an epoch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from manual_bp.plot.curves import training
from manual_bp.text import html_table, printable, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = ("cost", "accuracy", "validation_cost", "validation_accuracy", "seconds")
_SHOWN = 10  # the most lines of epochs; of more, the first and the last


class SavedState(NamedTuple):
    """An optimiser's state as a file keeps it: its arrays by their places in the state.

    A file of 0.1.0 has no places; there they are "0", "1", … in the state's own order.
    """

    arrays: dict[str, Any]


def named(state: Any) -> dict[str, Any]:
    """The arrays of an optimiser's state by their places, such as "[0].mu[1].W"."""
    if isinstance(state, SavedState):
        return state.arrays
    return {
        jax.tree_util.keystr(path): jax.random.key_data(leaf) if is_key(leaf) else leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def is_key(leaf: Any) -> bool:
    """Whether this is a key of `jax.random.key`, whose numbers a file cannot take as they are."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


class History(NamedTuple):
    """What `fit` measured, one entry an epoch, as NumPy arrays of float64.

    Attributes:
        cost: C while training: the mean over all examples, each at the step that used it.
        accuracy: the fraction of examples whose class was right at that step; None where the
            targets are no classes.
        validation_cost: C of the validation examples after the epoch, or None.
        validation_accuracy: the fraction of them whose class is right, or None.
        seconds: of training, without validation; the first includes compiling.
        epoch: how many epochs the parameters have behind them: `start_epoch` to continue from.
        optimizer_state: what optax keeps from step to step, to continue from; None without it.
        stopped: why it ended before its last epoch, or "".

    Example:
        >>> half = np.array([0.5, 0.25])
        >>> print(History(half, half, None, None, half, 2))
        epoch cost accuracy seconds
            1  0.5   50.00%     0.5
            2 0.25   25.00%    0.25
    """

    cost: Float[np.ndarray, " epochs"]
    accuracy: Float[np.ndarray, " epochs"] | None
    validation_cost: Float[np.ndarray, " epochs"] | None
    validation_accuracy: Float[np.ndarray, " epochs"] | None
    seconds: Float[np.ndarray, " epochs"]
    epoch: int
    optimizer_state: Any = None
    stopped: str = ""

    def followed_by(self, later: "History") -> "History":
        """One history of both; NaN where only one of them measured something."""
        joined: dict[str, Any] = {}
        for name in CURVES:
            first, second = getattr(self, name), getattr(later, name)
            if first is not None or second is not None:
                first = np.full(len(self.cost), np.nan) if first is None else first
                second = np.full(len(later.cost), np.nan) if second is None else second
                joined[name] = np.concatenate([first, second])
        return later._replace(**joined)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Cost and accuracy over the epochs: dashed while training, whole lines of the validation.

        Cost is on the left, on a log scale where it falls to a tenth or less. Accuracy is on the
        right, in Axes of its own, the last of `ax.figure.axes`.

        Args:
            ax: the Axes to draw into; a new figure's by default.

        Returns:
            The Axes of the cost.

        Raises:
            ValueError: there is no epoch.
            TypeError: `ax` is no Axes.
            ModuleNotFoundError: matplotlib is not installed: pip install 'manual_bp[report]'.

        Example:
            >>> half = np.array([0.5, 0.25])
            >>> ax = History(half, 1 - half, None, None, half, 2).plot()
            >>> [line.get_label() for axes in ax.figure.axes for line in axes.lines]
            ['cost while training', 'accuracy while training']
            >>> ax.figure.savefig("history.png")
        """
        return training(
            self.epoch,
            {"cost while training": self.cost, "cost of validation": self.validation_cost},
            {
                "accuracy while training": self.accuracy,
                "accuracy of validation": self.validation_accuracy,
            },
            ax,
        )

    def __repr__(self) -> str:
        epochs = f"{self.epoch} epoch" + "s" * (self.epoch != 1)
        curves = [name for name in CURVES if getattr(self, name) is not None and len(self.cost)]
        ends = [f"{name} {_ends(name, getattr(self, name))}" for name in curves]
        return printable(f"History({'; '.join([epochs, *ends, *filter(None, [self.stopped])])})")

    def __str__(self) -> str:
        lines = table([*self._rows()], left=())
        return printable("\n".join([*lines, *filter(None, [self.stopped])]))

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        return html_table(head, rows, self.stopped)

    def _rows(self) -> Iterator[list[str]]:
        """The table's cells: its head, then a row an epoch, or the first and last of many."""
        curves = {name: getattr(self, name) for name in CURVES if getattr(self, name) is not None}
        yield ["epoch", *curves]
        n = len(self.cost)
        for i in range(n):
            if n <= _SHOWN or not _SHOWN // 2 <= i < n - _SHOWN // 2:
                cells = [_cell(name, curve[i]) for name, curve in curves.items()]
                yield [str(self.epoch - n + 1 + i), *cells]
            elif i == _SHOWN // 2:
                yield ["…"] * (1 + len(curves))


def _cell(name: str, value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.2%}" if name.endswith("accuracy") else f"{value:.4g}"


def _ends(name: str, curve: np.ndarray) -> str:
    if name == "seconds":
        return f"{curve.sum():.4g}"
    first, last = _cell(name, curve[0]), _cell(name, curve[-1])
    return first if len(curve) == 1 else f"{first} → {last}"
