"""PyTorch models read, their gradients judged by `check`, and written back bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bridged
import manual_bp as mbp

torch = pytest.importorskip("torch")
from manual_bp.bridges import pytorch  # noqa: E402

nn = torch.nn


def cost_of(net, z, y):
    if net.cost.name == "cross_entropy":
        return nn.CrossEntropyLoss()(z, y)
    if net.cost.name == "binary_cross_entropy":
        return nn.BCEWithLogitsLoss(reduction="sum")(z, y) / len(y)
    return nn.MSELoss(reduction="sum")(z, y) / (2 * len(y))


def trained(net, model, x, y):
    """The model with the gradients of PyTorch's autograd in it."""
    x, y = (torch.tensor(np.asarray(array)) for array in (x, y))
    cost_of(net, model(x), y).backward()
    return model


@pytest.mark.parametrize("name", bridged.SAMPLE)
@pytest.mark.usefixtures("x64")
def test_gradients_of_autograd_are_right(name):
    net = bridged.network(name)
    params, x, y = bridged.case(net)
    model = trained(net, pytorch.model_of(net, params), x, y)
    again, read = pytorch.network_of(model, net.cost.name)
    assert again == net
    bridged.assert_same_bits(read, params)
    bridged.assert_judged(net, read, x, y, pytorch.gradients_of(model))


def test_a_model_of_its_own_in_float32():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.Dropout(0.5),
        nn.Sequential(nn.SiLU(), nn.Linear(5, 4), nn.Identity()),
        nn.LogSoftmax(dim=-1),
    ).eval()
    images = torch.rand(8, 2, 3)
    y = torch.eye(4)[torch.arange(8) % 4]
    nn.NLLLoss()(model(images), torch.arange(8) % 4).backward()
    net, params = pytorch.network_of(model, "cross_entropy")
    assert net == mbp.Network((6, 5, 4), ("silu", "softmax"), "cross_entropy")
    x = images.reshape(8, -1).numpy()
    bridged.assert_judged(net, params, x, y.numpy(), pytorch.gradients_of(model))


def test_one_linear_layer():
    model = nn.Linear(3, 2)
    net, params = pytorch.network_of(model, "quadratic", l2=0.5)
    assert net == mbp.Network((3, 2), ("identity",), "quadratic", 0.5)
    assert (model.weight.detach().numpy() == params[0].W).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.usefixtures("x64")
def test_round_trip_is_exact(dtype):
    net = bridged.network("logits")
    params, _, _ = bridged.case(net, dtype=dtype)
    model = pytorch.model_of(net, params)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    assert not {p.is_meta for p in model.parameters()} - {False}
    again, read = pytorch.network_of(model, "cross_entropy")
    assert again == net
    bridged.assert_same_bits(read, params)


def test_what_was_read_stays_when_the_model_trains_on():
    model = nn.Sequential(nn.Linear(3, 2))
    model(torch.ones(4, 3)).sum().backward()
    _, params = pytorch.network_of(model, "quadratic")
    gradients = pytorch.gradients_of(model)
    before = params[0].W.copy(), gradients.dW[0].copy()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model(torch.ones(4, 3)).sum().backward()
    assert (before[0] == params[0].W).all()
    assert (gradients.dW[0] == before[1]).all()


def test_what_was_written_is_the_models_own():
    net = bridged.network("no hidden layer")
    params = tuple(mbp.Layer(np.array(W), np.array(b)) for W, b in net.init(jax.random.key(0)))
    W = params[0].W.copy()
    with torch.no_grad():
        pytorch.model_of(net, params)[0].weight.add_(1)
    assert (params[0].W == W).all()


def test_without_biases():
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2))
    model(torch.ones(5, 3)).sum().backward()
    _, params = pytorch.network_of(model, "quadratic")
    assert params[0].b is None
    assert params[1].b.shape == (2,)
    assert pytorch.gradients_of(model).db[0] is None


def test_gradients_without_biases_are_right():
    net = bridged.network("logits")
    params, x, y = bridged.case(net, dtype="float32")
    params = bridged.without_bias(params, 2)
    model = trained(net, pytorch.model_of(net, params), x, y)
    again, read = pytorch.network_of(model, "cross_entropy")
    assert again == net
    bridged.assert_same_bits(read, params)
    bridged.assert_judged(net, params, x, y, pytorch.gradients_of(model))


def test_gradients_that_are_handed_in():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.ones(5, 3)
    listed = torch.autograd.grad(model(x).sum(), list(model.parameters()))
    by_name = torch.func.grad(
        lambda parameters: torch.func.functional_call(model, parameters, (x,)).sum()
    )(dict(model.named_parameters()))
    model(x).sum().backward()
    want = pytorch.gradients_of(model)
    for gradients in (listed, by_name):
        got = pytorch.gradients_of(model, gradients)
        pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)


