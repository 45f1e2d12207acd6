"""One fit for all pictures, and figures that are closed after each test."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from .made import TRUTH, fit_at


@pytest.fixture(scope="package")
def times():
    """Times of 150 persons at 6 waves, different for each."""
    rng = np.random.default_rng(0)
    return np.arange(6.0) + rng.uniform(-0.2, 0.2, size=(150, 6))


@pytest.fixture(scope="package")
def fit(times):
    """A fit whose knots lie between the times of all persons."""
    return fit_at(TRUTH, times)


@pytest.fixture(autouse=True)
def closed():
    """Draw to memory, and close what a test has drawn."""
    plt.switch_backend("Agg")
    yield
    plt.close("all")
