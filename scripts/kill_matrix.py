"""The proof that the checker works: planted mistakes found, right networks never rejected.

Every mistake of the catalogue is planted where a random network has room for it, in float32,
float64 and bfloat16. What `manual_bp.compare` finds stands beside what two gradient checkers find
at their defaults, and `manual_bp.check` has to name it. A mistake that changes no number by more
than sixteen roundings of the largest is no mistake on that batch, and is not counted.
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np

import arguments
import manual_bp as mbp
from manual_bp.activations import ACTIVATIONS
from manual_bp.checking.convention import every_convention
from manual_bp.checking.mistakes import (
    CATALOGUE,
    EQUATION,
    QUANTITY,
    Mistake,
    array_of,
    backprop_with,
    layers_of,
)

HIDDEN = [name for name in ACTIVATIONS if name != "softmax"]
OUTPUTS = [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")]
OUTPUTS += [(name, "quadratic") for name in ACTIVATIONS]


def parse() -> argparse.Namespace:
    parser = arguments.Parser(__doc__.splitlines()[0])
    parser.add_argument("--networks", type=arguments.positive, default=10, help="to plant in")
    parser.add_argument("--right", type=int, default=2000, help="right networks, 20 of each shape")
    parser.add_argument("--seed", type=int, default=0, help="of everything")
    parser.add_argument(
        "--dtypes",
        nargs="+",
        choices=("float32", "float64", "bfloat16"),
        default=["float32", "float64", "bfloat16"],
        help="to plant in",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a sample: one network of two layers in float32 and bfloat16, 20 right ones",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results", default=argparse.SUPPRESS
    )
    return parser.parse_args()


def main() -> int:
    args = parse()
    networks, right, dtypes = range(args.networks), args.right, args.dtypes
    if args.quick:
        networks, right, dtypes = range(1, 2), 20, ["float32", "bfloat16"]
    jax.config.update("jax_enable_x64", True)
    print(f"seed {args.seed}: mistakes in {len(networks)} networks × {', '.join(dtypes)}")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failures: list[str] = []
    for index in networks:
        for dtype in dtypes:
            plant_everywhere(args.seed, index, dtype, counts, failures)
    print(table(counts, dtypes))

    outcome = Counter({"both found": 0, "not both found": 0})
    for index in networks:
        plant_pairs(args.seed, index, 10, outcome)
        declare_conventions(args.seed, index, outcome, failures)
    pairs = outcome["both found"] + outcome["not both found"]
    print(
        f"\ntwo mistakes at once: both found {outcome['both found']} of {pairs} times; right code "
        f"in a declared convention: {outcome['conventions with findings']} of "
        f"{outcome['conventions']} with a finding"
    )
    if pairs and outcome["both found"] < 0.95 * pairs:
        failures.append(f"two mistakes at once: {outcome['not both found']} of {pairs} missed")

    rejected = Counter({"right": 0, "rejected": 0, "worst": 0})
    for index in range(-(-right // 20)):
        judge_right_ones(args.seed, index, min(20, right - 20 * index), rejected, failures)
    if rejected["right"]:
        print(
            f"\n{rejected['right']:,} right networks (depth 1-12, widths 1-1024, batches 1-256, "
            f"inputs × 1e-3…1e3): {rejected['rejected']} rejected; the worst value at "
            f"{rejected['worst'] / 1e6:.2f} of its bound."
        )
    for failure in failures:
        print(f"NOT AS IT MUST BE: {failure}")
    if "json" in args:
        arguments.write_json(
            args.json,
            {
                "format": "manual_bp.kill_matrix",
                "version": 1,
                "seed": args.seed,
                "networks": len(networks),
                "mistakes": counts,
                "pairs and conventions": outcome,
                "right": rejected,
                "failures": failures,
            },
        )
    return 1 if failures else 0


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────────


def small_case(seed: int, index: int, dtype: str) -> tuple[mbp.Network, Any, Any, Any]:
    """A random network that has room for mistakes: often square, at times as wide as the batch."""
    random = np.random.default_rng((seed, index))
    depth = 1 + index % 5
    width = int(random.integers(3, 9))
    sizes = [
        int(random.choice([width, width, int(random.integers(2, 12))])) for _ in range(depth + 1)
    ]
    sizes[-1] = max(sizes[-1], 2)
    output, cost = OUTPUTS[index % len(OUTPUTS)]
    hidden = [str(random.choice(HIDDEN)) for _ in range(depth - 1)]
    l2 = float(random.choice([0.0, 0.05, 0.2]))
    net = mbp.Network(sizes, (*hidden, output), cost, l2)
    m = int(random.choice([1, width, width, 5, 16]))
    params, x, y = numbers(net, m, dtype, random, 1.0)
    if net.cost.of == "z":
        # One class is unlikely, and the first example is of it: there a clipped logarithm shows.
        params = (*params[:-1], params[-1]._replace(b=params[-1].b.at[-1].add(-20)))
        y = y.at[0].set(jnp.eye(net.sizes[-1], dtype=dtype)[-1])
    return net, params, x, y


def numbers(
    net: mbp.Network, m: int, dtype: str, random: np.random.Generator, scale: float
) -> tuple[Any, Any, Any]:
    """Parameters with biases that are not zero, inputs and targets."""
    params = tuple(
        mbp.Layer(
            jnp.asarray(random.normal(size=(n, k)) * (2 / (n + k)) ** 0.5, dtype),
            jnp.asarray(random.normal(size=n) * 0.3, dtype),
        )
        for k, n in zip(net.sizes[:-1], net.sizes[1:], strict=True)
    )
    x = jnp.asarray(random.normal(size=(m, net.sizes[0])) * scale, dtype)
    targets: Any = random.normal(size=(m, net.sizes[-1]))
    if net.cost.name == "cross_entropy":
        targets = np.eye(net.sizes[-1])[random.integers(net.sizes[-1], size=m)]
    elif net.cost.name == "binary_cross_entropy":
        targets = random.integers(2, size=targets.shape)
    return params, x, jnp.asarray(targets, dtype)


def plant_everywhere(
    seed: int, index: int, dtype: str, counts: dict[str, Counter[str]], failures: list[str]
) -> None:
    """Every mistake, once in each kind of place, in one network."""
    net, params, x, y = small_case(seed, index, dtype)
    case = (net, params, x, y)
    random = np.random.default_rng((seed, index, 1))
    right = backprop_with(*case, {})
    for mistake in CATALOGUE.values():
        for place in mistake.places:
            layers = layers_of(net, place)
            random.shuffle(layers)
            for l in layers:
                try:
                    wrong = backprop_with(*case, {(place, l): mistake})
                except ValueError:  # the network has no room for it there
                    continue
                if same_numbers(right, wrong, place, l, dtype):
                    counts[mistake.name]["same numbers"] += 1
                    continue
                verdict = judge(mbp.compare(*case, subject=wrong), [(place, l)])
                counts[mistake.name][f"{dtype} {verdict}"] += 1
                if dtype != "bfloat16":
                    diagnosis = mbp.check(*case, wrong)
                    naming = named(diagnosis, {(place, l): mistake})
                    counts[mistake.name][f"naming {naming}"] += 1
                    if naming == "misnamed":
                        called = [(f.equation, f.layer, f.mistake) for f in diagnosis.findings]
                        failures.append(
                            f"{mistake.name} at {place}, layer {l}, network {index}, {dtype}, is "
                            f"called {called}"
                        )
                if (dtype == "bfloat16" and verdict == "agrees") or (
                    dtype != "bfloat16" and verdict != "found"
                ):
                    failures.append(
                        f"{mistake.name} at {place}, layer {l}: {verdict} in {dtype}, network "
                        f"{index}: {net}, {len(x)} examples"
                    )
                if dtype == "float32":
                    for name, checker in CHECKERS.items():
                        caught = not passes(checker, case, wrong, {(place, l): mistake})
                        counts[mistake.name][f"{name} {'found' if caught else 'missed'}"] += 1
                break
    if dtype == "float32":
        for name, checker in CHECKERS.items():
            accepted = passes(checker, case, right, {})
            counts["right code"][f"{name} {'accepted' if accepted else 'rejected'}"] += 1


def same_numbers(right: mbp.Backprop, wrong: mbp.Backprop, place: str, l: int, dtype: str) -> bool:
    """Whether a mistake changes nothing by more than sixteen roundings of the largest number."""
    a, b = (
        np.asarray(array_of(record, QUANTITY[place], l), np.float64) for record in (right, wrong)
    )
    roundoff = float(jnp.finfo(dtype).eps) / 2
    return bool(np.abs(a - b).max() <= 16 * roundoff * np.abs(a).max())


def judge(agreement: mbp.Agreement, planted: list[tuple[str, int]]) -> str:
    """'found' where the planted rows disagree and no other does; else what happened."""
    keys = {(EQUATION[p], QUANTITY[p], l) for p, l in planted}
    rows = {(row.equation, row.quantity, row.layer): row.verdict for row in agreement.rows}
    disagreeing = {key for key, verdict in rows.items() if verdict == "disagrees"}
    if disagreeing == keys:
        return "found"
    return "misplaced" if disagreeing - keys else rows[min(keys - disagreeing)]


def named(diagnosis: mbp.Diagnosis, planted: dict[tuple[str, int], Mistake]) -> str:
    """'named' where each finding names its mistake, be it with others that give the same."""
    findings = {(f.equation, f.layer): f.mistake for f in diagnosis.findings}
    # Of a network of one square layer, a transposed gradient may be how W is laid out.
    if findings == {("convention", 0): "convention"}:
        transposed = all(m.name == "gradient_transposed" for m in planted.values())
        return "named" if transposed else "misnamed"
    if findings.keys() != {(EQUATION[p], l) for p, l in planted}:
        return "misnamed"
    names = {(EQUATION[p], l): mistake.name for (p, l), mistake in planted.items()}
    if any(mistake is None for mistake in findings.values()):
        return "unnamed"
    right = all(names[key] in str(mistake).split(" or ") for key, mistake in findings.items())
    return "named" if right else "misnamed"


def plant_pairs(seed: int, index: int, pairs: int, outcome: Counter[str]) -> None:
    """Two mistakes at once, in different equations."""
    case = small_case(seed, index, "float32")
    random = np.random.default_rng((seed, index, 3))
    options = [
        ((place, l), mistake)
        for mistake in CATALOGUE.values()
        for place in mistake.places
        for l in layers_of(case[0], place)
    ]
    right = backprop_with(*case, {})
    for _ in range(pairs):
        chosen = [options[i] for i in random.choice(len(options), 2, replace=False)]
        planted = dict(chosen)
        if len(planted) < 2:
            continue
        try:
            alone = [backprop_with(*case, {place: mistake}) for place, mistake in chosen]
            both = backprop_with(*case, planted)
        except ValueError:
            continue
        if any(
            same_numbers(right, one, place[0], place[1], "float32")
            for one, (place, _) in zip(alone, chosen, strict=True)
        ):
            continue
        verdict = judge(mbp.compare(*case, subject=both), list(planted))
        outcome["both found" if verdict == "found" else "not both found"] += 1


def declare_conventions(seed: int, index: int, outcome: Counter[str], failures: list[str]) -> None:
    """Right code in every layout and scale, declared."""
    case = small_case(seed, index, "float32")
    record = mbp.backprop(*case)
    for convention in every_convention():
        theirs = convention.from_ours(*case[:3], record)
        diagnosis = mbp.check(*case, theirs, convention=convention)
        outcome["conventions"] += 1
        outcome["conventions with findings"] += bool(diagnosis.findings)
        if diagnosis.findings:
            failures.append(f"{convention}, network {index}: {diagnosis.findings[0]}")


# ── The other checkers, at their defaults ────────────────────────────────────────────────────────

CHECKERS = {
    "check_grads": lambda f, args: jax.test_util.check_grads(f, args, order=1),
    "chex": lambda f, args: chex.assert_numerical_grads(f, args, order=1),
}


def passes(
    checker: Any,
    case: tuple[Any, ...],
    record: mbp.Backprop,
    planted: dict[tuple[str, int], Mistake],
) -> bool:
    """Whether a gradient checker accepts a function whose derivative is the record's gradients."""
    net, params, x, y = case

    @jax.custom_jvp
    def C(*arrays: Any) -> Any:
        params = tuple(map(mbp.Layer, arrays[::2], arrays[1::2]))
        return backprop_with(net, params, x, y, planted).cost

    @C.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        slopes = jax.tree.leaves(tuple(zip(record.dW, record.db, strict=True)))
        change = sum(jnp.vdot(s, t) for s, t in zip(slopes, tangents, strict=True))
        return C(*primals), change

    np.random.seed(0)  # noqa: NPY002 (the checkers draw their directions from it)
    try:
        checker(C, tuple(jax.tree.leaves(params)))
    except AssertionError:
        return False
    return True


