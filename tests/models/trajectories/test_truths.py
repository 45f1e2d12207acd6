"""Truths behind data of every curve are found from random starts: as near as the errors say, all parameters at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from lawful.models.trajectories import Design, Model, TrajectoryMixture, simulate_trajectories
from lawful.models.trajectories.model.reports import listed, ordered
from lawful.models.trajectories.model.simulate import draw

pytestmark = pytest.mark.optimised
SLOW = pytest.mark.slow
DESIGNS = [
    Design("EXP", ((20.0, 30.0), (20.0, 15.0)), (0.3, 0.7), (2.0, 3.0)),
    Design("QUAD", ((50.0, 6.0, -0.4), (50.0, 2.0, 0.1)), (0.0, 0.0), (3.0, 1.0, 0.1)),
    Design("JB", ((50.0, 2.0, -20.0), (40.0, 1.0, -10.0)), (-0.5, -0.9), (3.0, 0.5, 3.0)),
]


def nearness(fit, truth, model):
    """The Wald statistic of all parameters, under the nearer naming of two classes."""
    at = jax.tree.map(jnp.asarray, truth)
    found = []
    for order in ((0, 1), (1, 0))[: model.n_classes]:
        apart = fit.values - np.asarray(listed(ordered(at, order), model))
        found.append(apart @ np.linalg.solve(fit.standard_errors.covariance, apart))
    return min(found)


@SLOW
@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.curve)
def test_two_classes_of_each_curve_are_found(design):
    data, labels = simulate_trajectories(jax.random.key(21), n=250, waves=8, design=design)
    fit = TrajectoryMixture(2, design.curve, n_starts=8).fit(
        data, y_var="Y", t_var="T", records=range(1, 9), gate=["gx1", "gx2"], growth=["ex1", "ex2"]
    )
    model = Model(design.curve, 2, 2, 2)
    truth = design.parameters
    if design.form.shape is None:
        truth = truth._replace(shape=truth.shape[:, :0])
    assert fit.replicated and not fit.boundary
    assert nearness(fit, truth, model) < chi2.isf(1e-6, model.size)
    assert fit.accuracy(labels) > 0.8
    print(design.curve, nearness(fit, truth, model), model.size)


@pytest.mark.slow
@pytest.mark.parametrize("exact", [False, True], ids=["to first order", "exactly"])
def test_a_shape_of_ones_own_is_found(exact):
    """One class of exponentials whose rates differ: mean, variance and covariances of the rate."""
    model = Model("EXP", 1, intrinsic=True, exact=exact)
    truth = Design("EXP", ((20.0, 30.0),) * 2, (0.4, 0.4), (2.0, 3.0)).parameters
    own = jax.tree.map(lambda leaf: leaf[:1], truth)
    chol = np.zeros((1, 3, 3))
    chol[0, 1:, 1:], chol[0, 0, 0] = np.linalg.cholesky(np.diag([4.0, 9.0])), 0.06
    none = np.zeros((1, 0))
    own = own._replace(
        gate=np.zeros((1, 1)), slope=np.zeros((1, 3, 0)), chol=chol, x_mean=none, x_chol=np.zeros((1, 0, 0))
    )
    n, t = 200, np.arange(8.0)
    drawn = draw(jax.random.key(5), own, model, np.tile(t, (n, 1)), np.zeros((n, 0)))
    data = {f"Y{j + 1}": drawn.y[:, j] for j in range(8)} | {f"T{j + 1}": np.full(n, t[j]) for j in range(8)}
    fit = TrajectoryMixture(1, "EXP", intrinsic=True, knot="exact" if exact else "taylor", n_starts=4).fit(
        data, y_var="Y", t_var="T", records=range(1, 9)
    )
    assert nearness(fit, own, model) < chi2.isf(1e-6, model.size)
    assert fit.to_nlpsem_names()["c1psigg"] == pytest.approx(0.06**2, rel=0.5)
