"""`manual-bp explore`: a page of a real run."""

import pytest

from running import call, interrupt, started


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Six examples of two inputs, as a CSV file with names that no page may read as HTML."""
    path = tmp_path_factory.mktemp("data") / "points.csv"
    rows = [f"{i},{i * i % 5},{'</script>' if i % 2 else 'b'}" for i in range(6)]
    path.write_text("\n".join(["x,y,<b>", *rows]))
    return path


def test_a_page_of_digits(tmp_path):
    code, out, err = call("explore", "--out", tmp_path / "page.html", "--steps", 20, "--show", 3)
    assert (code, err) == (0, "")
    assert out.startswith("64-12-10 tanh/softmax/cross_entropy on 1,797 examples of digits")
    assert (tmp_path / "page.html").stat().st_size < 500_000
    assert "open it in a browser" in out


def test_a_table_of_one_layer_and_a_batch_of_one(small, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("an older one")
    settings = ("--data", small, "--sizes", "2-2", "--batch", 1, "--steps", 2, "--quiet")
    assert call("explore", "--out", page, *settings) == (0, "", "")
    text = page.read_text("utf-8")
    assert text.count("</script>") == 2  # the page's own
    assert '"regions"' in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "."), "--out: expected the name of a file, got the folder ."),
        (("--out", "no/where.html"), "--out: expected a folder to write to"),
        ((), "--out"),
        (("--out", "p.html", "--sizes", "3-2"), "--sizes: digits has 64 inputs"),
        (("--out", "p.html", "--data", "none.csv"), "none.csv"),
        (("--out", "p.html", "--setps", "3"), "--setps"),
        (("--out", "p.html", "--show", "0"), "expected a whole number from 1"),
        (("--out", "p.html", "--learning-rate", "1e30", "--activation", "relu"), "--learning-rate"),
    ],
)
def test_what_is_refused(arguments, message, tmp_path):
    code, _, err = call("explore", *arguments, "--steps", 5, folder=tmp_path)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_no_half_of_a_page(tmp_path):
    settings = ("--out", tmp_path / "page.html", "--steps", 10**6)
    with started("explore.py", *settings) as process:
        assert "steps of 8" in process.stdout.readline()
        assert interrupt(process) == "\nmanual-bp explore: interrupted\n"
        assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []
