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
# Every mistake by its name; the catalogue grows, and so does this.
NAMED = """
dsfs early, bias in the last column, gradients
dsfs early, all
dsfs early, a step
softmax over classes, with squares, all
softmax over classes, with squares, gradients
own layer's activation, logistic, all
weight decay, tanh, all
weight decay, tanh, gradients
no σ′ at the output, all
no σ′ at the output, gradients
hidden σ′(a), gradients
reg times the squares, declared as 0.1, all
penalty on all parameters, all
weight decay in the update, gradients
in place: W² too early, all
in place: x centred, all
""".strip().splitlines()


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


def assert_no_false_name(diagnosis, truth):
    """A name is one of those that are right there. What follows from a hidden mistake has none."""
    right = {(equation, layer): names for equation, layer, names in truth}
    for place, mistake in findings_of(diagnosis).items():
        if mistake is not None and place[0] != "convention":
            assert right.get(place, set()) & set(mistake.split(" or ")), str(diagnosis)


def test_there_are_as_many_as_there_were():
    assert (len(PROGRAMS), len(VIEWS), len(RIGHT)) == (63, 90, 36)
    assert set(NAMED) <= set(WRONG)
    assert all(program.source and program.story for program in PROGRAMS.values())


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_is_right(name):
    program, shows, _ = VIEWS[name]
    diagnosis = checked(program, shows, **program.convention)
    assert diagnosis.ok, str(diagnosis)
    notes = " ".join(diagnosis.agreement.notes)
    assert all(symbol in notes for symbol in program.changes)


@pytest.mark.parametrize("name", sampled(WRONG, *NAMED))
def test_wrong_code_is_told(name):
    program, shows, truth = VIEWS[name]
    diagnosis = checked(program, shows, **program.convention)
    assert not diagnosis.ok
    assert_no_false_name(diagnosis, truth)
    if shows == "all":  # where δ is shown, what is wrong is where the mistake is
        places = {place for place in findings_of(diagnosis) if place[0] != "convention"}
        assert places <= {(equation, layer) for equation, layer, _ in truth}, str(diagnosis)
    if name in NAMED:
        right = {(equation, layer): names for equation, layer, names in truth}
        found = findings_of(diagnosis)
        assert found.keys() == right.keys(), str(diagnosis)
        assert all(right[place] & set(str(its).split(" or ")) for place, its in found.items())


@pytest.mark.parametrize("name", sampled(UNDECLARED))
def test_an_undeclared_convention(name):
    program, shows, truth = VIEWS[name]
    diagnosis = checked(program, shows)
    assert_no_false_name(diagnosis, truth)
    if shows == "all" and name not in AMBIGUOUS:
        places = {place for place in findings_of(diagnosis) if place[0] != "convention"}
        assert places <= {(equation, layer) for equation, layer, _ in truth}, str(diagnosis)
    meant = program.convention
    if shows != "all":  # these two are of z, a and δ
        meant = {part: its for part, its in meant.items() if part not in ("delta", "examples")}
    assert diagnosis.ok == (not truth and not meant)
    if not truth:
        assert diagnosis.convention == mbp.Convention(**meant)
        assert not meant or diagnosis.headline.startswith("Right, in another convention")
