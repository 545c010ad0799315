"""What stands in the page: the record's own numbers, and nothing that it cannot show."""

import base64
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manual_bp as mbp
from manual_bp.explorer import Step, write
from manual_bp.explorer.content import packed
from manual_bp.explorer.sample import Sample
from manual_bp.record import Place, places
from manual_bp.text import symbol
from manual_bp.verdicts.rows import Row, Worst
from running import call

BP4 = Place("BP4", "dW", 1)
SOURCE = Path(mbp.__file__).parent


def numbers(path):
    """What the page reads."""
    (text,) = re.findall(
        r'<script type="application/json" id="numbers">(.*?)</script>', path.read_text("utf-8")
    )
    return json.loads(text)


def unpacked(text):
    return np.frombuffer(base64.b64decode(text[1:]), {"4": "<f4", "8": "<f8"}[text[0]])


def test_the_arrays_are_those_of_the_record(case, pages):
    content = numbers(pages / "training.html")
    assert [step["number"] for step in content["steps"]] == [1, 2, 3]
    right = mbp.backprop(case.net, case.params, case.x, case.y)
    arrays = content["steps"][0]["arrays"]
    for place in places(case.net):
        got = unpacked(arrays[place.name]["value"])
        np.testing.assert_array_equal(got, np.ravel(right.at(place)), err_msg=place.name)
        off = np.abs(unpacked(arrays[place.name]["difference"]))
        assert (off <= unpacked(arrays[place.name]["bound"])).all()
    np.testing.assert_array_equal(unpacked(arrays["W2"]["value"]), np.ravel(case.params[1].W))


def test_the_wrong_values_are_outside_their_bounds(mistaken, pages):
    content = numbers(pages / "mistake.html")
    arrays = content["steps"][0]["arrays"]
    wrong = {
        name
        for name, one in arrays.items()
        if "bound" in one and (np.abs(unpacked(one["difference"])) > unpacked(one["bound"])).any()
    }
    assert wrong == {"delta2"}
    (finding,) = content["steps"][0]["findings"]
    assert finding == {"place": "delta2", "text": str(mistaken.findings[0])}
    assert [row["verdict"] for row in content["steps"][0]["rows"] if row["name"] == "delta2"] == [
        "disagrees"
    ]


def test_what_is_not_given_is_said(case, tmp_path):
    right = mbp.backprop(case.net, case.params, case.x, case.y)
    diagnosis = mbp.check(case.net, case.params, case.x, case.y, mbp.Backprop(dW=right.dW))
    diagnosis.page(tmp_path / "page.html")
    arrays = numbers(tmp_path / "page.html")["steps"][0]["arrays"]
    assert {name for name, one in arrays.items() if one.get("given") is False} == {
        place.name for place in places(case.net) if place.quantity != "dW"
    }
    got = unpacked(arrays["z1"]["value"])
    np.testing.assert_allclose(got, np.ravel(right.z[0]), rtol=1e-5)  # autodiff's in its place


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity(case, bad, tmp_path):
    right = mbp.backprop(case.net, case.params, case.x, case.y)
    wrong = right._replace(db=(right.db[0].at[1].set(bad), *right.db[1:]))
    mbp.check(case.net, case.params, case.x, case.y, wrong).page(tmp_path / "page.html")
    content = numbers(tmp_path / "page.html")
    got = unpacked(content["steps"][0]["arrays"]["db1"]["value"])
    np.testing.assert_array_equal(got[1], bad)


def test_an_array_of_another_shape(case, tmp_path):
    """It has no place among the cells; its row says why."""
    right = mbp.backprop(case.net, case.params, case.x, case.y)
    wrong = right._replace(db=(right.db[0][:2], *right.db[1:]))
    mbp.check(case.net, case.params, case.x, case.y, wrong).page(tmp_path / "page.html")
    (row,) = [
        row for row in numbers(tmp_path / "page.html")["steps"][0]["rows"] if row["name"] == "db1"
    ]
    assert (row["verdict"], row["ratio"]) == ("disagrees", "Infinity")
    assert "expected shape (4,), got (2,)" in row["note"]


def test_numbers_that_four_bytes_cannot_hold():
    for array in ([1e-60, 1.0], [1e200], [-1e-40]):
        assert packed(np.array(array))[0] == "8"
        np.testing.assert_array_equal(unpacked(packed(np.array(array))), array)
    for array in ([0.0, 1.5], [np.nan, np.inf]):
        assert packed(np.array(array))[0] == "4"
        np.testing.assert_array_equal(unpacked(packed(np.array(array))), array)


