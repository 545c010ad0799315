"""Backward passes that people published, right and wrong, made again small, with the truth of each.

Mathematics, layout and source are those of the program; sizes, numbers and code are ours. NumPy
alone computes them: nothing of the library is in it.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Truth = list[tuple[str, int, set[str]]]
"""What is wrong: (equation, layer, the names that are right for it); nothing where all is right."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program, and what is true of it.

    Attributes:
        name: short and unique.
        source: where it was published.
        story: what it does, and what is wrong with it.
        net: the arguments of `Network`.
        W, b: (n_l, n_{l-1}) and (n_l,) of each layer; b None for no biases.
        x, y: examples are rows.
        arrays: what the program computes, by quantity, as it lays that out.
        convention: the arguments of `Convention` in which it is laid out.
        truth: what is wrong with all of it.
        gradients: what is wrong where dW and db are all that is shown; None: not shown so.
        after, eta: the parameters after a step, and its rate, where that is what is shown.
        step: what is wrong as seen from the step.
        function: of (W, b, x, y), which may change them.
        changes: the symbols of what it changes.
    """

    name: str
    source: str
    story: str
    net: dict[str, Any]
    W: list[Any]
    b: list[Any] | None
    x: Any
    y: Any
    arrays: dict[str, Any] = field(default_factory=dict)
    convention: dict[str, Any] = field(default_factory=dict)
    truth: Truth | None = None
    gradients: Truth | None = None
    after: tuple[list[Any], list[Any] | None] | None = None
    eta: float = 1.0
    step: Truth | None = None
    function: Callable[..., dict[str, Any]] | None = None
    changes: tuple[str, ...] = ()


def data(W, b, x, y):
    """What a program is given, as arguments of `Program`."""
    return {"W": W, "b": b, "x": x, "y": y}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z, axis=1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def numbers(seed, sizes, m, biases=True, classes=False):
    """W, b, x and y."""
    rng = np.random.default_rng(seed)
    W = [rng.normal(size=(n, k)) / k**0.5 for k, n in itertools.pairwise(sizes)]
    b = [0.3 * rng.normal(size=n) for n in sizes[1:]] if biases else None
    x, y = rng.normal(size=(m, sizes[0])), rng.uniform(0.1, 0.9, size=(m, sizes[-1]))
    if classes:
        y = np.eye(sizes[-1])[rng.permutation(np.arange(m) % sizes[-1])]
    return W, b, x, y


# σ, and σ′ of z and a.
SIGMA = {
    "sigmoid": (sigmoid, lambda z, a: a * (1 - a)),
    "tanh": (np.tanh, lambda z, a: 1 - a**2),
    "relu": (lambda z: np.maximum(z, 0), lambda z, a: (z > 0) * 1.0),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(z)), lambda z, a: np.where(z > 0, 1, a + 1)),
    "identity": (lambda z: z, lambda z, a: np.ones_like(z)),
    "softmax": (softmax, None),
}


def go_back(sigmas, W, b, x, y, *, first, prime=None, sent="delta", early=0.0, outputs=None):
    """Rows, and sums over the examples, with the part that a person got wrong put in.

    `first` gives δ of the output from (a, y); `prime` is σ′ of hidden layers where it is another;
    `sent` is what goes back through W, δ or the error before its σ′; `early` is the rate of an
    update of W that comes before that; `outputs` is the output's σ where it is another.
    """
    z, a = [], [x]
    for l, sigma in enumerate(sigmas):
        z.append(a[-1] @ W[l].T + (0 if b is None else b[l]))
        own = outputs if outputs and l == len(sigmas) - 1 else SIGMA[sigma][0]
        a.append(own(z[-1]))
    delta = [first(a[-1], y)]
    error = a[-1] - y
    for l in range(len(W) - 1, 0, -1):
        through = W[l] - early * delta[0].T @ a[l]
        back = (delta[0] if sent == "delta" else error) @ through
        own = prime or SIGMA[sigmas[l - 1]][1]
        delta.insert(0, back * own(z[l - 1], a[l]))
        error = back
    dW = [d.T @ before for d, before in zip(delta, a, strict=False)]
    return {"z": z, "a": a, "delta": delta, "dW": dW, "db": [d.sum(axis=0) for d in delta]}


def columns(arrays):
    """z, a and δ with an example a column."""
    return arrays | {q: [v.T for v in arrays[q]] for q in ("z", "a", "delta") if q in arrays}


def in_out(arrays):
    return arrays | {"dW": [dW.T for dW in arrays["dW"]]}


def times(arrays, k, *quantities):
    return arrays | {q: [k * v for v in arrays[q]] for q in quantities}


def without(arrays, *quantities):
    return {q: v for q, v in arrays.items() if q not in quantities}


def difference(a, y):
    return a - y


def half_squares(a, y):
    return (a - y) * a * (1 - a)


def at(equation, layers, *names):
    return [(equation, l, set(names)) for l in ([layers] if isinstance(layers, int) else layers)]


QUADRATIC = {"activations": ("sigmoid", "sigmoid"), "cost": "quadratic"}
EARLY = at("BP2", 1, "weights_updated_first")


# ── W is updated before the error goes back through it ───────────────────────────────────────────


def data_science_from_scratch():
    W, b, x, y = numbers(31, (6, 5, 4), 1)
    net = {"sizes": (6, 5, 4), **QUADRATIC}
    source = "GitHub joelgrus/data-science-from-scratch, issue 31"
    for name, early in (("early", 1.0), ("repaired", 0.0)):
        made = go_back(QUADRATIC["activations"], W, b, x, y, first=half_squares, early=early)
        folded = [
            np.column_stack([W_l, b_l]) for W_l, b_l in zip(made["dW"], made["db"], strict=True)
        ]
        truth = EARLY if early else []
        story = "The output's weights are changed, at rate 1, before the hidden δ is made."
        story = story if early else "Right: every δ is made before a weight is changed."
        common = {"source": source, "story": story, "net": net, "W": W, "b": b, "x": x, "y": y}
        yield Program(
            name=f"dsfs {name}, bias in the last column",
            arrays={"dW": folded},
            convention={"bias": "last"},
            gradients=truth,
            **common,
        )
        after = [w - g for w, g in zip(W, made["dW"], strict=True)]
        yield Program(
            name=f"dsfs {name}",
            arrays=without(made, "z", "dW", "db"),
            truth=truth,
            after=(after, [c - g for c, g in zip(b, made["db"], strict=True)]),
            step=truth,
            **common,
        )


def shallow_copy():
    W, b, x, y = numbers(22, (8, 5, 3), 6, classes=True)
    made = in_out(go_back(("sigmoid",) * 2, W, b, x, y, first=difference, early=0.1))
    made["db"] = [d.sum() for d in made["delta"]]  # one number for all neurons
    after = [w - 0.1 * g.T for w, g in zip(W, made["dW"], strict=True)]
    spread = [c - 0.1 * s for c, s in zip(b, made["db"], strict=True)]
    number = at("BP3", (2, 1), "summed_over_neurons")
    output = at("BP1", 2, "no_output_derivative")
    for cost, more in (("quadratic", output), ("binary_cross_entropy", [])):
        yield Program(
            name=f"shallow copy, {cost}",
            source="GitHub Bot-Academy/NeuralNetworkFromScratch, pull request 3",
            story="A list of dicts is copied without its dicts, so W² is updated too early; ∂C/∂b "
            "is the sum of all of δ. As a squared error, it lacks σ′ of the output too.",
            net={"sizes": (8, 5, 3), "activations": ("sigmoid",) * 2, "cost": cost},
            **data(W, b, x, y),
            arrays=without(made, "z"),
            convention={"weights": "in_out", "reduction": "sum"},
            truth=[*more, *EARLY, *number],
            gradients=[*more, *EARLY, *number],
            after=(after, spread) if not more else None,
            eta=0.1,
            step=[*EARLY, *number],
        )


# ── The error goes back without σ′ of the layer that it comes from ───────────────────────────────


def raw_error():
    W, _, x, y = numbers(2, (6, 5, 4, 3), 1, biases=False)
    net = {"sizes": (6, 5, 4, 3), "activations": ("sigmoid",) * 3, "cost": "quadratic"}
    for name, sent in (("asked", "error"), ("answered", "delta")):
        made = go_back(net["activations"], W, None, x, y, first=half_squares, sent=sent)
        wrong = at("BP2", (2, 1), "error_sent_back") if sent == "error" else []
        yield Program(
            name=f"raw error, {name}",
            source="Stack Overflow, question 53287032",
            story="Columns, one example, no biases. Asked: each error is Wᵀ times the next error, "
            "and σ′ comes in only where ∂C/∂W is made. Answered: right.",
            net=net,
            **data(W, None, x, y),
            arrays=columns(without(made, "z", "db")),
            convention={"examples": "columns"},
            truth=wrong,
            gradients=wrong,
        )


def best_known_book():
    W, _, x, y = numbers(3, (4, 6, 3), 5, biases=False)
    made = go_back(("sigmoid",) * 2, W, None, x, y, first=half_squares, sent="error")
    yield Program(
        name="target minus output",
        source="GitHub makeyourownneuralnetwork/makeyourownneuralnetwork, part 2",
        story="Columns, no biases, target − output with +=. The hidden error is "
        "W²ᵀ(target − output), without σ′ of the output.",
        net={"sizes": (4, 6, 3), **QUADRATIC},
        **data(W, None, x, y),
        arrays=columns(times(without(made, "z", "db"), -1, "delta", "dW")),
        convention={"examples": "columns", "reduction": "sum", "sign": "ascent"},
        truth=at("BP2", 1, "error_sent_back"),
        gradients=at("BP2", 1, "error_sent_back"),
    )
    yield Program(
        name="target minus output, a step",
        source="GitHub makeyourownneuralnetwork/makeyourownneuralnetwork, part 2",
        story="The weights before and after a step at rate 0.1.",
        net={"sizes": (4, 6, 3), **QUADRATIC},
        **data(W, None, x, y),
        convention={"reduction": "sum"},
        after=([w - 0.1 * g for w, g in zip(W, made["dW"], strict=True)], None),
        eta=0.1,
        step=at("BP2", 1, "error_sent_back"),
    )


def plain_numbers():
    w, v, b, c, x, t = 0.7, -0.4, 0.3, -0.2, 0.11, 1.0
    h = sigmoid(w * x + b)
    o = sigmoid(v * h + c)
    slope = 2 * (o - t)
    d2, d1 = slope * o * (1 - o), slope * v * h * (1 - h)
    one = lambda value: np.array([[value]])  # noqa: E731
    yield Program(
        name="plain numbers",
        source="Cross Validated, question 464262",
        story="1-1-1, squared error without ½. ∂C/∂W has the weight where the activation should "
        "stand, and the error goes back without σ′ of the output.",
        net={"sizes": (1, 1, 1), **QUADRATIC},
        W=[one(w), one(v)],
        b=[np.array([b]), np.array([c])],
        x=one(x),
        y=one(t),
        arrays={
            "a": [one(x), one(h), one(o)],
            "delta": [one(d1), one(d2)],
            "dW": [one(d1 * w), one(d2 * v)],
            "db": [np.array([d1]), np.array([d2])],
        },
        convention={"scale": 2.0},
        truth=[
            *at("BP4", (2, 1), "weights_for_activation", "factor"),
            *at("BP2", 1, "error_sent_back", "factor"),
        ],
        gradients=[
            *at("BP4", (2, 1), "weights_for_activation", "factor"),
            *at("BP2", 1, "error_sent_back", "factor"),
        ],
    )


# ── ∂C/∂W of the error, softmax, the biases ──────────────────────────────────────────────────────


def exclusive_or():
    W = [np.array([[0.9, 0.3], [0.1, 0.5]]), np.array([[0.8, 0.7]])]
    x, y = np.array([[1.0, 1], [1, 0], [0, 1], [0, 0]]), np.array([[0.0], [1], [1], [0]])
    for name, rows in (("four", slice(None)), ("one", slice(1, 2))):
        made = without(
            go_back(("sigmoid",) * 2, W, None, x[rows], y[rows], first=half_squares), "db"
        )
        made["dW"][1] = (made["a"][2] - y[rows]).T @ made["a"][1]
        wrong = at("BP4", 2, "gradient_from_error", *(["factor"] if name == "one" else []))
        yield Program(
            name=f"exclusive or, {name}",
            source="Stack Overflow, question 59399842",
            story="No biases. σ′ of the output is in ∂C/∂W¹ but missing in ∂C/∂W².",
            net={"sizes": (2, 2, 1), **QUADRATIC},
            W=W,
            b=None,
            x=x[rows],
            y=y[rows],
            arrays=in_out(without(made, "z", "delta")),
            convention={"weights": "in_out", "reduction": "sum"},
            truth=wrong,
            gradients=wrong,
        )


def softmax_and_squares():
    W, _, x, y = numbers(99, (7, 6, 2), 9, biases=False)

    def diagonal(a, y):
        return 2 * (a - y) * a * (1 - a)

    for name, axis in (("classes", 1), ("examples", 0)):
        made = go_back(
            ("relu", "softmax"),
            W,
            None,
            x,
            y,
            first=diagonal,
            outputs=lambda z, k=axis: softmax(z, k),
        )
        wrong = at("BP1", 2, "softmax_diagonal")
        over = at("forward", 2, "softmax_over_examples") if axis == 0 else []
        yield Program(
            name=f"softmax over {name}, with squares",
            source="discuss.pytorch.org, topic 87175",
            story="Softmax with the squared error, no ½, summed. Its Jacobian is taken as its "
            "diagonal, p(1 − p); once softmax is taken over the examples too.",
            net={"sizes": (7, 6, 2), "activations": ("relu", "softmax"), "cost": "quadratic"},
            **data(W, None, x, y),
            arrays=in_out(without(made, "db")) | {"cost": float(((made["a"][2] - y) ** 2).sum())},
            convention={"weights": "in_out", "reduction": "sum", "scale": 2.0},
            truth=[*over, *wrong],
            gradients=wrong if axis else None,
        )


def pythons_sum():
    W, b, x, y = numbers(15, (7, 6, 5), 8, classes=True)
    made = go_back(
        ("relu", "softmax"), W, b, x, y, first=difference, outputs=lambda z: softmax(z, 0)
    )
    wrong = at("forward", 2, "softmax_over_examples")
    yield Program(
        name="softmax by Python's sum",
        source="Stack Overflow, question 76450489",
        story="Python's sum of the rows adds up the examples. The way back is right, 1/m coming in "
        "with the gradients.",
        net={"sizes": (7, 6, 5), "activations": ("relu", "softmax"), "cost": "cross_entropy"},
        **data(W, b, x, y),
        arrays=in_out(times(made, 1 / 8, "dW", "db")),
        convention={"weights": "in_out", "delta": "example"},
        truth=wrong,
        gradients=wrong,
    )


def one_number_for_the_biases():
    W, b, x, y = numbers(5, (2, 3), 8, classes=True)
    for output, cost, names in (
        ("softmax", "cross_entropy", ("summed_over_neurons", "bias_missing")),
        ("sigmoid", "binary_cross_entropy", ("summed_over_neurons",)),
    ):
        made = times(go_back((output,), W, b, x, y, first=difference), 1 / 8, "dW")
        total = made["delta"][0].sum() / 8
        common = {
            "source": "GitHub rasbt/stat453-deep-learning-ss21, issue 5",
            "story": "∂C/∂b is the sum over the examples and the neurons: one number, or that "
            "number in every place.",
            "net": {"sizes": (2, 3), "activations": (output,), "cost": cost},
            "W": W,
            "b": b,
            "x": x,
            "y": y,
        }
        wrong = at("BP3", 1, *names)
        spread = {"a": made["a"], "dW": made["dW"], "db": [np.full(3, total)]}
        yield Program(name=f"one number, spread, {output}", arrays=spread, truth=wrong, **common)
        yield Program(
            name=f"one number, {output}",
            arrays={"dW": [8 * made["dW"][0]], "db": [8 * total]},
            convention={"reduction": "sum"},
            gradients=wrong,
            **common,
        )


def squeezed():
    W, b, x, y = numbers(41, (4, 5, 1), 7)
    y = y.round()
    made = go_back(("tanh", "sigmoid"), W, b, x, y, first=difference)
    made = columns(times(without(made, "z"), 1 / 7, "dW", "db"))
    yield Program(
        name="squeezed",
        source="GitHub Kulbear/deep-learning-coursera, course 1 week 4",
        story="Right: columns, 1/m in the gradients; np.squeeze makes a number of the one output's "
        "∂C/∂b.",
        net={
            "sizes": (4, 5, 1),
            "activations": ("tanh", "sigmoid"),
            "cost": "binary_cross_entropy",
        },
        **data(W, b, x, y),
        arrays=made | {"db": [made["db"][0], np.squeeze(made["db"][1])]},
        convention={"examples": "columns", "delta": "example"},
        truth=[],
    )


def planar():
    W, b, x, y = numbers(71, (2, 4, 1), 7)
    y = y.round()
    made = go_back(("tanh", "sigmoid"), W, b, x, y, first=difference)
    p = made["a"][2]
    cost = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum() / 7
    made = columns(times(made, 1 / 7, "dW", "db"))
    yield Program(
        name="planar",
        source="GitHub Kulbear/deep-learning-coursera, planar data classification",
        story="Right: columns, biases (n, 1), 1/m in the gradients and not in δ.",
        net={
            "sizes": (2, 4, 1),
            "activations": ("tanh", "sigmoid"),
            "cost": "binary_cross_entropy",
        },
        **data(W, b, x, y),
        arrays=made | {"cost": float(cost), "db": [db[:, None] for db in made["db"]]},
        convention={"examples": "columns", "delta": "example"},
        truth=[],
    )


def own_layers_activation():
    """∂C/∂W = δˡ(aˡ)ᵀ, divided by what is taken for the number of examples: W.shape[1]."""
    for name, sizes, m, convention in (
        ("logistic", (1, 1), 4, {"examples": "columns", "reduction": "sum"}),
        ("layers", (3, 3, 1), 5, {"examples": "columns", "delta": "example"}),
    ):
        W, b, x, y = numbers(10, sizes, m)
        y = y.round()
        made = without(go_back(("sigmoid",) * len(W), W, b, x, y, first=difference), "z")
        count = sizes[0]
        made["dW"] = [d.T @ a / count for d, a in zip(made["delta"], made["a"][1:], strict=True)]
        made["db"] = [db / count for db in made["db"]]
        wrong = at("BP4", 1, "activation_of_same_layer")
        if m == 5:
            wrong = [
                *at("BP3", (2, 1), "factor"),
                *at("BP4", (2, 1), "activation_of_same_layer", "factor"),
            ]
        yield Program(
            name=f"own layer's activation, {name}",
            source="Data Science Stack Exchange, question 25394",
            story="Columns. ∂C/∂W takes the activation of its own layer, and is divided by the "
            "number of inputs.",
            net={
                "sizes": sizes,
                "activations": ("sigmoid",) * len(W),
                "cost": "binary_cross_entropy",
            },
            **data(W, b, x, y),
            arrays=columns(made),
            convention=convention,
            truth=wrong,
        )


# ── σ′ of hidden layers ──────────────────────────────────────────────────────────────────────────


def weight_decay():
    W, b, x, y = numbers(6, (4, 6, 3), 9, classes=True)
    decay = 0.05

    def tanh_again(z, a):
        return (np.exp(2 * z) - 1) / (np.exp(2 * z) + 1)

    for name, sign, prime in (
        ("both", -1, tanh_again),
        ("penalty", -1, None),
        ("tanh", 1, tanh_again),
        ("repaired", 1, None),
    ):  # fmt: skip
        made = go_back(("tanh", "softmax"), W, b, x, y, first=difference, prime=prime)
        made = times(made, 1 / 9, "dW", "db")
        made["dW"] = [dW + sign * decay * w for dW, w in zip(made["dW"], W, strict=True)]
        wrong = at("BP4", (2, 1), "penalty_negated") if sign < 0 else []
        wrong = wrong + (at("BP2", 1, "sigma_for_derivative") if prime else [])
        yield Program(
            name=f"weight decay, {name}",
            source="GitHub andersbll/nnet, issue 4",
            story="The penalty is subtracted, and what should be tanh′ is tanh again; each alone, "
            "and repaired.",
            net={
                "sizes": (4, 6, 3),
                "activations": ("tanh", "softmax"),
                "cost": "cross_entropy",
                "l2": decay,
            },
            **data(W, b, x, y),
            arrays=in_out(made),
            convention={"weights": "in_out", "delta": "example"},
            truth=wrong,
            gradients=wrong,
        )


def swallowed_sum():
    sigmas = ("elu", "elu", "identity")
    W, b, x, y = numbers(44, (4, 6, 5, 3), 7)
    made = go_back(sigmas, W, b, x, y, first=lambda a, y: (a - y) / 7, prime=SIGMA["relu"][1])
    wrong = at("BP2", (2, 1), "derivative_of_other_activation")
    yield Program(
        name="elu with relu′",
        source="GitHub borgwang/tinynn, core/layer.py",
        story="A comparison swallows the sum behind it, so that elu′ is 1 or 0.",
        net={"sizes": (4, 6, 5, 3), "activations": sigmas, "cost": "quadratic"},
        **data(W, b, x, y),
        arrays=in_out(made) | {"cost": float(((made["a"][3] - y) ** 2).sum() / 14)},
        convention={"weights": "in_out"},
        truth=wrong,
        gradients=wrong,
    )


def no_output_derivative():
    W, _, x, y = numbers(21, (3, 4, 4, 1), 5, biases=False)
    sigmas = ("sigmoid",) * 3
    made = go_back(sigmas, W, None, x, y, first=difference)
    made = in_out(times(without(made, "z", "db"), -1, "delta", "dW"))
    mixed = made | {"delta": [made["delta"][0].T, made["delta"][1].T, made["delta"][2]]}
    wrong = at("BP1", 3, "no_output_derivative")
    common = {
        "source": "GitHub jiexunsee/Neural-Network-with-Python, issue 1",
        "story": "No biases, target − output with +=; the output's σ′ is left out. Once the hidden "
        "errors are columns, and the output's are rows.",
        "net": {"sizes": (3, 4, 4, 1), "activations": sigmas, "cost": "quadratic"},
        "W": W,
        "b": None,
        "x": x,
        "y": y,
        "convention": {"weights": "in_out", "reduction": "sum", "sign": "ascent"},
    }
    yield Program(name="no σ′ at the output", arrays=made, truth=wrong, gradients=wrong, **common)
    yield Program(name="no σ′ at the output, mixed", arrays=mixed, truth=wrong, **common)


def every_layer():
    """σ′ that applies σ itself is handed a; a missing ½; two mistakes in one equation."""
    W, b, x, y = numbers(30, (4, 5, 3, 2), 6, classes=True)
    again = lambda z, a: sigmoid(a) * (1 - sigmoid(a))  # noqa: E731
    none = lambda z, a: np.ones_like(a)  # noqa: E731
    at_a = at("BP2", (2, 1), "derivative_at_a")
    no_prime = at("BP2", (2, 1), "no_hidden_derivative")
    twice = at("BP1", 3, "half_missing", "factor")
    for name, output, first, prime, wrong, alone in (
        ("hidden σ′(a)", "softmax", lambda a, y: (a - y) / 6, again, None, at_a),
        (
            "σ′(a) in every layer", "sigmoid",
            lambda a, y: (a - y) / 6 * sigmoid(a) * (1 - sigmoid(a)), again,
            None, at("BP1", 3, "derivative_at_a") + at_a,
        ),
        (
            "no ½, and no hidden σ′", "sigmoid", lambda a, y: half_squares(a, y) / 3, none,
            twice + no_prime, twice + no_prime,
        ),
        (
            "no ½, and σ′(a) at the output", "sigmoid",
            lambda a, y: (a - y) / 3 * sigmoid(a) * (1 - sigmoid(a)), None,
            at("BP1", 3, "half_missing", "factor", "derivative_at_a"), None,
        ),
    ):  # fmt: skip
        sigmas = ("sigmoid", "sigmoid", output)
        made = without(go_back(sigmas, W, b, x, y, first=first, prime=prime), "z")
        yield Program(
            name=name,
            source="after GitHub dwhitena/gophernet, issue 6, and Cross Validated, question 464262",
            story=name,
            net={
                "sizes": (4, 5, 3, 2),
                "activations": sigmas,
                "cost": "cross_entropy" if output == "softmax" else "quadratic",
            },
            **data(W, b, x, y),
            arrays=made,
            truth=wrong,
            gradients=alone,
        )
    made = go_back(("sigmoid",) * 3, W, b, x, y, first=half_squares)
    yield Program(
        name="three layers, to be added",
        source="after GitHub dwhitena/gophernet, issue 6",
        story="Right: target − output with +=, summed, (in, out).",
        net={"sizes": (4, 5, 3, 2), "activations": ("sigmoid",) * 3, "cost": "quadratic"},
        **data(W, b, x, y),
        arrays=in_out(times(made, -1, "delta", "dW", "db")),
        convention={"weights": "in_out", "reduction": "sum", "sign": "ascent"},
        gradients=[],
    )


# ── Cost and gradients in different units; penalties ─────────────────────────────────────────────


def with_penalty(made, W, rate):
    return made | {"dW": [dW + rate * w for dW, w in zip(made["dW"], W, strict=True)]}


def loss_of_the_mean():
    W, _, x, y = numbers(12, (2, 3, 2), 9, classes=True)
    b, lam, sigmas = [np.zeros(3), np.zeros(2)], 0.01, ("tanh", "softmax")
    made = with_penalty(go_back(sigmas, W, b, x, y, first=difference), W, lam)
    squares = sum((w**2).sum() for w in W)
    loss = (-(y * np.log(made["a"][2])).sum() + lam / 2 * squares) / 9
    made["db"] = [db[None] for db in made["db"]]
    yield Program(
        name="loss of the mean, gradients of the sum",
        source="GitHub dennybritz/nn-from-scratch, issue 13",
        story="The gradients are those of the sum and the penalty; the loss that is printed is 1/m "
        "of that, penalty and all.",
        net={"sizes": (2, 3, 2), "activations": sigmas, "cost": "cross_entropy", "l2": lam},
        **data(W, b, x, y),
        arrays=in_out(without(made, "z")) | {"cost": float(loss)},
        convention={"weights": "in_out", "reduction": "sum"},
        truth=at("cost", 2, "factor", "mean_again", "mean_twice"),
        gradients=[],
    )


def alpha_over_n():
    sigmas, alpha, n = ("relu", "relu", "softmax"), 0.2, 9
    W, b, x, y = numbers(11, (4, 7, 5, 3), n, classes=True)
    made = go_back(sigmas, W, b, x, y, first=difference, prime=lambda z, a: (a != 0) * 1.0)
    made = times(with_penalty(made, W, alpha), 1 / n, "dW", "db")
    squares = sum((w**2).sum() for w in W)
    cost = (-(y * np.log(made["a"][3])).sum() + alpha / 2 * squares) / n
    scaled = at("BP4", (3, 2, 1), "penalty_scaled")
    for l2, wrong, at_cost in (
        (alpha / n, [], []),
        (alpha, scaled, at("cost", 3, "penalty_scaled")),
    ):
        yield Program(
            name=f"α/n, declared as {l2:.3g}",
            source="GitHub scikit-learn/scikit-learn, issue 14244",
            story="Right with l2 = α/n, though reported as wrong: relu′ is found by a == 0. With "
            "l2 = α, as the parameter is called, the penalty is 1/n of the declared one.",
            net={"sizes": (4, 7, 5, 3), "activations": sigmas, "cost": "cross_entropy", "l2": l2},
            **data(W, b, x, y),
            arrays=in_out(without(made, "z")) | {"cost": float(cost)},
            convention={"weights": "in_out", "delta": "example"},
            truth=[*at_cost, *wrong],
            gradients=wrong,
        )


def reg_times_squares():
    sigmas, reg = ("relu", "softmax"), 0.1
    W, b, x, y = numbers(231, (4, 6, 3), 7, classes=True)
    made = go_back(sigmas, W, b, x, y, first=lambda a, y: (a - y) / 7)
    squares = sum((w**2).sum() for w in W)
    cost = -(y * np.log(made["a"][2])).sum() / 7 + reg * squares
    made = in_out(without(with_penalty(made, W, 2 * reg), "z", "a", "delta"))
    for l2 in (2 * reg, reg):
        doubled = ("penalty_doubled", "penalty_scaled")
        wrong = [*at("cost", 2, *doubled), *at("BP4", (2, 1), *doubled)] if l2 == reg else []
        yield Program(
            name=f"reg times the squares, declared as {l2:g}",
            source="GitHub ShangwuYao/cs231N, neural_net.py",
            story="The loss has reg · ΣW², so l2 = 2 reg. With l2 = reg the penalty is doubled.",
            net={"sizes": (4, 6, 3), "activations": sigmas, "cost": "cross_entropy", "l2": l2},
            **data(W, b, x, y),
            arrays=made | {"cost": float(cost)},
            convention={"weights": "in_out"},
            truth=wrong,
        )


def all_parameters():
    sigmas, reg = ("relu", "relu", "identity"), 0.05
    W, b, x, y = numbers(16, (2, 6, 5, 1), 7)
    made = go_back(sigmas, W, b, x, y, first=lambda a, y: (a - y) / 7)
    squares = sum((p**2).sum() for p in (*W, *b))
    cost = ((made["a"][3] - y) ** 2).sum() / 14 + reg * squares
    made = with_penalty(made, W, 2 * reg)
    made["db"] = [db + 2 * reg * c for db, c in zip(made["db"], b, strict=True)]
    names = ("bias_penalised", "penalty_on_biases")
    for declared in (False, True):
        yield Program(
            name="penalty on all parameters" + ", declared" * declared,
            source="after GitHub karpathy/micrograd, demo.ipynb",
            story="The penalty is on the biases as well: right where l2_biases says so.",
            net={
                "sizes": (2, 6, 5, 1),
                "activations": sigmas,
                "cost": "quadratic",
                "l2": 2 * reg,
                "l2_biases": declared,
            },
            **data(W, b, x, y),
            arrays=without(made, "z", "a", "delta") | {"cost": float(cost)},
            truth=[] if declared else [*at("cost", 3, *names), *at("BP3", (3, 2, 1), *names)],
        )


def network2():
    sigmas, rate = ("sigmoid", "sigmoid"), 0.7 / 50
    W, b, x, y = numbers(50, (4, 5, 3), 7)
    y = y.round()
    made = go_back(sigmas, W, b, x, y, first=difference)
    common = {
        "source": "GitHub mnielsen/neural-networks-and-deep-learning, network2.py",
        "net": {
            "sizes": (4, 5, 3),
            "activations": sigmas,
            "cost": "binary_cross_entropy",
            "l2": rate,
        },
        **data(W, b, x, y),
    }
    yield Program(
        name="weight decay in the update",
        story="Sums over the mini-batch; the penalty is added in the update, and so the gradients "
        "lack it. The whole step is right.",
        **common,
        arrays=made,
        convention={"reduction": "sum"},
        gradients=at("BP4", (2, 1), "penalty_missing"),
    )
    yield Program(
        name="weight decay, the whole step",
        story="Right.",
        **common,
        after=(
            [(1 - 0.5 * rate) * w - 0.5 / 7 * g for w, g in zip(W, made["dW"], strict=True)],
            [c - 0.5 / 7 * g for c, g in zip(b, made["db"], strict=True)],
        ),
        eta=0.5,
        step=[],
    )


def units_of_the_cost():
    sigmas = ("tanh", "identity")
    W, b, x, y = numbers(61, (4, 6, 3), 7)
    right = go_back(sigmas, W, b, x, y, first=lambda a, y: (a - y) / 7)
    squares = ((right["a"][2] - y) ** 2).sum()
    for name, cost, scale in (
        ("mean of squares", float(squares / 21), 2 / 3),
        ("sum of squares", float(squares / 7), 2.0),
        ("a cost in float32", np.float32(squares / 14), 1.0),
        ("a cost through float32", float(np.float32(squares / 14)), 1.0),
    ):
        yield Program(
            name=name,
            source="many tutorials; floats for the error alone: GitHub libfann/fann",
            story="Right: the cost without ½, over the outputs too, or in single precision.",
            net={"sizes": (4, 6, 3), "activations": sigmas, "cost": "quadratic"},
            **data(W, b, x, y),
            arrays=times(right, scale, "delta", "dW", "db") | {"cost": cost},
            convention={"scale": scale} if scale != 1 else {},
            truth=[],
            gradients=[],
        )


# ── Steps, and functions that work in place ──────────────────────────────────────────────────────


def mini_batches():
    for seed in (0, 1):
        W, b, x, y = numbers(seed, (4, 6, 3), 7)
        made = go_back(("sigmoid",) * 2, W, b, x, y, first=half_squares)
        for eta in (0.5, 0.1, 0.01, 0.001):
            yield Program(
                name=f"a mini-batch at {eta:g}, {seed}",
                source="GitHub mnielsen/neural-networks-and-deep-learning, network.py",
                story="Right: parameters before and after.",
                net={"sizes": (4, 6, 3), **QUADRATIC},
                **data(W, b, x, y),
                after=(
                    [w - eta / 7 * g for w, g in zip(W, made["dW"], strict=True)],
                    [c - eta / 7 * g for c, g in zip(b, made["db"], strict=True)],
                ),
                eta=eta,
                step=[],
            )
    for eta, seed in ((1.0, 4), (0.1, 6)):
        W, _, x, y = numbers(seed, (3, 4, 1), 7, biases=False)
        made = go_back(("sigmoid",) * 2, W, None, x, y.round(), first=half_squares)
        yield Program(
            name=f"no biases, a step at {eta:g}",
            source="GitHub miloharper/multi-layer-neural-network, main.py",
            story="Right: no biases, sums, target − output with +=.",
            net={"sizes": (3, 4, 1), **QUADRATIC},
            W=W,
            b=None,
            x=x,
            y=y.round(),
            convention={"reduction": "sum"},
            after=([w - eta * g for w, g in zip(W, made["dW"], strict=True)], None),
            eta=eta,
            step=[],
        )


def in_place():
    def program(early=False, late=False, shift=False):
        def step(W, b, x, y):
            if shift:
                x -= x.mean(axis=0)
            a1 = sigmoid(x @ W[0].T + b[0])
            a2 = sigmoid(a1 @ W[1].T + b[1])
            delta2 = (a2 - y) / len(x) * a2 * (1 - a2)
            dW2 = delta2.T @ a1
            if early:
                W[1] -= 0.5 * dW2
            delta1 = delta2 @ W[1] * a1 * (1 - a1)
            dW1 = delta1.T @ x
            if late:
                W[0] -= 0.5 * dW1
                W[1] -= 0.5 * dW2
            db = [delta1.sum(axis=0), delta2.sum(axis=0)]
            return {"a": [x, a1, a2], "delta": [delta1, delta2], "dW": [dW1, dW2], "db": db}

        return step

    for name, function, wrong, changes in (
        ("W² too early", program(early=True), EARLY, ("W²",)),
        ("W at the end", program(late=True), [], ("W¹", "W²")),
        ("x centred", program(shift=True), at("forward", 0, "input_changed"), ("x",)),
    ):
        W, b, x, y = numbers(1, (3, 4, 2), 5)
        yield Program(
            name=f"in place: {name}",
            source="after GitHub Bot-Academy/NeuralNetworkFromScratch",
            story=name,
            net={"sizes": (3, 4, 2), **QUADRATIC},
            **data(W, b, x, y),
            function=function,
            truth=wrong,
            changes=changes,
        )


def a_view():
    rng = np.random.default_rng(19)
    theta = [0.5 * rng.normal(size=(5, 5)), 0.5 * rng.normal(size=(3, 6))]
    _, _, x, y = numbers(19, (4, 5, 3), 6)
    y = y.round()

    def gradient(W, b, x, y):
        made = go_back(("sigmoid",) * 2, [t[:, 1:] for t in theta], [t[:, 0].copy() for t in theta],
                       x, y, first=difference)  # fmt: skip
        for t in theta:
            t[:, 0] = 0  # so that the penalty leaves the biases out
        dW = [(dW + t[:, 1:]) / 6 for dW, t in zip(made["dW"], theta, strict=True)]
        return {"dW": dW, "db": [db / 6 for db in made["db"]]}

    yield Program(
        name="a view of the parameters",
        source="GitHub lawlite19/MachineLearning_Python, issue 4",
        story="Θ[:, 0] is set to 0 before the penalty is added, and Θ is a view of the parameters: "
        "the gradients are right, and the biases are gone.",
        net={
            "sizes": (4, 5, 3),
            "activations": ("sigmoid",) * 2,
            "cost": "binary_cross_entropy",
            "l2": 1 / 6,
        },
        W=[t[:, 1:] for t in theta],
        b=[t[:, 0] for t in theta],
        x=x,
        y=y,
        function=gradient,
        truth=[],
        changes=("b¹", "b²"),
    )


MAKERS = (
    data_science_from_scratch, shallow_copy, raw_error, best_known_book, plain_numbers,
    exclusive_or, softmax_and_squares, pythons_sum, one_number_for_the_biases, squeezed, planar,
    own_layers_activation, weight_decay, swallowed_sum, no_output_derivative, every_layer,
    loss_of_the_mean, alpha_over_n, reg_times_squares, all_parameters, network2, units_of_the_cost,
    mini_batches, in_place, a_view,
)  # fmt: skip


def programs():
    return {program.name: program for maker in MAKERS for program in maker()}
