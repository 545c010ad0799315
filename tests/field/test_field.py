"""What `check` says of backward passes that people published: never a false word on right code."""

import numpy as np
import pytest

import manual_bp as mbp
from field.programs import programs

PROGRAMS = programs()
# (program, what is shown of it, what is wrong with that)
VIEWS = {
    f"{name}, {shows}": (program, shows, truth)
    for name, program in PROGRAMS.items()
    for shows, truth in (
        ("all", program.truth),
        ("gradients", program.gradients),
        ("a step", program.step if program.after else None),
    )
    if truth is not None
}
RIGHT = [name for name, (_, _, truth) in VIEWS.items() if not truth]
WRONG = [name for name in VIEWS if name not in RIGHT]
UNDECLARED = [name for name, (program, _, _) in VIEWS.items() if program.convention]


def sampled(names, *kept):
    """A third of them, and those that are kept; the rest are in the sweep."""
    return [
        name if i % 3 == 0 or name in kept else pytest.param(name, marks=pytest.mark.sweep)
        for i, name in enumerate(names)
    ]


# What is wrong at the output hides the scale, and nothing else shows it.
AMBIGUOUS: tuple[str, ...] = ()


def checked(program, shows, **convention):
    """The diagnosis, of the caller's own arrays, which stay as they are."""
    net = mbp.Network(**program.net)
    b = program.b or [None] * len(program.W)
    params = [mbp.Layer(np.array(W), c) for W, c in zip(program.W, b, strict=True)]
    subject = program.arrays
    if shows == "gradients":
        subject = {name: subject[name] for name in ("dW", "db") if name in subject}
    elif shows == "a step":
        W, b = program.after
        subject = mbp.Update(list(map(mbp.Layer, W, b or [None] * len(W))), program.eta)
    elif program.function:
        params = [mbp.Layer(W, c) for W, c in zip(program.W, b, strict=True)]

        def subject(net, params, x, y):
            return program.function([W for W, _ in params], [b for _, b in params], x, y)

    handed = [array for layer in params for array in layer if array is not None]
    handed += [program.x, program.y]
    before = [array.copy() for array in handed]
    convention = mbp.Convention(**convention)
    diagnosis = mbp.check(net, params, program.x, program.y, subject, convention=convention)
    for old, new in zip(before, handed, strict=True):
        np.testing.assert_array_equal(old, new)
    return diagnosis


def findings_of(diagnosis):
    return {(f.equation, f.layer): f.mistake for f in diagnosis.findings}


def ways(mistake):
    """The sets of edits that a finding tells, one or the other."""
    return [set(way.split(" and ")) for way in str(mistake).split(" or ")]


def assert_no_false_name(diagnosis, truth, scale=None):
    """One of the ways told is right there; beside it a factor, where a scale is not declared."""
    right = {(equation, layer): names for equation, layer, names in truth}
    for place, mistake in findings_of(diagnosis).items():
        if mistake is None or place[0] == "convention":
            continue
        names = right.get(place, set())
        if place == scale:
            names = names | {"factor", "sum_for_mean", "half_missing"}
        assert any(way <= names for way in ways(mistake)), str(diagnosis)


def test_there_are_as_many_as_there_were():
    assert (len(PROGRAMS), len(VIEWS), len(RIGHT)) == (63, 90, 36)
    assert all(program.source and program.story for program in PROGRAMS.values())


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_is_right(name):
    program, shows, _ = VIEWS[name]
    diagnosis = checked(program, shows, **program.convention)
    assert diagnosis.ok, str(diagnosis)
    notes = " ".join(diagnosis.agreement.notes)
    assert all(symbol in notes for symbol in program.changes)


@pytest.mark.parametrize("name", sampled(WRONG))
def test_wrong_code_is_told(name):
    program, shows, truth = VIEWS[name]
    diagnosis = checked(program, shows, **program.convention)
    assert not diagnosis.ok
    assert_no_false_name(diagnosis, truth)
    right = {(equation, layer): names for equation, layer, names in truth}
    found = {at: its for at, its in findings_of(diagnosis).items() if at[0] != "convention"}
    assert found.keys() == right.keys(), str(diagnosis)
    assert all(any(way <= right[place] for way in ways(its)) for place, its in found.items())


@pytest.mark.parametrize("name", sampled(UNDECLARED))
def test_an_undeclared_convention(name):
    program, shows, truth = VIEWS[name]
    diagnosis = checked(program, shows)
    scaled = {"sign", "scale", "reduction"} & program.convention.keys()
    assert_no_false_name(diagnosis, truth, ("BP1", len(program.W)) if scaled else None)
    if shows == "all" and name not in AMBIGUOUS:
        places = {place for place in findings_of(diagnosis) if place[0] != "convention"}
        places -= {("BP1", len(program.W))} if scaled else set()
        assert places <= {(equation, layer) for equation, layer, _ in truth}, str(diagnosis)
    meant = program.convention
    if shows != "all":  # these two are of z, a and δ
        meant = {part: its for part, its in meant.items() if part not in ("delta", "examples")}
    assert diagnosis.ok == (not truth and not meant)
    if not truth:
        assert diagnosis.convention == mbp.Convention(**meant)
        assert not meant or diagnosis.headline.startswith("Right, in another convention")
