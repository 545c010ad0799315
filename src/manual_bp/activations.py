"""σ and σ′: the activation functions, each with its derivative and the rounding of both."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from math import isfinite
from typing import Any, Literal

import jax.numpy as jnp
from jax import Array, lax

from manual_bp.checks import Problems, functions, one_of, real, shown
from manual_bp.families import Family, Parameter, found, positive, written

Elementwise = Callable[[Array], Array]


@dataclass(frozen=True)
class Activation:
    """An activation function: a = σ(z), element by element, and its derivative σ′.

    Where σ can be inverted, σ′ is best written as a function of a: then one array a layer is
    all that the way back has to keep, and z is not stored.

    Attributes:
        name: how reports call it.
        sigma: σ, from z to a of the same shape and dtype.
        sigma_prime: σ′, as a function of what `of` names.
        of: "z" when `sigma_prime` takes z, "a" when it takes a = σ(z).
        init: "glorot", "he" or "lecun", the initialisation of weights that lead into this σ.
        rounding: (z, a) -> (error of a, error of σ′), in units of the format's unit roundoff.
            Without one, a and σ′ are taken to be within 8 units of max(1, |a|, |zσ′|) and of
            max(1, |σ′|, |zσ″|): what a few operations on numbers of order 1 give, such as those
            of eᶻ − 1, which cancel near 0.
        kinks: z where σ′ jumps and the slopes of both sides count as right; but at 0, near it as
            well, for rounding may put z on the other side.
        departures: z -> how far a and σ′ of programs in wide use lie from these, in whatever
            format; None for not at all.

    Raises:
        ValueError, TypeError: naming every part that does not fit.

    Example:
        >>> import jax.numpy as jnp, manual_bp as mbp
        >>> cube = mbp.Activation("cube", lambda z: z**3, lambda z: 3 * z**2)
        >>> mbp.Network((2, 3, 1), (cube, "identity"), "quadratic").activations[0].name
        'cube'
    """

    name: str
    sigma: Elementwise
    sigma_prime: Elementwise
    of: Literal["z", "a"] = "z"
    init: Literal["glorot", "he", "lecun"] = "glorot"
    rounding: Callable[[Array, Array], tuple[Array, Array]] | None = None
    kinks: tuple[float, ...] = ()
    departures: Callable[[Array], tuple[Array, Array]] | None = None

    def __post_init__(self) -> None:
        problems = Problems()
        if not isinstance(self.name, str) or not self.name:
            problems.type(f"name: expected a word for reports, got {shown(self.name)}")
        functions(self, ("sigma", "sigma_prime"), ("rounding",), problems)
        one_of("of", self.of, ("z", "a"), problems)
        one_of("init", self.init, ("glorot", "he", "lecun"), problems)
        kinks = tuple(map(real, self.kinks)) if isinstance(self.kinks, (tuple, list)) else (None,)
        if any(kink is None or not isfinite(kink) for kink in kinks):
            problems.type(f"kinks: expected numbers such as (-1.0, 1.0), got {shown(self.kinks)}")
        problems.raise_all()
        object.__setattr__(self, "kinks", kinks)

    def __str__(self) -> str:
        return self.name

    @property
    def built_in(self) -> bool:
        """Whether it is one of the library's own, for which its name stands."""
        try:
            return activation(self.name) is self
        except ValueError:
            return False

    def __call__(self, z: Array) -> Array:
        """σ(z)."""
        return self.sigma(z)

    def prime(self, z: Array, a: Array) -> Array:
        """σ′(z), from whichever of z and a it is written in."""
        return self.sigma_prime(z if self.of == "z" else a)

    def pull_back(self, gradient: Array, z: Array, a: Array) -> Array:
        """∇ₐC ⊙ σ′(z); for softmax, which is no element-wise σ, the product with its Jacobian."""
        if self is softmax:
            return a * (gradient - (gradient * a).sum(axis=-1, keepdims=True))
        return gradient * self.prime(z, a)

    def __reduce__(self) -> Any:
        """Pickle a built-in σ as its name, so that it comes back as the same object."""
        return (activation, (self.name,)) if self.built_in else super().__reduce__()