def test_a_sample_has_the_worst_neurons_in_it():
    net = mbp.Network((500, 100, 3), ("relu", "softmax"), "cross_entropy")
    worst = Worst((77, 333), 1.0, 0.0)
    row = Row(**BP4._asdict(), shape=(100, 500), verdict="disagrees", worst=worst)
    sample = Sample.of(net, 40, [row])
    assert [len(neurons) for neurons in sample.neurons] == [13, 13, 3]
    assert 333 in sample.neurons[0]
    assert 77 in sample.neurons[1]
    assert len(sample.examples) == 12


def test_a_large_network_makes_a_small_page(tmp_path):
    net = mbp.Network((784, 256, 256, 10), ("relu", "relu", "softmax"), "cross_entropy")
    x = jax.random.uniform(jax.random.key(0), (64, 784))
    y = jax.nn.one_hot(jnp.arange(64) % 10, 10)
    step = Step(net.init(jax.random.key(1)), x, y)
    write(tmp_path / "page.html", net, [step], picture=(28, 28))
    assert (tmp_path / "page.html").stat().st_size < 300_000
    shown = numbers(tmp_path / "page.html")["steps"][0]["examples"]
    assert (len(shown["shown"]), shown["of"], len(shown["pictures"])) == (12, 64, 12)


def test_a_page_that_needs_nothing_else(pages):
    text = (pages / "training.html").read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("extra", ["</script>", "<!--", "$title", "&amp;", "\u2028"])
def test_names_stay_names(extra, case, steps, tmp_path):
    write(tmp_path / "page.html", case.net, steps[:1], title=extra, names=("a", extra, "c"))
    content = numbers(tmp_path / "page.html")
    assert content["title"] == extra
    assert extra in content["steps"][0]["examples"]["target"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda steps: ([],), "steps: expected at least one, got none"),
        (lambda steps: ([1],), "steps: expected a list of explorer.Step"),
        (lambda steps: (steps[0],), "steps: expected a list of explorer.Step"),
        (
            lambda steps: ([steps[0], steps[0]._replace(x=steps[0].x[:3], y=steps[0].y[:3])],),
            "steps: expected batches of one size, got [3, 7] examples",
        ),
        (lambda steps: ([steps[0]._replace(x=steps[0].x[:, :1])],), "x: expected"),
    ],
)
def test_what_cannot_be_shown_is_refused(case, steps, tmp_path, arguments, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        write(tmp_path / "page.html", case.net, *arguments(steps))
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("picture", [(2, 2), (8,), "8x8", 3])
def test_a_picture_of_another_size(case, steps, tmp_path, picture):
    with pytest.raises((ValueError, TypeError), match="picture: expected"):
        write(tmp_path / "page.html", case.net, steps, picture=picture)


def test_only_the_command_line_imports_it():
    """And what says so: the package itself, and `Diagnosis.page`, when it is called."""
    importing = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"^ *(from|import) manual_bp\.explorer", path.read_text("utf-8"), re.M)
    }
    assert {path for path in importing if not path.startswith("explorer/")} == {
        "diagnosis/check.py"
    }


def test_check_writes_a_page(tmp_path):
    folder, page = tmp_path / "case", tmp_path / "report.html"
    assert call("golden", "--out", folder, "--sizes", "3-4-2", "--quiet")[0] == 0
    vectors = np.load(folder / "golden.npz")
    mine = {
        name: array for name, array in vectors.items() if re.fullmatch(r"(dW|db|delta)\d", name)
    }
    mine["db1"] = mine["db1"] * 2
    np.savez(tmp_path / "mine.npz", **mine)
    code, out, err = call("check", folder, tmp_path / "mine.npz", "--page", page)
    assert (code, err) == (1, "")
    assert numbers(page)["steps"][0]["findings"][0]["place"] == "db1"
    assert symbol("db", 1) in out


@pytest.mark.parametrize("examples", ["rows", "columns"])
def test_another_layout_is_shown_in_ours_and_it_is_said(case, tmp_path, examples):
    right, turn = mbp.backprop(case.net, case.params, case.x, case.y), examples == "columns"
    given = mbp.Backprop(delta=tuple(delta.T if turn else delta for delta in right.delta))
    how = {"convention": mbp.Convention(examples=examples)}
    mbp.check(case.net, case.params, case.x, case.y, given, **how).page(tmp_path / "page.html")
    (step,) = numbers(tmp_path / "page.html")["steps"]
    got = unpacked(step["arrays"]["delta1"]["value"])
    np.testing.assert_array_equal(got, np.ravel(right.delta[0]))
    assert any("your own layout" in note for note in step["notes"]) == turn
