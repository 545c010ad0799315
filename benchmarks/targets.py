"""What by hand is held to: on two CPU cores, and on an accelerator."""

from table import CEILING, OVER, STEPS, Figure

# Section, network, σ, peer, what and the limit; None stands for all, and the first that fits holds.
Limit = tuple[str, str | None, str | None, str, str, float]
MEMORY: list[Limit] = [
    ("memory", "33x256", sigma, "autodiff", OVER, limit)
    for limit, sigmas in (
        (0.52, "relu leaky_relu softplus"),
        (0.35, "elu"),
        (0.42, "silu gelu gelu_tanh"),
        (1.00, "sigmoid tanh"),
    )
    for sigma in sigmas.split()
]
CPU: list[Limit] = [
    ("step", "16x256", "relu", "autodiff", OVER, 0.95),
    ("step", "16x256", "elu", "autodiff", OVER, 0.88),
    ("step", "16x256", "silu", "autodiff", OVER, 0.95),
    ("step", "16x256", "gelu", "autodiff", OVER, 0.90),
    ("step", "16x256", "sigmoid", "autodiff", OVER, 1.00),
    ("step", None, None, "autodiff", OVER, 1.03),
    ("step", "1024x4", None, "by hand", CEILING, 0.90),
    ("step", "2048x4", None, "by hand", CEILING, 0.90),
    ("epoch", "784-30-10", "sigmoid", "optax (in, out)", OVER, 0.78),
    ("epoch", "784-30-10", "sigmoid", "jitted step, Python loop", OVER, 0.42),
    ("epoch", "784-30-10", "sigmoid", "PyTorch, eager", OVER, 0.07),
    ("trust", None, None, "compare", STEPS, 25),
]
ACCELERATOR: list[Limit] = [
    ("step", None, None, "autodiff", OVER, 1.00),
    ("step", "8192x4", None, "by hand", CEILING, 0.80),
]


def held(row: Figure, on_cpu: bool) -> Figure:
    """The row with its target, if it has one."""
    place = row.section, row.network, row.sigma, row.peer, row.what
    for *pattern, limit in (CPU if on_cpu else ACCELERATOR) + MEMORY:
        if all(part in (None, of) for part, of in zip(pattern, place, strict=True)):
            if row.what == CEILING:
                return row._replace(at_least=limit)
            return row._replace(at_most=limit)
    return row