def test_a_layer_that_is_frozen_has_no_gradient():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    model(torch.ones(5, 3)).sum().backward()
    gradients = pytorch.gradients_of(model)
    assert gradients.dW[0] is None
    assert gradients.db[0] is None
    assert gradients.dW[1].shape == (2, 4)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.ReLU(inplace=True), "relu"),
        (nn.LeakyReLU(), "leaky_relu"),
        (nn.LeakyReLU(0.2), "leaky_relu(0.2)"),
        (nn.ELU(), "elu"),
        (nn.ELU(0.5), "elu(0.5)"),
        (nn.GELU(), "gelu"),
        (nn.GELU("tanh"), "gelu_tanh"),
        (nn.SELU(), "selu"),
        (nn.Softsign(), "softsign"),
        (nn.Hardsigmoid(), "hard_sigmoid"),
        (nn.Hardtanh(), "hard_tanh"),
        (nn.Softmax(dim=1), "softmax"),
        (nn.Identity(), "identity"),
    ],
    ids=repr,
)
def test_activations_that_are_recognised(module, name):
    model = nn.Sequential(nn.Linear(3, 2), module)
    assert bridged.recognised(lambda: pytorch.network_of(model, "quadratic")) == name


def test_an_activation_that_the_caller_names():
    def sigma(z):
        return z * jnp.tanh(jax.nn.softplus(z))

    mish = mbp.Activation("mish", sigma, jax.grad(lambda z: sigma(z).sum()))
    model = nn.Sequential(nn.Linear(3, 4), nn.Mish(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"^model\[1\]: Mish\(\) is no activation that is recogn"):
        pytorch.network_of(model, "cross_entropy")
    net, _ = pytorch.network_of(model, "cross_entropy", activations=(mish, "softmax"))
    assert net.activations[0] is mish
    with pytest.raises(ValueError, match=r"no torch\.nn|torch\.nn has, got 'mish'"):
        pytorch.model_of(net, net.init(jax.random.key(0)))


def tied():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


def twice():
    linear = nn.Linear(3, 3)
    return nn.Sequential(linear, nn.Tanh(), linear)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)


class Scaled(nn.Linear):
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3)), r"model\[0\]: .*, got torch\.nn\.Conv2d; put"),
        (
            lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
            r"^model\[1\]: .*, got torch\.nn\.BatchNorm1d; put",
        ),
        (Own, r"^model: .*, got Own, whose forward is code; put Linear and activation modules"),
        (lambda: nn.Sequential(Scaled(3, 2)), r"got Scaled, whose forward is code"),
        (tied, r"^model\[2\]: its weights are those of model\[0\] too"),
        (twice, r"^model\[2\]: its weights are those of model\[0\] too"),
        (
            lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout()),
            r"got torch\.nn\.Dropout that is training; call model\.eval\(\) first",
        ),
        (lambda: nn.Sequential(nn.Flatten(0), nn.Linear(3, 2)), r"flatten x to \(m, n\)"),
        (lambda: nn.Sequential(nn.Tanh(), nn.Linear(3, 2)), r"^model\[0\]: Tanh\(\) comes before"),
        (
            lambda: nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.ReLU()),
            r"^model\[2\]: ReLU\(\) follows Tanh\(\), and a layer has one activation",
        ),
        (lambda: nn.Sequential(), r"^model: expected fully connected .* got no such layer"),
        (
            lambda: nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(4, 2)),
            r"^model\[2\]: expected 2 inputs, as many as model\[0\] has outputs, got 4",
        ),
        (
            lambda: nn.Sequential(nn.Linear(3, 2), nn.Softplus(beta=2)),
            r"^model\[1\]: Softplus\(beta=2.* is no activation that is recognised",
        ),
        (
            lambda: nn.Sequential(nn.Linear(3, 2), nn.Softmax(dim=0)),
            r"Softmax\(dim=0\) is no activation",
        ),
        (
            lambda: nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(dim=1)),
            r"log_softmax, which goes with the cost cross_entropy alone",
        ),
        (
            lambda: nn.Sequential(nn.Linear(3, 2, bias=False, dtype=torch.complex64)),
            r"^model\[0\]\.weight: expected one of float16, .*, got complex64",
        ),
        (lambda: "model", r"^model: expected a torch\.nn\.Sequential, got str"),
    ],
)
def test_what_cannot_be_read(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        pytorch.network_of(make(), "quadratic")


def test_all_that_cannot_be_read_is_told_at_once():
    model = nn.Sequential(nn.Conv1d(1, 1, 1), nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(TypeError, match=r"(?s)2 things do not fit.*Conv1d.*BatchNorm1d"):
        pytorch.network_of(model, "quadratic")


def test_a_cost_that_does_not_fit():
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    with pytest.raises(ValueError, match="cross_entropy goes with the output activation softmax"):
        pytorch.network_of(model, "cross_entropy")


def test_named_activations_that_are_not_the_models():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"^activations\[0\]: expected 'tanh', which follows mod"):
        pytorch.network_of(model, "quadratic", activations=("relu", "identity"))
    with pytest.raises(ValueError, match=r"^activations: expected one for each of the 2 layers"):
        pytorch.network_of(model, "quadratic", activations=("tanh",))


def test_no_gradients():
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"got none; call loss\.backward\(\) first"):
        pytorch.gradients_of(model)
    with pytest.raises(ValueError, match=r"each of the 2 parameters 0.weight, 0.bias, got 1"):
        pytorch.gradients_of(model, [torch.ones(2, 3)])


def test_parameters_that_do_not_fit_the_network():
    net = bridged.network("no hidden layer")
    with pytest.raises(ValueError, match=r"params, layer 1, W: expected shape"):
        pytorch.model_of(net, (mbp.Layer(np.ones((4, 4), np.float32), np.ones(4, np.float32)),))
    with pytest.raises(TypeError, match=r"^net: expected a manual_bp\.Network"):
        pytorch.model_of(None, ())