# ── Right networks ───────────────────────────────────────────────────────────────────────────────


def judge_right_ones(
    seed: int, index: int, draws: int, rejected: Counter[str], failures: list[str]
) -> None:
    """One shape of network, many draws of its numbers."""
    jax.clear_caches()  # the programs of the shape before would fill the memory
    random = np.random.default_rng((seed, index, 2))
    depth = int(random.integers(1, 13))
    sizes = [int(2 ** random.uniform(0, 10)) for _ in range(depth + 1)]
    output, cost = OUTPUTS[int(random.integers(len(OUTPUTS)))]
    hidden = [str(random.choice(HIDDEN)) for _ in range(depth - 1)]
    net = mbp.Network(sizes, (*hidden, output), cost, float(random.choice([0.0, 1e-3, 0.1])))
    m = int(2 ** random.uniform(0, 8))
    dtype = ("float32", "float64", "bfloat16")[index % 3]
    for _ in range(draws):
        scale = 10 ** random.uniform(-3, 3)
        agreement = mbp.compare(net, *numbers(net, m, dtype, random, scale))
        rejected["right"] += 1
        rejected["worst"] = max(rejected["worst"], int(1e6 * agreement.worst.bound_ratio))
        wrong = agreement.disagreements
        if wrong:
            rejected["rejected"] += 1
            failures.append(
                f"right network rejected: {net}, {m} examples, {dtype}, scale {scale:.2g}: "
                f"{wrong[0].equation} {wrong[0].quantity}{wrong[0].layer} at "
                f"{wrong[0].bound_ratio:.3g}"
            )


