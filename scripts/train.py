"""Train a network: scikit-learn's digits by default, a folder like MNIST's, or a .npz file.

    python scripts/train.py --save digits.npz --picture digits.png
    python scripts/train.py --load digits.npz --save digits.npz --epochs 80

The second command goes on where the first ended, or where it was interrupted: with the settings of
the file, flag by flag unless given anew. Exit codes: 0; 1 when --verify-every finds a disagreement,
or the cost is no longer finite; 2 for bad usage; 130 after Ctrl-C, with what was trained saved.
"""

import argparse
import os
import sys
import time
import warnings
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import optax

import arguments
from manual_bp.checkpoint import load, load_settings, replacing, save
from manual_bp.data import split
from manual_bp.network import Network, Params
from manual_bp.training import History, fit

OPTIMIZERS = {
    "sgd": (0.2, None),  # the course's own update
    "momentum": (0.03, lambda eta: optax.sgd(eta, momentum=0.9)),
    "adam": (0.002, optax.adam),
}
SETTINGS = (
    *("sizes", "activation", "output", "cost", "l2"),
    *("data", "batch", "learning-rate", "dtype", "precision", "seed", "optimizer"),
)
SECONDS_BETWEEN_SAVES = 1.0


def parse() -> argparse.Namespace:
    """The arguments; those that a --load file was trained with come first."""
    parser = arguments.Parser(__doc__.splitlines()[0])
    arguments.add_network(parser, hidden=128)
    arguments.add_run(parser, batch=32, learning_rate=argparse.SUPPRESS)
    parser.set_defaults(activation="relu", l2=1e-4)
    group = parser.add_argument_group("training")
    group.add_argument(
        "--epochs",
        type=arguments.positive,
        default=40,
        help="passes in all, those of --load among them",
    )
    rates = ", ".join(f"{eta:g} for {name}" for name, (eta, _) in OPTIMIZERS.items())
    group.add_argument(
        "--optimizer", choices=OPTIMIZERS, default="adam", help=f"η is {rates} unless given"
    )
    group.add_argument(
        "--verify-every",
        type=arguments.positive,
        metavar="N",
        default=argparse.SUPPRESS,
        help="hold every N-th step of an epoch, from its first, against autodiff",
    )
    group = parser.add_argument_group("files")
    for flag, name, what in (
        ("--save", "FILE.npz", "where to keep parameters, history and settings, epoch by epoch"),
        ("--load", "FILE.npz", "what to continue from: a file of --save"),
        ("--picture", "FILE.png", "where to draw cost and accuracy per epoch"),
    ):
        group.add_argument(flag, metavar=name, default=argparse.SUPPRESS, help=what)
    parser.add_argument("--quiet", action="store_true", help="print the closing line alone")
    args = parser.parse_args()
    if "load" in args:
        stored = load_settings(args.load)
        known = [f"--{name}={stored[name]}" for name in SETTINGS if name in stored]
        args = parser.parse_args([*known, *sys.argv[1:]])
    return args


def settings_of(args: argparse.Namespace, net: Network, eta: float) -> dict[str, str]:
    """The flags that give the same run again."""
    settled = vars(args) | {
        "sizes": "-".join(map(str, net.sizes)),
        "output": net.activations[-1].name,
        "cost": net.cost.name,
        "learning_rate": eta,
    }
    return {name: str(settled[name.replace("-", "_")]) for name in SETTINGS}


def check_target(flag: str, path: str | None) -> None:
    """Raise before the training, not after it, where a file cannot be written."""
    folder = os.path.dirname(os.path.abspath(path)) if path else "."
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise ValueError(f"{flag}: expected a folder to write to, got {folder}; create it first")
    if path and os.path.isdir(path):
        raise ValueError(f"{flag}: expected the name of a file, got the folder {path}")


def line(history: History, epochs: int, m: int) -> str:
    """The latest epoch in words."""
    parts = [f"cost {history.cost[-1]:.4g}"]
    if history.accuracy is not None:
        parts.append(f"accuracy {history.accuracy[-1]:.2%}")
    return (
        f"epoch {history.epoch:>{len(str(epochs))}} of {epochs}: {', '.join(parts)}; "
        f"held out: {held_out(history)}; {m / history.seconds[-1]:,.0f} examples/s"
    )


def held_out(history: History) -> str:
    """What the held-out examples gave after the latest epoch."""
    if history.validation_cost is None or not len(history.validation_cost):
        return "not measured"
    cost = f"cost {history.validation_cost[-1]:.4g}"
    if history.validation_accuracy is None:
        return cost
    return f"{cost}, accuracy {history.validation_accuracy[-1]:.2%}"