def _softmax(z: Array) -> Array:
    exp = jnp.exp(z - lax.stop_gradient(z.max(axis=-1, keepdims=True)))
    return exp / exp.sum(axis=-1, keepdims=True)


def _no_derivative(a: Array) -> Array:
    raise TypeError(
        "softmax: σ′ is a Jacobian, not an element-wise function; use Activation.pull_back"
    )


def _leaky_relu(slope: float, z: Array) -> Array:
    # Never −0, so that a tells of a negative z whose product underflows. float16 keeps subnormals.
    info = jnp.finfo(z.dtype)
    least = info.smallest_subnormal if z.dtype == jnp.float16 else info.tiny
    return jnp.where(z >= 0, z, jnp.minimum(slope * z, -least))


def _elu(alpha: float, z: Array) -> Array:
    return jnp.where(z > 0, z, alpha * jnp.expm1(jnp.where(z > 0, 0, z)))


_SELU_ALPHA, _SELU_LAMBDA = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _selu(z: Array) -> Array:
    return _SELU_LAMBDA * _elu(_SELU_ALPHA, z)


def _selu_prime(a: Array) -> Array:
    steepest = jnp.asarray(_SELU_LAMBDA * _SELU_ALPHA, a.dtype)
    return jnp.where(a > 0, jnp.asarray(_SELU_LAMBDA, a.dtype), a + steepest)


def _swish(beta: float, z: Array) -> Array:
    return z * lax.logistic(beta * z)


def _swish_prime(beta: float, z: Array) -> Array:
    t = beta * z
    s = lax.logistic(t)
    return s * (1 + jnp.clip(t, -200, 200) * (1 - s))  # which t may be beyond the format's range


def _hard_sigmoid(z: Array) -> Array:
    return jnp.where(z <= -3, 0, jnp.where(z >= 3, 1, (z + 3) / 6))


def _inside(low: float, slope: float, a: Array) -> Array:
    """σ′ of a σ that is straight between its least and its greatest value, low and 1."""
    return jnp.where((a > low) & (a < 1), jnp.asarray(slope, a.dtype), 0)


def _silu_prime(z: Array) -> Array:
    s = lax.logistic(z)
    return s * (1 + z * (1 - s))


def _normal_cdf(z: Array) -> Array:
    return lax.erfc(-z * 0.5**0.5) / 2


def _gelu_prime(z: Array) -> Array:
    return _normal_cdf(z) + z * jnp.exp(-z * z / 2) * (2 * jnp.pi) ** -0.5


_GELU_SLOPE, _GELU_CUBIC = (2 / jnp.pi) ** 0.5, 0.044715


def _gelu_tanh(z: Array) -> Array:
    c = jnp.clip(z, -10, 10)  # beyond, tanh is ±1 in every format, and z³ may overflow
    return z * ((1 + jnp.tanh(_GELU_SLOPE * (c + _GELU_CUBIC * c**3))) / 2)


def _gelu_tanh_prime(z: Array) -> Array:
    z = jnp.clip(z, -10, 10)  # likewise
    t = jnp.tanh(_GELU_SLOPE * (z + _GELU_CUBIC * z**3))
    return (1 + t + z * (1 - t * t) * _GELU_SLOPE * (1 + 3 * _GELU_CUBIC * z * z)) / 2


# Rounding errors, in unit roundoffs. Eight of them cover the few operations of each σ, an `exp` or
# `tanh` off by some units in the last place, and the other usual ways of writing the same σ
# (½(1 + tanh ½z) for the sigmoid, eᶻ − 1 for expm1, log(1 + eᶻ)), whose errors are absolute.


def _exact(z: Array, a: Array) -> tuple[Array, Array]:
    return 0 * a, 0 * a


def _rounding_leaky_relu(slope: float, z: Array, a: Array) -> tuple[Array, Array]:
    # The slope itself is rounded, then the product.
    return jnp.where(z < 0, 3 * jnp.abs(a), 0), jnp.where(z <= 0, 2 * slope, 0.0)


