"""σ and σ′: the activation functions, each with its derivative and the rounding of both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from jax import Array, lax

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
        init: "glorot" or "he", the initialisation of weights that lead into this σ.
        rounding: (z, a) -> (error of a, error of σ′), in units of the format's unit roundoff.
            Without one, a and σ′ are taken to be within 8 units of max(|a|, |zσ′|) and of
            max(1, |σ′|, |zσ″|): what a few well-behaved operations give.

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
    init: Literal["glorot", "he"] = "glorot"
    rounding: Callable[[Array, Array], tuple[Array, Array]] | None = None

    def __str__(self) -> str:
        return self.name

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
        return self.name if ACTIVATIONS.get(self.name) is self else super().__reduce__()


def _softmax(z: Array) -> Array:
    exp = jnp.exp(z - lax.stop_gradient(z.max(axis=-1, keepdims=True)))
    return exp / exp.sum(axis=-1, keepdims=True)


def _no_derivative(a: Array) -> Array:
    raise TypeError(
        "softmax: σ′ is a Jacobian, not an element-wise function; use Activation.pull_back"
    )


def _leaky_relu(z: Array) -> Array:
    # Never −0, so that a tells of a negative z whose 0.01z underflows. float16 keeps subnormals.
    info = jnp.finfo(z.dtype)
    least = info.smallest_subnormal if z.dtype == jnp.float16 else info.tiny
    return jnp.where(z >= 0, z, jnp.minimum(0.01 * z, -least))


def _silu_prime(z: Array) -> Array:
    s = lax.logistic(z)
    return s * (1 + z * (1 - s))


def _normal_cdf(z: Array) -> Array:
    return lax.erfc(-z * 0.5**0.5) / 2


def _gelu_prime(z: Array) -> Array:
    return _normal_cdf(z) + z * jnp.exp(-z * z / 2) * (2 * jnp.pi) ** -0.5


_GELU_SLOPE, _GELU_CUBIC = (2 / jnp.pi) ** 0.5, 0.044715


def _gelu_tanh(z: Array) -> Array:
    return z * ((1 + jnp.tanh(_GELU_SLOPE * (z + _GELU_CUBIC * z**3))) / 2)


def _gelu_tanh_prime(z: Array) -> Array:
    z = jnp.clip(z, -10, 10)  # beyond, tanh is ±1 in every format, and z³ may overflow
    t = jnp.tanh(_GELU_SLOPE * (z + _GELU_CUBIC * z**3))
    return (1 + t + z * (1 - t * t) * _GELU_SLOPE * (1 + 3 * _GELU_CUBIC * z * z)) / 2


# Rounding errors, in unit roundoffs. Eight of them cover the few operations of each σ, an `exp` or
# `tanh` off by some units in the last place, and the other usual ways of writing the same σ
# (½(1 + tanh ½z) for the sigmoid, eᶻ − 1 for expm1, log(1 + eᶻ)), whose errors are absolute.


def _exact(z: Array, a: Array) -> tuple[Array, Array]:
    return 0 * a, 0 * a


def _rounding_leaky_relu(z: Array, a: Array) -> tuple[Array, Array]:
    # The slope itself is rounded, then the product.
    return jnp.where(z < 0, 3 * jnp.abs(a), 0), jnp.where(z < 0, 0.02, 0.0)


def _rounding_sigmoid(z: Array, a: Array) -> tuple[Array, Array]:
    return 8 + 0 * a, 10 + 0 * a  # σ′ = a(1 − a): |1 − 2a| ≤ 1 carries over a's error


def _rounding_tanh(z: Array, a: Array) -> tuple[Array, Array]:
    return 8 * jnp.abs(a), 16 * a * a + 3  # σ′ = 1 − a², whose 1 and a² are each rounded


def _rounding_elu(z: Array, a: Array) -> tuple[Array, Array]:
    return jnp.where(z > 0, 0.0, 8.0), jnp.where(z > 0, 0.0, 10.0)  # σ′ = a + 1


def _rounding_softplus(z: Array, a: Array) -> tuple[Array, Array]:
    # σ′ = 1 − e⁻ᵃ, or eᶻ⁻ᵃ as autodiff has it: off by a's own rounding until a is z itself.
    e_a = 8 * (1 + jnp.abs(a))
    return e_a, jnp.exp(-a) * e_a + 8 + jnp.where(a < 40, jnp.abs(a), 0)


def _rounding_silu(z: Array, a: Array) -> tuple[Array, Array]:
    # Beyond ±40 the logistic function is 0 or 1 in every format, without error.
    reach = jnp.where(jnp.abs(z) < 40, jnp.abs(z), 0)
    return 8 * jnp.abs(a) + 8 * reach, 10 * (2 + reach)


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
    # errors, and its own sum's.
    depth = z.max(axis=-1, keepdims=True) - z
    relative = 8 + depth
    return a * (relative + (a * relative).sum(axis=-1, keepdims=True) + z.shape[-1]), 0 * a


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
leaky_relu = Activation(
    "leaky_relu",
    _leaky_relu,
    lambda a: jnp.where(a >= 0, 1, jnp.asarray(0.01, a.dtype)),
    "a",
    "he",
    _rounding_leaky_relu,
)
elu = Activation(
    "elu",
    lambda z: jnp.where(z > 0, z, jnp.expm1(jnp.where(z > 0, 0, z))),
    lambda a: jnp.where(a > 0, 1, a + 1),
    "a",
    "he",
    _rounding_elu,
)
softplus = Activation(
    "softplus",
    lambda z: jnp.logaddexp(z, 0),
    lambda a: -jnp.expm1(-a),
    "a",
    "he",
    _rounding_softplus,
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

ACTIVATIONS = {
    activation.name: activation
    for activation in (
        identity,
        sigmoid,
        tanh,
        relu,
        leaky_relu,
        elu,
        softplus,
        silu,
        gelu,
        gelu_tanh,
        softmax,
    )
}
