"""Cases of each cost and each dtype, and the folders that they were written to."""

import pytest

import manual_bp as mbp
from manual_bp.golden.case import FILES, random_case
from manual_bp.golden.write import write

NETWORKS = {
    "softmax": mbp.Network((4, 5, 3), ("tanh", "softmax"), "cross_entropy", 0.01),
    "sigmoid": mbp.Network((3, 6, 2), ("relu", "sigmoid"), "binary_cross_entropy"),
    "one layer": mbp.Network((2, 1), ("identity",), "quadratic", 1e-3),
}
CASES = {
    f"{name}, {dtype}": (net, dtype)
    for (name, net), dtype in zip(
        [*NETWORKS.items(), ("softmax", NETWORKS["softmax"])],
        ("float32", "float16", "float64", "bfloat16"),
        strict=True,
    )
}


@pytest.fixture(scope="session", params=CASES.values(), ids=CASES)
def written(request, tmp_path_factory):
    """A case and the folder it was written to."""
    net, dtype = request.param
    case = random_case(net, dtype=dtype, seed=4)
    folder = tmp_path_factory.mktemp("golden")
    assert write(folder, case) == [folder / name for name in FILES]
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    return case, folder


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def net(request):
    return request.param