def _rounding_sigmoid(z: Array, a: Array) -> tuple[Array, Array]:
    return 8 + 0 * a, 10 + 0 * a  # σ′ = a(1 − a): |1 − 2a| ≤ 1 carries over a's error


def _rounding_tanh(z: Array, a: Array) -> tuple[Array, Array]:
    # As a quotient of sums of exponentials, or 2 sigmoid(2z) − 1, it cancels near 0 as the
    # sigmoid's formulas do. σ′ = 1 − a², whose 1 and a² are each rounded: 2|a| carries a's error.
    return 8 + 0 * a, 16 * jnp.abs(a) + 8


def _rounding_elu(alpha: float, z: Array, a: Array) -> tuple[Array, Array]:
    units = 1.0 if alpha == 1 else 1.25  # for α is rounded too, and multiplied by
    e_a, e_s = 8 * units * alpha, 10 * units * alpha  # σ′ = a + α
    return jnp.where(z > 0, 0.0, e_a), jnp.where(z > 0, 0.0, e_s)


def _rounding_selu(z: Array, a: Array) -> tuple[Array, Array]:
    # λ and λα are each rounded, before they multiply.
    steepest = _SELU_LAMBDA * _SELU_ALPHA
    e_a = jnp.where(z > 0, 3 * jnp.abs(a), 10 * steepest)
    return e_a, jnp.where(z > 0, 2.0, 12 * steepest)


def _rounding_softsign(z: Array, a: Array) -> tuple[Array, Array]:
    return 3 * jnp.abs(a), 8 + 0 * a  # σ′ = (1 − |a|)², off by twice the error of 1 − |a| at most


def _rounding_hard_sigmoid(z: Array, a: Array) -> tuple[Array, Array]:
    # z/6 + ½ is off by an absolute error; σ′ is 1/6, rounded.
    near = jnp.abs(z) < 4
    return jnp.where(near, 3.0, 0.0), jnp.where(near, 0.5, 0.0)


def _departures_softplus(z: Array) -> tuple[Array, Array]:
    beyond = jnp.where(z > 20, jnp.exp(-z), 0)  # where PyTorch has z itself, and 1
    return beyond, beyond


def _departures_hard_sigmoid(z: Array) -> tuple[Array, Array]:
    inside = jnp.abs(z) < 3.1  # PyTorch's 1/6 is that of float32, in float64 as well
    return 0 * z, jnp.where(inside, 5e-9, 0.0)


def _rounding_exp(z: Array, a: Array) -> tuple[Array, Array]:
    e = (8 + 3 * jnp.abs(z)) * a  # as 2 raised to z log₂ e, of which both factors are rounded
    return e, e


def _rounding_swish(beta: float, z: Array, a: Array) -> tuple[Array, Array]:
    # β is rounded, and βz, of which exp makes a relative error on the left.
    t = jnp.abs(beta * z)
    e_a = (8 + jnp.where(z < 0, 2 * t, 0)) * jnp.abs(a)
    reach = _reach_of_logistic(t, z, a)
    return e_a + 8 * reach, 12 * (2 + beta * jnp.maximum(reach, jnp.abs(a)))


def _rounding_softplus(z: Array, a: Array) -> tuple[Array, Array]:
    # σ′ = 1 − e⁻ᵃ, or eᶻ⁻ᵃ as autodiff has it: off by a's own rounding until a is z itself.
    e_a = 8 * (1 + jnp.abs(a))
    return e_a, jnp.exp(-a) * e_a + 8 + jnp.where(a < 40, jnp.abs(a), 0)


def _reach_of_logistic(t: Array, z: Array, a: Array) -> Array:
    """What an absolute error of the logistic function of ±t is multiplied by in z times it.

    That is z, up to ±40. Above, the logistic function is 1 in every format, without error. Below,
    ½(1 + tanh ½z) is 0 while 1/(1 + e⁻ᶻ) is not: then a itself is lost, which is at most 2⁵³ units.
    """
    return jnp.where(t < 40, jnp.abs(z), jnp.where(z < 0, 2.0**53 * jnp.abs(a), 0))


