"""How numbers were rounded: the formats of values, factors and sums, in unit roundoffs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

FLOAT64_ROUNDOFF = 2.0**-53


class Uncertain(NamedTuple):
    """An array to compute with, and how far it may be off (None: not at all)."""

    value: Array
    error: Array | None = None

    def rounded(self, u: float, tiny: float = 0.0) -> "Uncertain":
        """The same after one more rounding, which below the normal numbers is off by `tiny`."""
        error = u * jnp.abs(self.value) + tiny
        return Uncertain(self.value, error if self.error is None else error + self.error)


class Arithmetic(NamedTuple):
    """How the subject's numbers were rounded, in unit roundoffs.

    Attributes:
        u: of the format that results are stored in.
        reading: of x and the parameters, where the subject keeps them in a coarser format.
        product: of the factors as a matrix unit reads them; 0 where it reads them whole.
        accumulator: of the format that sums are kept in.
        excess: how far a stored intermediate may lie from the one that was used: compilers keep
            bfloat16 and float16 intermediates in float32, so there it is u, and else 0.
        tiny: the smallest normal number: what an underflow may lose.
        flush: below which XLA may read a number as 0; float16 keeps its subnormal numbers.
        name: for people, with what had to be assumed.
    """

    u: float
    reading: float
    product: float
    accumulator: float
    excess: float
    tiny: float
    flush: float
    name: str

    def gamma(self, n: int, u: float | None = None) -> float:
        """γₙ of the accumulator, or of another u; infinite where nu reaches 1."""
        nu = n * (self.accumulator if u is None else u)
        return nu / (1 - nu) if nu < 1 else float("inf")

    def of_sum(self, n: int, size: Array) -> Array:
        """γₙ Σ|terms|, given the latter; of zeros nothing, also where γₙ is infinite."""
        return jnp.where(size == 0, 0, self.gamma(n) * size)

    def absolute_product(self, A: Array, B: Array) -> Array:
        """Σ|aᵢ||bᵢ|, itself in float32 where what it bounds is no finer, and larger by its γₙ."""
        A, B = jnp.abs(A), jnp.abs(B)
        if self.u < 2.0**-24:
            return A @ B
        product = jnp.matmul(
            A.astype(jnp.float32), B.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
        )
        return product.astype(jnp.float64) * (1 + 2 * self.gamma(A.shape[1] + 2, 2.0**-24))

    def of_product(
        self, absolute: Array, value: Array, n: int, spread: Array | float = 0.0
    ) -> Array:
        """The bound of a matrix product of length n, given Σ|aᵢ||bᵢ| and the product.

        Each factor is read with a relative error `product`, so a term is off by at most
        2p + p²; the sum adds γₙ of it all; storing it rounds once more. `spread` is what the
        factors' own uncertainty does to the product, and so to what is rounded here.
        """
        read = self.product * (2 + self.product)
        summed = absolute + spread
        error = read * summed + self.of_sum(n, (1 + read) * summed)
        stored = self.u * (jnp.abs(value) + spread + error)
        return spread + error + stored + n * self.tiny

    def flushed(self, A: Array, B: Array) -> Array:
        """What A @ B loses where a factor is read as 0, as XLA reads what is below `flush`."""
        A, B = jnp.abs(A), jnp.abs(B)
        return self.flush * (A.sum(axis=1)[:, None] + B.sum(axis=0))


def arithmetic_of(dtype: str, *, precision: str | None, platform: str) -> Arithmetic:
    """The arithmetic of XLA for a dtype, at a matmul precision, on a platform.

    Args:
        dtype: the format of the stored results.
        precision: the name in force (see `jax.default_matmul_precision`), or None when it cannot
            be told: then the platform's coarsest is assumed, and the name says so.
        platform: "cpu", "gpu" or "tpu"; "numpy" for arrays that no XLA program made.

    Source: NVIDIA A100 whitepaper (TF32 keeps 10 of 23 bits; a factor may be truncated to them);
    Jouppi et al., *Ten Lessons from Three Generations* (2021), for the TPU's bfloat16 passes.
    """
    info = jnp.finfo(dtype)
    u = float(info.eps) / 2
    half = dtype in ("float16", "bfloat16")
    # float16 has gradual underflow on every platform, so an underflow loses half a subnormal.
    tiny = float(info.smallest_subnormal if dtype == "float16" else info.tiny)
    flush = 0.0 if dtype == "float16" else tiny
    accumulator = 2.0**-24 if half and platform != "numpy" else u
    product, name = 0.0, dtype
    half_factors = ("bfloat16", "BF16_BF16_F32")
    if dtype == "float32" and platform in ("gpu", "tpu"):
        passes = {
            "gpu": {"highest": 0.0, "float32": 0.0, **dict.fromkeys(half_factors, 2.0**-8)},
            "tpu": {"highest": 2.0**-22, "float32": 2.0**-22, "high": 2.0**-14},
        }[platform]
        coarsest = {"gpu": 2.0**-10, "tpu": 2.0**-8}[platform]
        product = passes.get(precision or "", coarsest)
        if precision is None:
            name += (
                ", products assumed as coarse as " + {"gpu": "TF32", "tpu": "bfloat16"}[platform]
            )
        else:
            name += f", products at {precision} precision"
    elif dtype == "float32":
        name += ", products of whole float32 factors"
    elif half:
        name += ", sums in " + ("float32" if accumulator < u else f"{dtype}, the worst case")
    excess = u if half else 0.0
    return Arithmetic(u, 0.0, product, accumulator, excess, tiny, flush, name)
