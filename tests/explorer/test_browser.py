"""The page in a real browser: by mouse, by keyboard, at both widths, light and dark."""

import jax
import pytest

import manual_bp as mbp

MOMENTS = [
    *("z1", "a1", "z2", "a2", "z3", "a3", "cost", "delta3", "dW3", "db3"),
    *("delta2", "dW2", "db2", "delta1", "dW1", "db1"),
    *("W1after", "b1after", "W2after", "b2after", "W3after", "b3after"),
]
NOW = "moment().output"
# Every cell of the result: [where, what its terms come to, what is there, autodiff's, by the rest].
SUMS = """() => moments.flatMap((here) => {
  const M = matrix(step(), here.output), found = [];
  for (let i = 0; i < M.rows; i++) for (let j = 0; j < M.columns; j++) {
    const made = madeOf(step(), here, i, j);
    if (!made.terms.length) continue;
    const { total, hidden } = addedUp(step(), made, truthAt(M, i, j));
    found.push([`${here.output} ${i} ${j}`, total, at(M, i, j), truthAt(M, i, j), hidden]);
  }
  return found;
})"""


def test_every_step_is_reached_by_keyboard(opened):
    page = opened("training")
    seen = []
    for _ in MOMENTS:
        seen.append(page.evaluate(NOW))
        lit = page.locator("#six [aria-current=step]")
        assert lit.count() == 1
        assert lit.get_attribute("data-step") == str(page.evaluate("moment().step"))
        page.keyboard.press("ArrowRight")
    assert seen == MOMENTS
    page.keyboard.press("ArrowRight")  # there is nothing after the last one
    for name in reversed(MOMENTS[:-1]):
        page.keyboard.press("ArrowLeft")
        assert page.evaluate(NOW) == name


@pytest.mark.parametrize("name", ["training", "mistake"])
def test_a_cells_terms_add_up_to_its_value(opened, name):
    page = opened(name)
    sums = page.evaluate(SUMS)
    assert {where.split()[0] for where, *_ in sums} >= {"z1", "delta3", "delta2", "dW1", "db1"}
    for where, total, value, truth, hidden in sums:
        assert hidden == 0
        assert total == pytest.approx(truth, rel=1e-4, abs=1e-7), where
        if name == "training":
            assert total == pytest.approx(value, rel=1e-4, abs=1e-7), where


@pytest.mark.parametrize(
    ("output", "cost", "l2", "x_shape"),
    [
        ("identity", "quadratic", 0.0, (5, 3)),
        ("softmax", "quadratic", 0.1, (5, 3)),
        ("sigmoid", "binary_cross_entropy", 0.0, (3,)),
    ],
)
def test_the_terms_of_other_outputs_add_up(opened, tmp_path, output, cost, l2, x_shape):
    """∇ₐC ⊙ σ′, softmax's whole Jacobian, and one example without its axis; of a single layer."""
    net = mbp.Network((3, 2), (output,), cost, l2=l2, l2_biases=bool(l2))
    x = jax.random.normal(jax.random.key(0), x_shape)
    y = jax.nn.one_hot(jax.numpy.zeros(x_shape[:-1], int), 2)
    params = net.init(jax.random.key(1))
    mbp.explorer.write(tmp_path / "page.html", net, [mbp.explorer.Step(params, x, y)])
    sums = opened("", path=tmp_path / "page.html").evaluate(SUMS)
    assert {where.split()[0] for where, *_ in sums} == {"z1", "delta1", "dW1", "db1"}
    for where, total, value, *_ in sums:
        assert total == pytest.approx(value, rel=1e-4, abs=1e-7), where


def test_what_is_not_shown_stands_in_the_sum(opened, tmp_path):
    net = mbp.Network((90, 40, 3), ("relu", "softmax"), "cross_entropy")
    x = jax.random.normal(jax.random.key(0), (30, 90))
    y = jax.nn.one_hot(jax.numpy.arange(30) % 3, 3)
    step = mbp.explorer.Step(net.init(jax.random.key(1)), x, y)
    mbp.explorer.write(tmp_path / "page.html", net, [step])
    page = opened("", path=tmp_path / "page.html")
    assert "more terms, not shown" in page.locator("#sum").inner_text()
    assert "12 of 90 neurons shown" in " ".join(page.locator("#grids p").all_inner_texts())
    assert page.locator("#left-out").inner_text() == ("12 of the batch's 30 examples are shown.")