def _rounding_silu(z: Array, a: Array) -> tuple[Array, Array]:
    # σ′ may be had as a + s(1 − a), whose terms are as large as a and cancel to 1.
    reach = _reach_of_logistic(jnp.abs(z), z, a)
    return 8 * jnp.abs(a) + 8 * reach, 10 * (2 + jnp.maximum(reach, jnp.abs(a)))


def _rounding_gelu(z: Array, a: Array) -> tuple[Array, Array]:
    # Beyond ±40 erf and tanh are ±1 without error. |z|(1 + z²)φ(z) < 1 bounds what the exponent's
    # own rounding does to σ′.
    reach = jnp.where(jnp.abs(z) < 40, jnp.abs(z), 0)
    return 8 * jnp.abs(a) + 8 * reach, 20 + 0 * a


def _rounding_gelu_tanh(z: Array, a: Array) -> tuple[Array, Array]:
    # σ′ has ½z(1 − t²)u′ with t = tanh u: four units of t count ½|z|·2·4·u′. Beyond ±8 t is ±1.
    e_a, e_s = _rounding_gelu(z, a)
    reach = jnp.where(jnp.abs(z) < 8, jnp.abs(z), 0)
    return e_a, e_s + 4 * reach * _GELU_SLOPE * (1 + 3 * _GELU_CUBIC * reach**2)


def _rounding_softmax(z: Array, a: Array) -> tuple[Array, Array]:
    # z − max z is rounded before exp makes that error a relative one; the denominator adds up such
    # errors, and its own sum's. As exp of z − (max z + log Σ), the last difference is rounded too,
    # and that logarithm, which is as large as max z.
    top, n = z.max(axis=-1, keepdims=True), z.shape[-1]
    relative = 8 + 2 * (top - z) + jnp.abs(top) + jnp.log(n)
    return a * (relative + (a * relative).sum(axis=-1, keepdims=True) + n), 0 * a


identity = Activation("identity", lambda z: z, jnp.ones_like, "a", rounding=_exact)
sigmoid = Activation(
    "sigmoid", lax.logistic, lambda a: a * (1 - a), "a", rounding=_rounding_sigmoid
)
tanh = Activation("tanh", jnp.tanh, lambda a: (1 - a) * (1 + a), "a", rounding=_rounding_tanh)
# As `where`, not `maximum`: then XLA keeps a alone for the mask. A NaN passes through.
relu = Activation(
    "relu",
    lambda z: jnp.where(z <= 0, 0, z),
    lambda a: (a > 0).astype(a.dtype),
    "a",
    "he",
    _exact,
)


def _leaky_relu_of(slope: float, name: str = "") -> Activation:
    return Activation(
        name or written("leaky_relu", slope),
        partial(_leaky_relu, slope),
        lambda a: jnp.where(a >= 0, 1, jnp.asarray(slope, a.dtype)),
        "a",
        "he",
        partial(_rounding_leaky_relu, slope),
        kinks=(0.0,),
    )


def _elu_of(alpha: float, name: str = "") -> Activation:
    return Activation(
        name or written("elu", alpha),
        partial(_elu, alpha),
        lambda a: jnp.where(a > 0, 1, a + jnp.asarray(alpha, a.dtype)),
        "a",
        "he",
        partial(_rounding_elu, alpha),
        kinks=() if alpha == 1 else (0.0,),
    )


