"""Built-in functions by their text: a name, and its parameters where it has some."""

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from manual_bp.checks import nearest

BuiltIn = TypeVar("BuiltIn")
Parameter = float | tuple[float, ...]

MAX_TEXT = 2**16
"""The longest text that is read: names come from files as well."""

_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*")
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_ARGUMENT = re.compile(
    rf"\s*(?:([A-Za-z_]\w*)\s*=\s*)?(?:({_NUMBER})|\(\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s*,?\s*\))\s*"
)


class Written(NamedTuple):
    """What a text such as huber(2) or cross_entropy(smoothing=0.1) says.

    Attributes:
        name: huber.
        numbers: its parameters by position.
        named: its parameters by name.
    """

    name: str
    numbers: tuple[Parameter, ...] = ()
    named: Mapping[str, Parameter] = {}

    @property
    def has_parameters(self) -> bool:
        """Whether there is any."""
        return bool(self.numbers or self.named)


@lru_cache(maxsize=4096)
def parsed(text: str) -> Written:
    """The name and the parameters of a text; nothing in it is executed.

    Raises:
        ValueError: the text is no name, or has something else than numbers for parameters.

    Example:
        >>> parsed("leaky_relu(0.2)").name, parsed("leaky_relu(0.2)").numbers
        ('leaky_relu', (0.2,))
    """
    name = _NAME.match(text[:MAX_TEXT])
    if name and name.end() == len(text):
        return Written(name[1])
    refusal = ValueError(
        f"{text[:60]!r}: expected a name, or a name with numbers as its parameters, such as "
        f"'leaky_relu(0.2)' or 'cross_entropy(smoothing=0.1)'"
    )
    if not name or text[name.end()] != "(" or len(text) > MAX_TEXT:
        raise refusal
    numbers: list[Parameter] = []
    named: dict[str, Parameter] = {}
    at = name.end() + 1
    while argument := _ARGUMENT.match(text, at):
        key, number, several = argument.groups()
        value = float(number) if number else tuple(map(float, several.split(",")))
        if key in named or (named and key is None):
            break
        if key is None:
            numbers.append(value)
        else:
            named[key] = value
        at = argument.end()
        if text[at : at + 1] != ",":
            break
        at += 1
    if not (numbers or named) or text[at:].rstrip() != ")":
        raise refusal
    return Written(name[1], tuple(numbers), named)


def written(name: str, *numbers: float, **named: Parameter) -> str:
    """The one text for these parameters, from which `parsed` has them back exactly."""
    parts = [*map(_shown, numbers), *(f"{key}={_shown(value)}" for key, value in named.items())]
    return f"{name}({', '.join(parts)})" if parts else name


def _shown(value: Parameter) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))}{',' * (len(value) == 1)})"
    return repr(float(value)).removesuffix(".0")


class Family(NamedTuple):
    """Functions that differ in a parameter.

    Attributes:
        of: from the parameters, by position and by name, to the one object that stands for them.
            A ValueError says what was expected of them.
        example: a text with parameters, for messages.
    """

    of: Callable[..., Any]
    example: str


def found(
    text: str, plain: Mapping[str, BuiltIn], families: Mapping[str, Family], *, what: str
) -> BuiltIn:
    """The built-in function that a text stands for; the same object for the same parameters.

    Raises:
        ValueError: there is none, or its parameters do not fit.
    """
    if text in plain:
        return plain[text]
    name, numbers, named = parsed(text)
    if name not in families:
        if name not in plain:
            known = dict.fromkeys([*plain, *families])
            raise ValueError(f"unknown name {text[:60]!r}; {nearest(name[:60], known)}")
        if numbers or named:
            raise ValueError(f"{text!r}: {what} {name} takes no parameters; write {name!r}")
        return plain[name]
    try:
        function: BuiltIn = families[name].of(*numbers, **named)
    except (TypeError, ValueError) as error:
        said = str(error) if isinstance(error, ValueError) else "expected other parameters"
        raise ValueError(f"{text[:60]!r}: {said}; write {families[name].example!r}") from error
    return function


def positive(what: str, value: Parameter, below: float = math.inf) -> float:
    """The value as a float, where it is a number above 0 and below a limit."""
    if isinstance(value, tuple) or not 0 < value < below:
        limit = "" if below == math.inf else f" and below {_shown(below)}"
        raise ValueError(f"expected {what} above 0{limit}, got {_shown(value)}")
    return float(value)
