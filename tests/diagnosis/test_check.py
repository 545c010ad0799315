"""check: what a subject may be, what is found, what is said of it, and what could not show."""

import html.parser
import json
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manual_bp as mbp
from helpers import random_case
from manual_bp.diagnosis.edits import CATALOGUE
from manual_bp.diagnosis.planting import backprop_with, places_for
from planting import (
    UNEQUAL,
    found,
    gradients_alone,
    ordinary,
    own_mistake,
    plant,
    right,
    square,
    with_sigmas,
)

NOTHING = mbp.Backprop()
WRONG = ("no_hidden_derivative", "BP2", 1)
DEEP = mbp.Network((3, 5, 5, 2), ("tanh", "tanh", "softmax"), "cross_entropy", 0.1)


def deep():
    return DEEP, *random_case(DEEP, 7, 3, "float32")


def arrays(record, kind):
    return jax.tree.map(kind, record)


def words(diagnosis):
    return " ".join(str(diagnosis).split())


# ── The subject ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "kind",
    [
        jnp.asarray,
        np.asarray,
        lambda v: np.asarray(v, np.float64),
        lambda v: np.asarray(v).tolist(),
    ],
    ids=["JAX", "NumPy", "float64", "nested lists"],
)
def test_right_and_wrong_in_every_kind_of_array(kind):
    case = ordinary()
    assert mbp.check(*case, arrays(right(ordinary), kind)).ok
    diagnosis = mbp.check(*case, arrays(plant(case, WRONG), kind))
    assert found(diagnosis) == [("BP2", 1, "no_hidden_derivative")]


def test_a_function_is_called_once_with_what_check_was_given():
    case = ordinary()
    calls = []

    def mine(*call):
        calls.append(call)
        return mbp.backprop(*call)

    assert mbp.check(*case, mine).ok
    (call,) = calls  # JAX's arrays do not change: they are no copies
    assert call[0] is case[0]
    assert all(a is b for a, b in zip(*map(jax.tree.leaves, (call[1:], case[1:])), strict=True))


def test_a_function_runs_at_full_precision_unless_asked_otherwise_as_in_compare():
    seen = []

    def mine(*call):
        seen.append(jax.config.jax_default_matmul_precision)
        return mbp.backprop(*call)

    with jax.default_matmul_precision("bfloat16"):
        mbp.check(*ordinary(), mine)
        mbp.check(*ordinary(), mine, precision="high")
    assert seen == ["highest", "high"]


def test_lists_of_whole_numbers_are_numbers():
    net = mbp.Network((2, 1), ("identity",), "quadratic")
    params = (mbp.Layer(jnp.array([[1.0, 2.0]]), jnp.array([3.0])),)
    x, y = jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([[2.0], [3.0]])
    # z = 4, 7; a − y = 2, 4; δ = 1, 2
    a = [[[1, 0], [0, 2]], [[4], [7]]]
    record = mbp.Backprop(5, a[1:], a, [[[1], [2]]], [[[1, 4]]], [[3]])
    assert mbp.check(net, params, x, y, record).ok
    assert found(mbp.check(net, params, x, y, record._replace(db=[[0]]))) == [
        ("BP3", 1, "bias_missing")
    ]
    integers = NOTHING._replace(dW=(np.array([[1, 4]]),))
    assert mbp.check(net, params, x, y, integers).ok


