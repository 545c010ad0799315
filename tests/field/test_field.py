"""What `check` says of backward passes that people published: never a false word on right code."""

import pytest

import manual_bp as mbp
from field.views import PROGRAMS, VIEWS, checked, findings_of, outcome, ways

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
    assert outcome(diagnosis, truth) == "named", str(diagnosis)


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
