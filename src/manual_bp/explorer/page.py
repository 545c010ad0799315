"""The page: one HTML file with its style, its script and its numbers."""

import json
import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from manual_bp.calls import check_network, examples
from manual_bp.checks import Problems, kind, parts, shown
from manual_bp.diagnosis.check import Diagnosis
from manual_bp.explorer.content import of_network, of_step
from manual_bp.explorer.gradients import gradients_page
from manual_bp.explorer.sample import Sample
from manual_bp.explorer.steps import Step
from manual_bp.files.atomic import replacing
from manual_bp.network import Network

SCRIPTS = ("numbers.js", "sums.js", "grid.js", "network.js", "verdicts.js", "explorer.js")


def write(
    path: str | os.PathLike[str],
    net: Network,
    steps: Sequence[Step],
    *,
    title: str = "",
    names: Sequence[str] = (),
    picture: tuple[int, int] | None = None,
) -> None:
    """Write a page of recorded steps: one HTML file that opens from disk and needs no network.

    Of a large network some neurons and examples are shown, and the page says of how many.

    Args:
        path: the file to write.
        net: the network.
        steps: what is shown; all of them have batches of one size.
        title: what the page is called; the network's own words by default.
        names: of the classes; their numbers by default.
        picture: height and width, where an example is a picture.

    Raises:
        ValueError, TypeError: naming what cannot be shown.
        OSError: the file cannot be written.

    Example:
        >>> import jax, pathlib, tempfile, manual_bp as mbp
        >>> from manual_bp import explorer
        >>> net = mbp.Network((2, 3, 1), ("tanh", "sigmoid"), "binary_cross_entropy")
        >>> step = explorer.Step(net.init(jax.random.key(0)), [[0, 1], [1, 1]], [[1], [0]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = pathlib.Path(folder, "page.html")
        ...     explorer.write(page, net, [step])
        ...     page.read_text(encoding="utf-8")[:15]
        '<!doctype html>'
    """
    check_network(net)
    problems = Problems()
    if not isinstance(steps, Sequence) or not all(isinstance(step, Step) for step in steps):
        problems.type(f"steps: expected a list of explorer.Step, got {shown(steps)}")
    elif not steps:
        problems.value("steps: expected at least one, got none")
    sides = parts(picture) if picture is not None else ()
    if picture is not None and (
        sides is None or len(sides) != 2 or not all(isinstance(side, int) for side in sides)
    ):
        problems.type(f"picture: expected (height, width), got {shown(picture)}")
    elif sides and (min(sides) < 1 or sides[0] * sides[1] != net.sizes[0]):
        problems.value(
            f"picture: expected height × width = {net.sizes[0]}, the inputs, got {shown(picture)}"
        )
    words = parts(names)
    if words is None or not all(isinstance(word, str) for word in words):
        problems.type(f"names: expected words for the classes, got {shown(names)}")
    problems.raise_all()
    pairs = [(step, step.judged(net)) for step in steps]
    _write(path, title, pairs, names, picture)


def write_diagnosis(path: str | os.PathLike[str], diagnosis: Diagnosis) -> None:
    """Write a page of what `check` found.

    Raises:
        OSError: the file cannot be written.
    """
    if not isinstance(diagnosis, Diagnosis):
        raise TypeError(f"diagnosis: expected what check gives, got {kind(diagnosis)}")
    if diagnosis.reading is None:
        with replacing(path) as file:
            file.write(gradients_page(diagnosis).encode())
        return
    params, x, y = diagnosis.reading.call[1:]
    title = f"{diagnosis.agreement.subject}, {diagnosis.agreement.network}"
    _write(path, title, [(Step(params, x, y), diagnosis)], (), None)


def _write(
    path: str | os.PathLike[str],
    title: str,
    pairs: Sequence[tuple[Step, Diagnosis]],
    names: Sequence[str],
    picture: tuple[int, int] | None,
) -> None:
    readings = [diagnosis.reading for _, diagnosis in pairs]
    first = readings[0]
    assert first is not None
    net, m = first.call.net, examples(first.call.x)
    sizes = {examples(reading.call.x) for reading in readings if reading is not None}
    if len(sizes) > 1:
        raise ValueError(f"steps: expected batches of one size, got {sorted(sizes)} examples")
    wrong = [row for reading in readings if reading for row in reading.agreement.disagreements]
    sample = Sample.of(net, m, wrong)
    content = {
        "title": title or str(net),
        "network": of_network(net, sample, first),
        "picture": picture,
        "steps": [of_step(*pair, sample, names, picture) for pair in pairs],
    }
    text = filled_in(content)
    with replacing(path) as file:
        file.write(text.encode())


def filled_in(content: dict[str, Any]) -> str:
    """The page with its content in place; no name in it can end the script or start another."""
    here = files("manual_bp.explorer")
    numbers = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        numbers = numbers.replace(letter, f"\\u{ord(letter):04x}")
    return Template((here / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(content["title"]),
        style=(here / "page.css").read_text(encoding="utf-8"),
        script="\n".join((here / name).read_text(encoding="utf-8") for name in SCRIPTS),
        numbers=numbers,
    )
