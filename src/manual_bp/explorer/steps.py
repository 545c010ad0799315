"""What a page shows: steps of training, or one backward pass, each with its verdicts."""

from typing import Any, NamedTuple

from manual_bp.backprop import backprop
from manual_bp.diagnosis.check import Diagnosis, check
from manual_bp.network import Network, Params
from manual_bp.subjects.forms import Source


class Step(NamedTuple):
    """One step of a run.

    Attributes:
        params: a `Layer(W, b)` for each layer, before the step.
        x: (m, n_0), or (n_0,) for one example.
        y: (m, n_L), or (n_L,).
        subject: whose backward pass is shown, as in `check`.
        number: which step of the training it is.
        cost: C of all examples before the step; None where it was not measured.
        accuracy: the part of them that is classified rightly, likewise.
        learning_rate: η; None where no step was made.
        after: the parameters after the step, likewise.

    Example:
        >>> import jax, manual_bp as mbp
        >>> net = mbp.Network((2, 1), ("sigmoid",), "quadratic")
        >>> Step(net.init(jax.random.key(0)), [[1.0, 2.0]], [[1.0]]).number
        1
    """

    params: Params
    x: Any
    y: Any
    subject: Source = backprop
    number: int = 1
    cost: float | None = None
    accuracy: float | None = None
    learning_rate: float | None = None
    after: Params | None = None

    def judged(self, net: Network) -> Diagnosis:
        """The verdict on every equation of it."""
        return check(net, self.params, self.x, self.y, self.subject)
