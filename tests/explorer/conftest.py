"""A browser, and pages that the tests share."""

import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

import manual_bp as mbp

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture(scope="session")
def case():
    """A network of two inputs and two hidden layers, and seven examples of three classes."""
    net = mbp.Network((2, 4, 5, 3), ("tanh", "sigmoid", "softmax"), "cross_entropy", l2=1e-2)
    x = jax.random.normal(jax.random.key(1), (7, 2))
    y = jax.nn.one_hot(jnp.arange(7) % 3, 3)
    params = net.init(jax.random.key(0))
    params = tuple(mbp.Layer(W, 0.1 + jnp.arange(len(b)) / 10) for W, b in params)
    return SimpleNamespace(net=net, params=params, x=x, y=y)


@pytest.fixture(scope="session")
def steps(case):
    """Three steps of training."""
    found, params = [], case.params
    for number in (1, 2, 3):
        C, gradients = mbp.value_and_grad(case.net)(params, case.x, case.y)
        after = mbp.update(params, gradients, 0.5)
        settings = {"number": number, "cost": float(C), "accuracy": 0.5}
        settings |= {"learning_rate": 0.5, "after": after}
        found.append(mbp.explorer.Step(params, case.x, case.y, **settings))
        params = after
    return found


@pytest.fixture(scope="session")
def mistaken(case):
    """What check finds of BP2 without σ′ at layer 2."""

    def mine(net, params, x, y):
        right = mbp.backprop(net, params, x, y)
        delta = right.delta[2] @ params[2].W
        below = (delta @ params[1].W) * (1 - right.a[1] ** 2)
        dW = (below.T @ x + net.l2 * params[0].W, delta.T @ right.a[1] + net.l2 * params[1].W)
        return right._replace(
            delta=(below, delta, right.delta[2]),
            dW=(*dW, right.dW[2]),
            db=(below.sum(0), delta.sum(0), right.db[2]),
        )

    return mbp.check(case.net, case.params, case.x, case.y, mine)


@pytest.fixture(scope="session")
def pages(case, steps, mistaken, tmp_path_factory):
    """The page of the training, and that of the mistake."""
    folder = tmp_path_factory.mktemp("pages")
    mbp.explorer.write(folder / "training.html", case.net, steps)
    mistaken.page(folder / "mistake.html")
    return folder


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, pages):
    """A function that opens a page by its name; it must say nothing on the console."""
    said = []

    def open_page(name, width=1280, scheme="light", path=None):
        size = {"width": width, "height": 900}
        page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(error.message))
        page.on("request", lambda request: said.append(request.url) if "file:" not in request.url
                and "data:" not in request.url else None)  # fmt: skip
        page.goto((path or pages / f"{name}.html").as_uri())
        return page

    yield open_page
    for context in browser.contexts:
        context.close()
    assert said == []