def test_touching_a_cell_lights_what_it_came_from(opened):
    page = opened("training")
    page.locator("#moments button", has_text="δ²").click()
    page.locator("#grids [data-at='delta2 4 3']").click()
    lit = page.locator("#grids td.from").evaluate_all("cells => cells.map((c) => c.dataset.at)")
    assert sorted(lit) == sorted(
        f"{name} {i} {j}" for k in range(3) for name, i, j in (("delta3", 4, k), ("W3", k, 3))
    )
    assert page.locator("#grids td.with").get_attribute("data-at") == "prime2 4 3"
    assert page.locator("#network g.here").get_attribute("data-neuron") == "2 3"
    assert page.locator("#examples [aria-pressed=true]").get_attribute("data-example") == "4"
    terms = page.locator("#sum .terms tr")
    assert terms.count() == 3 + 3  # three terms, their sum, the Hadamard factor, the value
    page.locator("#network [data-neuron='2 1']").click()  # and the other way round
    assert page.evaluate("chosen.cell") == ["delta2", 4, 1]


def test_a_matrix_and_the_neurons_by_keyboard(opened):
    page = opened("training")
    page.locator("#grids .result [tabindex='0'][data-at]").focus()
    start = page.evaluate("chosen.cell")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("chosen.cell") == [start[0], start[1], 1]
    assert page.evaluate("document.activeElement.dataset.at") == f"z1 {start[1]} 1"
    page.locator("#network [tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.evaluate("chosen.cell[2]") == 2
    assert page.evaluate("document.activeElement.dataset.neuron") == "1 2"


def test_the_slider_goes_through_the_training(opened):
    page = opened("training")
    before = page.locator("#measured").inner_text()
    page.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#measured").inner_text() != before
    assert page.locator("#measured").inner_text().startswith("2 · cost ")
    assert page.evaluate(NOW) == "z1"


def test_a_mistake_is_where_the_page_opens(opened):
    page = opened("mistake")
    assert page.evaluate(NOW) == "delta2"
    assert "BP2 at layer 2" in page.locator("#findings").inner_text()
    wrong = page.locator("#grids td.wrong").evaluate_all("cells => cells.map((c) => c.dataset.at)")
    assert len(wrong) == 7 * 5
    assert {where.split()[0] for where in wrong} == {"delta2"}
    assert "what should be here" in page.locator("#sum .total").inner_text()
    assert "times what rounding allows: wrong" in page.locator("#sum").inner_text()
    assert page.locator("#moments .wrong").all_inner_texts() == ["δ²"]
    assert page.locator("#verdicts .disagrees").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["training", "mistake"])
def test_names_and_contrast(opened, tmp_path, name, width, scheme):
    """By axe; and nothing is wider than the window. The picture is kept beside the page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe")
    page = opened(name, width, scheme)
    page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_name_is_never_read_as_html(opened, tmp_path, case):
    evil = "</script><img src=x onerror=console.log(1)>"
    net = mbp.Network(
        (2, 2), (mbp.Activation(evil, lambda z: z, lambda z: 1 + 0 * z),), "quadratic"
    )
    params, x = net.init(jax.random.key(0)), case.x
    step = mbp.explorer.Step(params, x, case.y[:, :2])
    path = tmp_path / "page.html"
    mbp.explorer.write(path, net, [step], title=evil)
    page = opened("", path=path)
    assert page.locator("h1").inner_text() == evil
    assert page.locator("img").count() == 0
    page.keyboard.press("ArrowRight")
    assert evil in page.locator("#now").inner_text()


def test_the_terms_are_those_that_the_truth_has(opened, tmp_path, case):
    """Where a does not follow from z, δ is right with the σ′ of either of them."""
    right = mbp.backprop(case.net, case.params, case.x, case.y)
    wrong = right._replace(z=(1.1 * right.z[0], *right.z[1:]))
    diagnosis = mbp.check(case.net, case.params, case.x, case.y, wrong)
    diagnosis.page(tmp_path / "page.html")
    for where, total, _, truth, _ in opened("", path=tmp_path / "page.html").evaluate(SUMS):
        assert total == pytest.approx(truth, rel=1e-4, abs=1e-7), where
