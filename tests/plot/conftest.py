import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def closed():
    """Figures of pyplot stay open until they are closed."""
    yield
    plt.close("all")