# ── The table ────────────────────────────────────────────────────────────────────────────────────


def table(counts: dict[str, Counter[str]], dtypes: list[str]) -> str:
    columns = [*dtypes, *CHECKERS]
    width = max(map(len, counts))
    lines = [f"\n{'mistake':{width}}" + "".join(f"{column:>13}" for column in columns) + "  same"]
    total: Counter[str] = Counter()
    for name, found in counts.items():
        if name != "right code":
            total += found
            lines.append(f"{name:{width}}" + "".join(cell(found, c) for c in columns) + same(found))
    lines.append(f"{'all':{width}}" + "".join(cell(total, c) for c in columns) + same(total))
    for name in CHECKERS:
        right = counts["right code"]
        asked = right[f"{name} rejected"] + right[f"{name} accepted"]
        lines.append(f"{name}: right code rejected {right[f'{name} rejected']} of {asked} times")
    lines.append(
        f"check: {total['naming named']} mistakes named, {total['naming unnamed']} placed but not "
        f"named, {total['naming misnamed']} misnamed"
    )
    return "\n".join(lines)


def cell(found: Counter[str], column: str) -> str:
    planted = sum(n for key, n in found.items() if key.startswith(f"{column} "))
    undecided = found[f"{column} undecided"] + found[f"{column} untested"]
    mark = f"?{undecided}" if undecided else ""
    return f"{found[f'{column} found']}/{planted}{mark}".rjust(13) if planted else "-".rjust(13)


def same(found: Counter[str]) -> str:
    return f"{found['same numbers']:6}"


if __name__ == "__main__":
    arguments.run(main)
