"""Backpropagation by hand on real data, every step compared with automatic differentiation."""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import arguments
import manual_bp as mbp
from manual_bp.verification import report

WITNESSES = {"autodiff": mbp.autodiff, "summation": mbp.summation, "numerical": mbp.numerical}


def parse() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    arguments.add_network(parser)
    arguments.add_run(parser, batch=128, learning_rate=0.5)
    parser.add_argument("--steps", type=arguments.positive, default=20, help="update steps")
    parser.add_argument(
        "--witness",
        choices=[*WITNESSES, "all"],
        default="autodiff",
        help="what each step is compared with; all: each of them, and at the end each pair",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results", default=argparse.SUPPRESS
    )
    parser.add_argument("--quiet", action="store_true", help="print the closing sentence alone")
    return parser.parse_args()


def main() -> int:
    args = parse()
    device = arguments.use_device(args)
    data = arguments.read_data(args)
    net = arguments.build_network(args, data)
    witnesses = list(WITNESSES) if args.witness == "all" else [args.witness]
    size = min(args.batch, len(data.x))
    say = arguments.silent if args.quiet else print
    say(f"{net} on {len(data.x):,} examples of {data.name}, {args.dtype} on {device.platform}")
    say(f"{args.steps} steps of {size} examples, each held against {', '.join(witnesses)}")

    params = net.init(jax.random.key(args.seed), args.dtype)
    value_and_grad = mbp.value_and_grad(net)
    steps = []
    indices = itertools.islice(batches(len(data.x), size, args.seed), args.steps)
    with arguments.progress("steps", args.steps, args.quiet) as advance:
        for step, batch in enumerate(indices, start=1):
            x, y = jnp.asarray(data.x[batch]), jnp.asarray(data.y[batch])
            C, gradients = value_and_grad(params, x, y)
            if step > 1 and not bool(jnp.isfinite(C)):
                raise ValueError(
                    f"step {step}: the cost is {float(C)}; make --learning-rate smaller, got "
                    f"{args.learning_rate:g}"
                )
            agreements = [compare(args, net, params, x, y, name) for name in witnesses]
            steps.append(summary(step, float(C), agreements))
            advance(line(steps[-1]))
            if not steps[-1]["ok"]:
                break
            params = mbp.update(params, gradients, args.learning_rate)
            if not all(bool(jnp.isfinite(array).all()) for array in jax.tree.leaves(params)):
                raise ValueError(
                    f"step {step}: the updated parameters are NaN or Inf; make --learning-rate "
                    f"smaller, got {args.learning_rate:g}"
                )

    last = next((a for a in agreements if not a.ok), agreements[0])
    say(f"\nStep {len(steps)}\n{report.text(last, colour=arguments.colour())}")
    pairs = matrix(args, net, params, x, y) if args.witness == "all" else {}
    if pairs:
        say(f"\n{matrix_text(pairs)}")
    ok = all(step["ok"] for step in steps) and all(pair.ok for pair in pairs.values())
    say()
    print(closing(steps))
    if "json" in args:
        arguments.write_json(
            args.json,
            {
                "format": "manual_bp.compare",
                "version": 1,
                "ok": ok,
                "network": str(net),
                "settings": {k: v for k, v in vars(args).items() if k != "json"},
                "steps": [
                    {k: report.number(v) if isinstance(v, float) else v for k, v in step.items()}
                    for step in steps
                ],
                "last": last.to_dict(),
                "pairs": {" / ".join(names): pair.to_dict() for names, pair in pairs.items()},
            },
        )
    return 0 if ok else 1


def batches(m: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of one batch after the other; each example comes once before any comes again."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(m)
        for start in range(0, m - size + 1, size):
            yield order[start : start + size]


def compare(
    args: argparse.Namespace, net: mbp.Network, params: Any, x: Any, y: Any, *names: str
) -> mbp.Agreement:
    """Hold the hand-written pass, or the first of two witnesses, against the last one named."""
    subject, witness = [mbp.backprop, *(WITNESSES[name] for name in names)][-2:]
    return mbp.compare(
        net, params, x, y, subject=subject, witness=witness, precision=args.precision
    )


def summary(step: int, cost: float, agreements: list[mbp.Agreement]) -> dict[str, Any]:
    worst = max((agreement.worst for agreement in agreements), key=lambda row: row.bound_ratio)
    return {
        "step": step,
        "cost": cost,
        "ok": all(agreement.ok for agreement in agreements),
        "values": sum(agreement.values for agreement in agreements),
        "wrong": sum(agreement.wrong for agreement in agreements),
        "worst": worst.bound_ratio,
        "where": report.symbol(worst.quantity, worst.layer),
    }


def line(step: dict[str, Any]) -> str:
    verdict = "agrees" if step["ok"] else "DISAGREES"
    return (
        f"step {step['step']:3}  cost {step['cost']:<9.5g} {step['values']:,} values  {verdict}  "
        f"worst {report.bounds(step['worst'])} ({step['where']})"
    )


def closing(steps: list[dict[str, Any]]) -> str:
    values, wrong = (sum(step[key] for step in steps) for key in ("values", "wrong"))
    worst = max(steps, key=lambda step: step["worst"])
    return (
        f"{values:,} values compared in {len(steps)} steps, {values - wrong:,} agreed; the worst "
        f"was {report.bounds(worst['worst'])} off ({worst['where']} at step {worst['step']})."
    )


def matrix(
    args: argparse.Namespace, net: mbp.Network, params: Any, x: Any, y: Any
) -> dict[tuple[str, str], mbp.Agreement]:
    """Each pair held against each other; autodiff never the witness, since it shares our bound."""
    pairs = {
        ("autodiff", "backprop"): mbp.compare(
            net,
            params,
            x,
            y,
            subject=mbp.autodiff,
            witness=mbp.backprop,
            precision=args.precision,
        )
    }
    for name in ("summation", "numerical"):
        pairs["backprop", name] = compare(args, net, params, x, y, name)
        pairs["autodiff", name] = compare(args, net, params, x, y, "autodiff", name)
    pairs["summation", "numerical"] = compare(args, net, params, x, y, "summation", "numerical")
    return pairs


def matrix_text(pairs: dict[tuple[str, str], mbp.Agreement]) -> str:
    names = ["backprop", "autodiff", "summation", "numerical"]
    cells = {}
    for pair, agreement in pairs.items():
        ratios = [row.end_ratio for row in agreement.rows if row.end_ratio is not None]
        verdict = "agree" if agreement.ok else "DISAGREE"
        cells[frozenset(pair)] = f"{verdict} {max(ratios, default=0):.2g}"
    lines = ["Each pair, end to end; the largest difference over what rounding can do from x on:"]
    lines.append(" " * 10 + "".join(f"{name:>16}" for name in names[:-1]))
    for i, name in enumerate(names[1:], start=1):
        row = "".join(f"{cells[frozenset((name, other))]:>16}" for other in names[:i])
        lines.append(f"{name:10}{row}")
    return "\n".join(lines)


if __name__ == "__main__":
    arguments.run(main)