@pytest.mark.parametrize(
    ("field", "value", "error", "says"),
    [
        ("dW", ([[1.0, 2.0], [3.0]], None), ValueError, "dW, layer 1: expected rows of one length"),
        ("dW", (None, "abc"), TypeError, "dW, layer 2: expected real numbers"),
        ("a", ([["1.0"]], None, None), TypeError, "a, layer 0: expected real numbers"),
        ("db", (None, {}), TypeError, "db, layer 2: expected real numbers"),
        ("db", (None, [None, 1.0]), TypeError, "db, layer 2: expected real numbers"),
        ("z", (np.ones((7, 5)) * 1j, None), TypeError, "z, layer 1: expected real numbers"),
        ("delta", (np.ones((7, 5), bool), None), TypeError, "delta, layer 1: expected real num"),
        ("cost", "0.5", TypeError, "cost: expected real numbers, got"),
        ("dW", 3.0, TypeError, "dW: expected 2 arrays, dW1 … dW2, .*; got float"),
        ("dW", "ab", TypeError, "dW: expected 2 arrays, dW1 … dW2, .*; got str"),
        ("dW", {1: 0, 2: 0}, TypeError, "dW: expected 2 arrays, dW1 … dW2, .*; got dict"),
        ("a", (None,), ValueError, "a: expected 3 arrays, a0 … a2, .*; got 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_no_numbers_is_one_clear_error(field, value, error, says):
    with pytest.raises(error, match=f"subject: {says}"):
        mbp.check(*ordinary(), right(ordinary)._replace(**{field: value}))


def test_all_that_does_not_fit_is_told_at_once():
    record = right(ordinary)._replace(cost="?", dW=("?", None))
    with pytest.raises(TypeError, match=r"2 things do not fit(.|\n)*cost(.|\n)*dW, layer 1"):
        mbp.check(*ordinary(), record)


def test_what_is_no_record():
    for subject, got in (("abc", "str"), (None, "NoneType"), (lambda *call: None, "NoneType")):
        with pytest.raises(TypeError, match=f"subject: expected a Backprop, a dict .*; got {got}"):
            mbp.check(*ordinary(), subject)
    with pytest.raises(ValueError, match=r"subject: expected the gradients of 2 layers, \[\(dW1"):
        mbp.check(*ordinary(), (1, 2))
    net, params, x, y = ordinary()
    with pytest.raises(ValueError, match="x: "):
        mbp.check(net, params, x[:, :2], y, right(ordinary))


def test_a_wrong_shape_is_a_finding_and_the_rest_is_judged():
    record = plant(ordinary(), ("bias_averaged", "BP3", 2))
    record = record._replace(delta=(record.delta[0][:, :4], record.delta[1]))
    diagnosis = mbp.check(*ordinary(), record)
    assert found(diagnosis) == [("BP3", 2, "bias_averaged"), ("BP2", 1, None)]
    assert "δ¹: expected shape (7, 5), got (7, 4)" in words(diagnosis)


def test_a_wrong_shape_is_not_named_a_mistake_that_nobody_sees():
    record = right(ordinary)
    wrong = record.delta[0][:3]
    diagnosis = mbp.check(*ordinary(), record._replace(delta=(wrong, record.delta[1])))
    assert found(diagnosis) == [("BP2", 1, None)]


def test_an_array_the_other_way_round_than_the_rest_is_read_by_its_shape():
    record = right(ordinary)
    turned = record._replace(delta=(record.delta[0].T, record.delta[1]))
    diagnosis = mbp.check(*ordinary(), turned)
    assert diagnosis.ok
    assert "Note: δ¹: given the other way round than the rest, and read so." in words(diagnosis)
    turned = record._replace(delta=(2 * record.delta[0].T, record.delta[1]), dW=None, db=None)
    assert found(mbp.check(*ordinary(), turned)) == [("BP2", 1, "factor")]


def test_nan_is_told_where_it_begins_and_not_where_it_goes():
    case = deep()
    wrong = own_mistake(case, "BP2", 2, lambda delta: delta.at[3, 1].set(jnp.nan))
    assert not np.isfinite(wrong.delta[0]).all()  # it has gone on
    diagnosis = mbp.check(*case, wrong)
    assert found(diagnosis) == [("BP2", 2, None)]
    assert "your δ² is nan at (3, 1)" in words(diagnosis)
    forward = own_mistake(case, "z", 1, lambda z: z.at[0, 0].set(jnp.inf))
    assert found(mbp.check(*case, forward))[0] == ("forward", 1, None)


# ── Parts of a record ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("field", mbp.Backprop._fields)
def test_any_one_field_will_do(field):
    alone = NOTHING._replace(**{field: getattr(right(ordinary), field)})
    assert mbp.check(*ordinary(), alone).ok


def test_nothing_is_not_right():
    diagnosis = mbp.check(*ordinary(), NOTHING)
    assert not diagnosis.ok
    assert not diagnosis.findings
    assert str(diagnosis).startswith("Nothing could be tested")
    with pytest.raises(AssertionError, match="Nothing could be tested"):
        diagnosis.raise_if_wrong()


def test_none_in_a_tuple():
    record = plant(ordinary(), ("penalty_missing", "BP4", 1))
    diagnosis = mbp.check(
        *ordinary(), record._replace(dW=(record.dW[0], None), z=(None, record.z[1]))
    )
    assert found(diagnosis) == [("BP4", 1, "penalty_missing")]


def test_db_alone():
    record = plant(ordinary(), ("bias_averaged", "BP3", 1))
    (finding,) = mbp.check(*ordinary(), NOTHING._replace(db=record.db)).findings
    assert (finding.equation, finding.layer) == ("BP3", 1)
    # As right: that nobody sees δ¹, and it is an mth of what it should be.
    assert finding.mistake == "bias_averaged or mean_again"
    record = plant(ordinary(), ("bias_missing", "BP3", 1))
    assert found(mbp.check(*ordinary(), NOTHING._replace(db=record.db))) == [
        ("BP3", 1, "bias_missing or weights_omitted")  # of softmax, whose δ² add up to 0
    ]


@pytest.mark.parametrize(
    ("name", "place", "l"),
    [
        ("no_hidden_derivative", "BP2", 1),
        ("extra_output_derivative", "BP1", 2),
        ("bias_omitted", "z", 1),
        ("bias_averaged", "BP3", 2),
        ("penalty_missing", "BP4", 2),
    ],
)
def test_gradients_alone(name, place, l):
    record = gradients_alone(plant(ordinary(), (name, place, l)))
    diagnosis = mbp.check(*ordinary(), record)
    (finding,) = diagnosis.findings
    assert (finding.equation, finding.layer) == ("forward" if place == "z" else place, l)
    assert name in finding.mistake.split(" or ")


def test_a_value_that_is_not_told_hides_no_mistake():
    record = gradients_alone(plant(ordinary(), ("no_hidden_derivative", "BP2", 1)))
    dW1 = np.ma.masked_array(np.asarray(record.dW[0]), np.zeros(record.dW[0].shape, bool))
    dW1[0, 0] = np.ma.masked
    diagnosis = mbp.check(*ordinary(), record._replace(dW=(dW1, record.dW[1])))
    assert found(diagnosis) == [("BP2", 1, "no_hidden_derivative")]


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("eta", [0.001, 0.1, 0.5, 3.0])
def test_eta_is_solved_for(eta):
    record = plant(ordinary(), ("weights_updated_first", "BP2", 1), eta=eta)
    diagnosis = mbp.check(*ordinary(), record)
    assert found(diagnosis) == [("BP2", 1, "weights_updated_first")]
    told = float(re.search(r"with η = ([\d.e+-]*\d)", words(diagnosis))[1])
    assert told == pytest.approx(eta, rel=1e-3)  # η = 0.001 shows in few of float32's digits


@pytest.mark.parametrize("eta", [0.1, 0.5])
def test_eta_is_solved_for_from_gradients_alone(eta):
    record = plant(ordinary(), ("weights_updated_first", "BP2", 1), eta=eta)
    diagnosis = mbp.check(*ordinary(), gradients_alone(record))
    assert found(diagnosis) == [("BP2", 1, "weights_updated_first")]
    told = float(re.search(r"with η = ([\d.e+-]*\d)", words(diagnosis))[1])
    assert told == pytest.approx(eta, rel=1e-3)
    assert "all that is given follows if δ¹ is" in words(diagnosis)


@pytest.mark.parametrize("name", ["weights_updated_first", "no_hidden_derivative"])
def test_a_loop_over_the_layers_makes_a_mistake_in_each(name):
    where = [(name, "BP2", l) for l in (1, 2)]
    record = plant(deep(), *where)
    expected = {("BP2", 1, name), ("BP2", 2, name)}
    assert set(found(mbp.check(*deep(), record))) == expected
    assert set(found(mbp.check(*deep(), gradients_alone(record)))) == expected


@pytest.mark.parametrize(
    "pair",
    [
        [("bias_omitted", "z", 1), ("mean_again", "BP2", 1)],
        [("ascent_sign", "BP1", 2), ("bias_averaged", "BP3", 1)],
        [("penalty_missing", "BP4", 1), ("penalty_doubled", "cost", 2)],
    ],
    ids=lambda pair: " and ".join(name for name, _, _ in pair),
)
def test_two_mistakes_at_once(pair):
    findings = mbp.check(*ordinary(), plant(ordinary(), *pair)).findings
    by_place = {(f.equation, f.layer): f.mistake for f in findings}
    planted = {("forward" if place == "z" else place, l): name for name, place, l in pair}
    assert by_place.keys() == planted.keys()
    assert all(name in by_place[place].split(" or ") for place, name in planted.items())


def test_what_gives_the_same_numbers_is_one_of_these():
    """Of two examples, the sum is twice the mean; and so is the cost without its ½."""
    net = mbp.Network((3, 2), ("identity",), "quadratic")
    case = (net, *random_case(net, 2, 0, "float32"))
    (finding,) = mbp.check(*case, plant(case, ("sum_for_mean", "BP1", 1))).findings
    assert finding.mistake == "sum_for_mean or half_missing"
    assert "; or " in finding.explanation
    assert " Or: " in finding.fix


@pytest.mark.parametrize(
    ("place", "l", "formula", "says"),
    [
        ("BP2", 1, lambda v: v.at[3].multiply(2), "wrong in example 3 alone"),
        ("BP2", 1, lambda v: v.at[:, 4].multiply(2), "wrong in neuron 4 alone"),
        ("BP4", 1, lambda v: v.at[2].multiply(2), "wrong in row 2 alone"),
        ("BP4", 1, lambda v: v.at[:, 1].multiply(2), "wrong in column 1 alone"),
        ("BP4", 1, lambda v: v.at[2, 1].add(1), "wrong in one value alone, at (2, 1)"),
        ("BP3", 1, lambda v: v.at[3].add(1), "wrong in one value alone, at (3,)"),
        ("BP2", 1, jnp.cbrt, "wrong in 35 of 35 values"),
        ("z", 2, lambda v: v.at[0, 1].add(1), "wrong in one value alone, at (0, 1)"),
        ("cost", 2, lambda v: 1.37 * v, "1.370000 times that"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else None,
)
def test_a_mistake_that_the_catalogue_has_not(place, l, formula, says):
    diagnosis = mbp.check(*ordinary(), own_mistake(ordinary(), place, l, formula))
    assert found(diagnosis) == [("forward" if place == "z" else place, l, None)]
    assert says in words(diagnosis)
    assert "none of the mistakes in the catalogue" in words(diagnosis)


@pytest.mark.parametrize(
    ("place", "factor", "says"),
    [("BP2", 1.37, "times 1.37"), ("BP2", -0.25, "times -0.25"), ("BP3", 7, "times 7 = m")],
)
def test_a_factor_is_told_with_its_value(place, factor, says):
    diagnosis = mbp.check(*ordinary(), own_mistake(ordinary(), place, 1, lambda v: factor * v))
    assert found(diagnosis) == [(place, 1, "factor")]
    assert says in words(diagnosis)


def test_of_one_example_it_is_not_said_that_one_example_is_wrong():
    case = (UNEQUAL, *random_case(UNEQUAL, None, 1, "float32"))
    record = mbp.backprop(*case)
    wrong = NOTHING._replace(delta=(record.delta[0].at[1:3].add(1), record.delta[1]))
    assert "wrong in 2 of 5 values" in words(mbp.check(*case, wrong))


@pytest.mark.parametrize("of", ["a", "z"])
@pytest.mark.parametrize("output", [False, True], ids=["hidden", "output"])
def test_a_wrong_derivative_of_ones_own_activation_is_found(of, output):
    """σ = z³ + z with σ′ short of its 1; or tanh with 1 − a where it should be 1 − a²."""
    own = {
        "z": mbp.Activation("cubic", lambda z: z**3 + z, lambda z: 3 * z**2),
        "a": mbp.Activation("mine", jnp.tanh, lambda a: 1 - a, "a"),
    }[of]
    good = {
        "z": replace(own, sigma_prime=lambda z: 3 * z**2 + 1),
        "a": replace(own, sigma_prime=lambda a: 1 - a * a),
    }[of]
    right = mbp.Network((3, 5, 2), ("tanh", good) if output else (good, "tanh"), "quadratic")
    wrong = with_sigmas(right, *(own if s is good else s for s in right.activations))
    nets = [wrong, right]
    case = random_case(nets[0], 7, 1, "float32")
    place = ("BP1", 2) if output else ("BP2", 1)
    for judge in (
        lambda net: mbp.compare(net, *case),
        lambda net: mbp.check(net, *case, mbp.backprop).agreement,
    ):
        wrong = [(r.equation, r.layer) for r in judge(nets[0]).rows if r.verdict == "disagrees"]
        assert wrong == [place]
        assert judge(nets[1]).ok
    (finding,) = mbp.check(nets[0], *case, mbp.backprop).findings
    assert (finding.equation, finding.layer) == place


# ── What is said ─────────────────────────────────────────────────────────────────────────────────


def test_a_finding_in_full():
    (finding,) = mbp.check(*ordinary(), plant(ordinary(), WRONG)).findings
    assert (finding.equation, finding.layer, finding.mistake) == ("BP2", 1, "no_hidden_derivative")
    said, _, away = finding.explanation.partition(", from which it differs by ")
    assert said.startswith("your δ¹ is (W²)ᵀ δ². ")
    assert said.endswith(" It should be (W²)ᵀ δ² ⊙ σ′(z¹)")
    assert away.endswith("times what rounding allows.")
    assert finding.fix == "Multiply by σ′(z¹), element by element."
    assert str(finding) == (
        f"BP2 at layer 1 [no_hidden_derivative]: {finding.explanation} {finding.fix}"
    )


@pytest.mark.parametrize("subject", ["right", "wrong", "unknown", "all wrong"])
def test_text_html_and_json(subject):
    case = ordinary()
    record = {
        "right": right(ordinary),
        "wrong": plant(case, WRONG),
        "unknown": own_mistake(case, "BP4", 1, lambda v: v.at[0, 0].set(jnp.nan)),
        "all wrong": jax.tree.map(lambda v: 1e30 * v * v + 1, right(ordinary)),
    }[subject]
    diagnosis = mbp.check(*case, record)
    assert diagnosis.ok == (subject == "right")
    lines = str(diagnosis).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("Right: " if diagnosis.ok else "Wrong: ")
    assert len([line for line in lines[1:] if line[0] != " "]) == len(diagnosis.findings)

    result = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert (result["format"], result["version"]) == ("manual_bp.diagnosis", 1)
    assert result["ok"] == diagnosis.ok
    assert [f["explanation"] for f in result["findings"]] == [
        f.explanation for f in diagnosis.findings
    ]
    assert result["agreement"]["format"] == "manual_bp.agreement"

    page = diagnosis._repr_html_()
    assert page.count("<li>") == len(diagnosis.findings)
    assert page.count("<table>") == page.count("</table>") == 1


class _Text(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.said = set(), ""

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)

    def handle_data(self, data):
        self.said += data


def test_a_notebook_is_shown_text_not_markup():
    net, params, x, y = ordinary()
    evil = replace(net.sigma[1], name="<script>alert(1)</script> & co")
    net = mbp.Network(net.sizes, (evil, "softmax"), net.cost, net.l2)
    diagnosis = mbp.check(net, params, x, y, plant((net, params, x, y), WRONG))
    finding = replace(diagnosis.findings[0], explanation="a < b & <i>c</i>")
    diagnosis = replace(diagnosis, findings=(finding,), warnings=("1 < 2",))
    page = _Text()
    page.feed(diagnosis._repr_html_())
    assert "script" not in page.tags
    assert "i" not in page.tags
    for said in ("<script>alert(1)</script> & co", "a < b & <i>c</i>", "Warning: 1 < 2"):
        assert said in page.said


def test_raise_if_wrong():
    mbp.check(*ordinary(), right(ordinary)).raise_if_wrong()
    diagnosis = mbp.check(*ordinary(), plant(ordinary(), WRONG))
    with pytest.raises(AssertionError) as caught:
        diagnosis.raise_if_wrong()
    assert str(caught.value) == f"\n{diagnosis}"


# ── Blind tests ──────────────────────────────────────────────────────────────────────────────────


def warnings(net, params, x, y):
    return " ".join(mbp.check(net, params, x, y, mbp.backprop).warnings)


def test_a_case_that_shows_all_warns_of_nothing():
    assert mbp.check(*ordinary(), right(ordinary)).warnings == ()


def test_what_a_batch_cannot_show_is_planted_in_it_and_changes_nothing():
    net, params, x, y = ordinary()
    zero = tuple(mbp.Layer(W, 0 * b) for W, b in params)
    (said,) = [w for w in mbp.check(net, zero, x, y, mbp.backprop).warnings if "no number" in w]
    named = set(said.rstrip(".").partition(": ")[2].split(", "))
    assert named >= {"bias_omitted", "bias_twice"}
    right = backprop_with(net, zero, x, y, {})
    for name in named:
        for place in places_for(net, CATALOGUE[name]):
            try:
                wrong = backprop_with(net, zero, x, y, {place: CATALOGUE[name]})
            except ValueError:  # it has no room there
                continue
            for one, other in zip(jax.tree.leaves(wrong), jax.tree.leaves(right), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_dead_units():
    net = mbp.Network((3, 5, 2), ("relu", "identity"), "quadratic")
    params, x, y = random_case(net, 7, 0, "float32")
    dead = mbp.Layer(params[0].W, jnp.array([100.0, -100, -100, 100, 100]))
    said = warnings(net, (dead, params[1]), x, y)
    assert "2 of 5 units of layer 1 are dead (σ′ = 0 on every example)" in said


def test_saturated_units():
    net, params, x, y = ordinary()
    saturated = mbp.Layer(params[0].W, params[0].b.at[1].set(12))
    assert "1 of 5 units of layer 1 are saturated" in warnings(net, (saturated, params[1]), x, y)


def test_square_layers_and_a_batch_as_wide():
    said = " ".join(mbp.check(*square(), mbp.backprop).warnings)
    assert "layer 1, 2, 3 is square: a transposed W" in said
    assert "as many examples as a layer has neurons, 4" in said


def test_zero_biases():
    net, params, x, y = ordinary()
    zero = mbp.Layer(params[1].W, 0 * params[1].b)
    assert "the biases of layer 2 are zero" in warnings(net, (params[0], zero), x, y)


def test_one_example():
    net, params, x, y = ordinary()
    for one in ((x[:1], y[:1]), (x[0], y[0])):
        said = warnings(net, params, *one)
        assert "there is one example." in said
        assert "change no number: sum_for_mean, mean_twice" in said


def test_every_mistake_that_a_warning_names_is_in_the_catalogue():
    net, params, x, y = ordinary()
    zero = tuple(mbp.Layer(W, 0 * b) for W, b in params)
    said = re.split(r"[\s,.:]+", warnings(net, zero, x[:1], y[:1]))
    named = {word for word in said if "_" in word}
    assert len(named) >= 8
    assert named <= CATALOGUE.keys()


def test_a_warning_is_in_the_text_and_does_not_make_it_wrong():
    diagnosis = mbp.check(*square(), mbp.backprop)
    assert diagnosis.ok
    assert str(diagnosis).count("Warning: ") == len(diagnosis.warnings) == 2


@pytest.mark.parametrize("shown", ["all", "gradients alone"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 4), (4,), (5, 3, 4)])
def test_a_gradient_of_a_shape_that_nothing_gives_is_told_by_its_shape(shape, shown):
    net = mbp.Network((3, 4, 2), ("tanh", "softmax"), "cross_entropy")
    params = net.init(jax.random.key(0))
    x, y = jax.random.normal(jax.random.key(1), (5, 3)), jnp.eye(2)[jnp.arange(5) % 2]
    right = mbp.backprop(net, params, x, y)
    mine = right._replace(dW=(jnp.ones(shape), right.dW[1]))
    if shown == "gradients alone":
        mine = mbp.Backprop(dW=mine.dW, db=mine.db)
    (finding,) = mbp.check(net, params, x, y, mine).findings
    assert (finding.equation, finding.layer, finding.mistake) == ("BP4", 1, None)
    assert f"expected shape (4, 3), got {shape}" in finding.explanation
