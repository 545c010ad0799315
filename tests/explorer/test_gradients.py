"""The page of any function's gradients."""

import re

import jax
import jax.numpy as jnp
import pytest

import manual_bp as mbp

X = jax.random.normal(jax.random.key(0), (30, 2, 3))


def cubed(x):
    return x**3


def diagnosis(change):
    return mbp.check_vjp(cubed, lambda args, g: (change(3 * g * args[0] ** 2),), X)


@pytest.fixture
def page(tmp_path):
    def of(found):
        found.page(tmp_path / "page.html")
        return (tmp_path / "page.html").read_text("utf-8")

    return of


def test_the_wrong_values_are_marked_and_the_finding_is_told(page):
    found = diagnosis(lambda dx: dx.at[4, 1, 2].multiply(-1))
    text = page(found)
    assert str(found.findings[0].explanation.split("(")[0]) in text
    assert len(re.findall(r'<td class="\w+ wrong"', text)) == 2  # yours, and the difference
    assert "30 × 2 × 3, its worst rows and columns shown" in text
    assert '<th scope="row">9</th>' in text  # row (4, 1) of 60


def test_of_what_is_right_nothing_is_marked(page):
    text = page(diagnosis(lambda dx: dx))
    assert not re.findall(r'<td class="\w+ wrong', text)
    assert 'aria-labelledby="findings-title" hidden' in text


def test_no_text_of_the_subject_becomes_html(page):
    def evil(args, g):
        return (g,)

    evil.__name__ = "<script>alert(1)</script>"
    text = page(mbp.check_vjp(cubed, evil, X))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_nan_is_marked_as_such(page):
    text = page(diagnosis(lambda dx: dx.at[0, 0, 0].set(jnp.nan)))
    assert re.search(r'class="\w+ wrong nonfinite"', text)
