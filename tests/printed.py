"""What a page shows as code and as its output, and what of an output is the same everywhere."""

import re

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
# How far a value is off, measured by what rounding allows, differs from machine to machine.
DISTANCE = re.compile(r"(?<![\w.])[\d,]+(\.\d+)?(e[+-]\d+)? (?=(times|of) what rounding)")


def blocks(page):
    """(language, code, expected output or None) of each block of a page that runs."""
    fences = FENCE.findall(page.read_text())
    for (kind, code), after in zip(fences, [*fences[1:], ("", "")], strict=True):
        if kind != "text":
            yield kind, code, after[1] if after[0] == "text" else None


def without_distances(text):
    """One line of words, so that a shorter number breaks no line elsewhere."""
    return DISTANCE.sub("… ", " ".join(text.split()))