def draw(path: str, title: str, history: History) -> None:
    """Cost and accuracy per epoch, in colours and strokes that everyone can tell apart."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    panels = [("cost C", history.cost, history.validation_cost)]
    if history.accuracy is not None:
        panels.append(("accuracy", history.accuracy, history.validation_accuracy))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5 * len(panels), 3.6), layout="constrained", squeeze=False
    )
    epochs = 1 + np.arange(len(history.cost))
    for ax, (name, training, validation) in zip(axes[0], panels, strict=True):
        ax.plot(epochs, training, color="#0072B2", linestyle="--", marker="o", ms=3)
        ax.plot(epochs, validation, color="#D55E00", marker="s", ms=3)
        ax.legend(["while training", "held out"])
        ax.set_xlabel("epoch")
        ax.set_ylabel(name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
    if np.nanmin(history.cost, initial=1) > 0:
        axes[0, 0].set_yscale("log")
    if len(panels) == 2:
        axes[0, 1].yaxis.set_major_formatter(PercentFormatter(1))
    figure.suptitle(title)
    with replacing(path) as file:
        figure.savefig(file, format=os.path.splitext(path)[1][1:] or "png", dpi=150)
    plt.close(figure)


def main() -> int:
    args = parse()
    arguments.use_device(args)
    saved_to, picture = getattr(args, "save", None), getattr(args, "picture", None)
    check_target("--save", saved_to)
    check_target("--picture", picture)
    if picture and find_spec("matplotlib") is None:
        raise ModuleNotFoundError("--picture needs matplotlib: pip install 'manual_bp[report]'")

    data = split(arguments.read_data(args), seed=args.seed)
    x, y, x_test, y_test = map(jnp.asarray, data[:4])
    net = arguments.build_network(args, data)
    eta, optax_optimizer = OPTIMIZERS[args.optimizer]
    eta = getattr(args, "learning_rate", eta)
    optimizer = optax_optimizer and optax_optimizer(eta)
    settings = settings_of(args, net, eta)
    init_key, key = jax.random.split(jax.random.key(args.seed))
    if "load" in args:
        params, earlier, _ = load(args.load, net, optimizer)
        if earlier.epoch >= args.epochs:
            raise ValueError(
                f"--epochs: {args.load} has {earlier.epoch} epochs behind it; pass more than that"
            )
    else:
        params, earlier = net.init(init_key, args.dtype), None
    started = last_saved = time.monotonic()

    def whole(history: History) -> History:
        return earlier.followed_by(history) if earlier else history

    def keep(params: Params, history: History) -> None:
        nonlocal last_saved
        if saved_to:
            save(saved_to, net, params, whole(history), settings)
            last_saved = time.monotonic()

    def on_epoch(params: Params, history: History) -> None:
        if not (args.quiet or sys.stderr.isatty()):
            print(line(history, args.epochs, len(x)), flush=True)
        if len(history.cost) == 1 or time.monotonic() - last_saved > SECONDS_BETWEEN_SAVES:
            keep(params, history)

    if not args.quiet:
        print(f"{net}, {len(x)} examples of {data.name}, {len(x_test)} held out", flush=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # history.stopped says it
            params, history = fit(
                net,
                params,
                x,
                y,
                epochs=args.epochs - (earlier.epoch if earlier else 0),
                batch_size=args.batch,
                key=key,
                learning_rate=None if optimizer else eta,
                optimizer=optimizer,
                validation=(x_test, y_test),
                verify_every=getattr(args, "verify_every", None),
                progress=False if args.quiet else None,
                on_epoch=on_epoch,
                start_epoch=earlier.epoch if earlier else 0,
                optimizer_state=earlier.optimizer_state if earlier else None,
            )
    except AssertionError as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        return 1
    keep(params, history)
    seconds, kept = time.monotonic() - started, f"; saved to {saved_to}" if saved_to else ""
    if picture and history.epoch:
        draw(picture, f"{net}, {data.name}", whole(history))
        kept += f"; drawn in {picture}"
    if history.stopped:
        print(f"train.py: {history.stopped}{kept}", file=sys.stderr)
        return 130 if history.interrupted else 1
    print(f"held out after {history.epoch} epochs: {held_out(history)}; {seconds:.1f} s{kept}")
    return 0


if __name__ == "__main__":
    arguments.run(main)
