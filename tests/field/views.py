"""What may be seen of each published program, and what `check` says of it."""

import numpy as np

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


def outcome(diagnosis, truth):
    """Of one view: "right", "accused", "named", "placed" without a name, or "false"."""
    right = {(equation, layer): names for equation, layer, names in truth}
    found = {at: its for at, its in findings_of(diagnosis).items() if at[0] != "convention"}
    if not truth:
        return "right" if diagnosis.ok else "accused"
    told = {at: its for at, its in found.items() if its}
    if any(not any(way <= right.get(at, set()) for way in ways(its)) for at, its in told.items()):
        return "false"
    if found.keys() != right.keys():
        return "misplaced"
    return "named" if told.keys() == right.keys() else "placed"