leaky_relu = _leaky_relu_of(0.01, "leaky_relu")
elu = _elu_of(1.0, "elu")
softplus = Activation(
    "softplus",
    lambda z: jnp.logaddexp(z, 0),
    lambda a: -jnp.expm1(-a),
    "a",
    "he",
    _rounding_softplus,
    departures=_departures_softplus,
)
silu = Activation(
    "silu", lambda z: z * lax.logistic(z), _silu_prime, init="he", rounding=_rounding_silu
)
gelu = Activation(
    "gelu", lambda z: z * _normal_cdf(z), _gelu_prime, init="he", rounding=_rounding_gelu
)
gelu_tanh = Activation(
    "gelu_tanh", _gelu_tanh, _gelu_tanh_prime, init="he", rounding=_rounding_gelu_tanh
)
softmax = Activation("softmax", _softmax, _no_derivative, "a", rounding=_rounding_softmax)
selu = Activation("selu", _selu, _selu_prime, "a", "lecun", _rounding_selu, kinks=(0.0,))
softsign = Activation(
    "softsign",
    lambda z: z / (1 + jnp.abs(z)),
    lambda a: (1 - jnp.abs(a)) ** 2,
    "a",
    rounding=_rounding_softsign,
)
hard_sigmoid = Activation(
    "hard_sigmoid",
    _hard_sigmoid,
    partial(_inside, 0, 1 / 6),
    "a",
    rounding=_rounding_hard_sigmoid,
    departures=_departures_hard_sigmoid,
    kinks=(-3.0, 3.0),
)
hard_tanh = Activation(
    "hard_tanh",
    lambda z: jnp.where(z <= -1, -1, jnp.where(z >= 1, 1, z)),
    partial(_inside, -1, 1),
    "a",
    rounding=_exact,
    kinks=(-1.0, 1.0),
)
exp = Activation("exp", jnp.exp, lambda a: a, "a", rounding=_rounding_exp)

ACTIVATIONS = {
    sigma.name: sigma
    for sigma in (
        *(identity, sigmoid, tanh, relu, leaky_relu, elu, softplus, silu, gelu, gelu_tanh),
        *(softmax, selu, softsign, hard_sigmoid, hard_tanh, exp),
    )
}
"""The built-in activations that need no parameter, by name."""


@cache
def _with_slope(slope: float) -> Activation:
    return leaky_relu if slope == 0.01 else _leaky_relu_of(slope)


@cache
def _with_alpha(alpha: float) -> Activation:
    return elu if alpha == 1 else _elu_of(alpha)


@cache
def _with_beta(beta: float) -> Activation:
    if beta == 1:
        return silu
    return Activation(
        written("swish", beta),
        partial(_swish, beta),
        partial(_swish_prime, beta),
        init="he",
        rounding=partial(_rounding_swish, beta),
    )


def _leaky_relus(slope: Parameter = 0.01) -> Activation:
    return _with_slope(positive("a slope for z < 0", slope, below=1))


def _elus(alpha: Parameter = 1.0) -> Activation:
    return _with_alpha(positive("a number α", alpha))


def _swishes(beta: Parameter = 1.0) -> Activation:
    return _with_beta(positive("a number β", beta))


FAMILIES = {
    "leaky_relu": Family(_leaky_relus, "leaky_relu(0.2)"),
    "elu": Family(_elus, "elu(0.5)"),
    "swish": Family(_swishes, "swish(1.5)"),
}
"""Those that have a parameter."""


def activation(name: str) -> Activation:
    """The built-in activation that a name stands for, with its parameter where it has one.

    leaky_relu(α) is αz for z < 0, with 0 < α < 1, and 0.01 without it; elu(α) is α(eᶻ − 1) there,
    with α > 0, and 1 without it; swish(β) is z · sigmoid(βz), and silu is swish(1). One text gives
    one object.

    Args:
        name: such as "tanh" or "leaky_relu(0.2)".

    Raises:
        ValueError: there is none of that name, or its parameter does not fit.

    Source: A. Maas et al., ICML 2013 (leaky_relu); D. Clevert et al., ICLR 2016 (elu);
    P. Ramachandran et al., arXiv:1710.05941 (swish); G. Klambauer et al., NeurIPS 2017 (selu).

    Example:
        >>> import jax.numpy as jnp
        >>> from manual_bp.activations import activation
        >>> activation("leaky_relu(0.2)")(jnp.array([-1.0, 2.0])).tolist()
        [-0.20000000298023224, 2.0]
        >>> activation("swish(1)") is activation("silu")
        True
    """
    return found(name, ACTIVATIONS, FAMILIES, what="activation")
