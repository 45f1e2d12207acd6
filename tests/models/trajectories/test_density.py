"""The density is that of dense normal laws, also where something is missing, singular, or on a kink."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from lawful.models.trajectories import (
    Bounds,
    Model,
    Parameters,
    class_log_densities,
    factor_scores,
    log_likelihood_by_person,
    log_memberships,
    panel,
    unpack,
)

from .truth import BOUNDS, MODELS, case, dense


@partial(jax.jit, static_argnames=("model", "nodes"))
def by_person(free, data, model, width=0.0, nodes=8):
    return log_likelihood_by_person(unpack(free, model, BOUNDS), data, model, width, nodes)


@pytest.mark.reference
def test_the_fixture_of_sixty_digits_is_met(data):
    known = json.loads((data / "exact" / "moe_trajectories_k2.json").read_text())
    at = {name: np.array(value) for name, value in known["model"].items()}
    model = Model("LIN", 2, p_gate=2, p_growth=1, joint=False)
    parameters = Parameters(
        gate=np.concatenate([at["gate_intercept"][:, None], at["gate_slope"]], axis=1)[..., None],
        mean=at["alpha"][..., None],
        shape=np.zeros((2, 0, 1)),
        slope=at["beta"][..., None],
        chol=np.linalg.cholesky(at["psi"])[..., None],
        noise=at["theta"][..., None],
        x_mean=np.zeros((2, 0, 1)),
        x_chol=np.zeros((2, 0, 0, 1)),
    )
    parameters = jax.tree.map(jnp.asarray, parameters)
    rows = known["data"]
    made = panel(rows["y"], rows["time"], rows["xg"], rows["xe"])
    exact = known["exact"]
    each = log_likelihood_by_person(parameters, made, model)
    assert float(each.sum()) == pytest.approx(exact["log_likelihood"], abs=1e-10)
    np.testing.assert_allclose(each, exact["log_likelihood_per_person"], atol=1e-11)
    w = jnp.exp(log_memberships(parameters, made, model)).T
    np.testing.assert_allclose(w, exact["class_probability"], atol=1e-12)
    scores, _ = factor_scores(parameters, made, model)
    np.testing.assert_allclose(np.swapaxes(scores, 0, 1), exact["factor_mean_given_class"], rtol=1e-10)


@pytest.mark.kills("42", "42b", model=Model("BLS", 2, p_gate=2, p_growth=2), missing=0.0)
@pytest.mark.rest_slow
@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_density_memberships_and_scores_are_those_of_dense_normal_laws(model, missing):
    width = 1e-2 if model.intrinsic else 0.0
    arrays, made, free = case(model, missing=missing, seed=3)
    truth, joint, scores = dense(model, free, arrays, width)
    np.testing.assert_allclose(by_person(free, made, model, width), truth, rtol=1e-10)
    parameters = unpack(jnp.asarray(free), model, BOUNDS)
    w = np.exp(joint - truth[:, None])
    np.testing.assert_allclose(jnp.exp(log_memberships(parameters, made, model, width)).T, w, rtol=1e-9, atol=1e-12)
    if model.curve != "BLS" and not missing:  # the truth has scores in the peers' form of the spline
        mean, cov = factor_scores(parameters, made, model, width)
        np.testing.assert_allclose(np.swapaxes(mean, 0, 1), [[s[0] for s in person] for person in scores], rtol=1e-8)
        np.testing.assert_allclose(np.swapaxes(cov, 0, 1), [[s[1] for s in person] for person in scores], atol=1e-9)


def test_a_person_without_outcomes_keeps_the_gate_and_the_covariates():
    for model, seen in ((Model("LIN", 2, 1, 1), True), (Model("LIN", 2, 1, 1, joint=False), False)):
        (y, t, x_gate, x_growth), _, free = case(model)
        y[0] = np.nan
        truth, *_ = dense(model, free, (y, t, x_gate, x_growth))
        each = by_person(free, panel(y, t, x_gate, x_growth), model)
        np.testing.assert_allclose(each, truth, rtol=1e-12, atol=1e-14)
        assert (abs(float(each[0])) > 1e-3) == seen


@pytest.mark.parametrize("waves", [1, 2])
def test_fewer_waves_than_growth_factors_and_equal_times_are_ordinary(waves):
    model = Model("BLS", 2)
    (y, t, *covariates), _, free = case(model, waves=waves)
    t[0] = t[0, 0]
    truth, *_ = dense(model, free, (y, t, *covariates))
    np.testing.assert_allclose(by_person(free, panel(y, t), model), truth, rtol=1e-10)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("log_noise", [-8.0, 0.0, 8.0])
def test_singular_covariances_and_extreme_noise_are_ordinary(rank, log_noise):
    model = Model("BLS", 1)
    arrays, made, free = case(model)
    free[model.places("chol")[0][2 * rank :]] = 0.0  # the first column is kept for rank 1, as (0, 0) and (1, 0)
    free[model.places("noise")] = log_noise / 2
    truth, *_ = dense(model, free, arrays)
    np.testing.assert_allclose(by_person(free, made, model), truth, rtol=1e-9)
    gradient = jax.grad(lambda free: by_person(free, made, model).sum())(jnp.asarray(free))
    assert np.isfinite(gradient).all()


@pytest.mark.rest_slow
@pytest.mark.parametrize("model", [MODELS[2], MODELS[6], MODELS[7]], ids=str)
def test_the_gradient_is_that_of_differences_and_scores_of_persons_add_up_to_it(model):
    _, made, free = case(model, seed=5)
    total = jax.jit(lambda free: by_person(free, made, model).sum())
    gradient = np.asarray(jax.jit(jax.grad(total))(jnp.asarray(free)))[:, 0]
    for place in range(0, model.size, 3):
        step = np.zeros_like(free)
        step[place] = 1e-5
        slope = (total(free + step) - total(free - step)) / 2e-5
        assert float(slope) == pytest.approx(gradient[place], rel=1e-6, abs=1e-7)
    each = jax.jit(jax.grad(total))(jnp.broadcast_to(free, (model.size, made.n)))
    np.testing.assert_allclose(each.sum(axis=1), gradient, rtol=1e-10, atol=1e-12)


def test_gradients_are_finite_where_a_time_is_the_knot():
    model = Model("BLS", 2)
    (_, t, *_), made, free = case(model)
    knot = unpack(jnp.asarray(free), model, BOUNDS).shape[0, 0, 0]
    made = made._replace(t=made.t.at[0, 0].set(knot))
    gradient = jax.grad(lambda free: by_person(free, made, model).sum())(jnp.asarray(free))
    assert np.isfinite(gradient).all() and made.t[0, 0] == knot


def test_a_wave_that_was_missed_is_a_wave_that_never_was_and_its_time_says_nothing():
    model = Model("BLS", 2, 1)
    (y, t, x_gate, _), _, free = case(model)
    whole = by_person(free, panel(y, t, x_gate), model)
    more = np.c_[y, np.full(len(y), np.nan)], np.c_[t, np.full(len(y), np.nan)]
    np.testing.assert_array_equal(by_person(free, panel(*more, x_gate), model), whole)


@pytest.mark.slow
def test_a_shape_of_ones_own_is_integrated_out_exactly():
    """Quadrature against a fine sum over shapes, and against the linear form where persons hardly differ."""
    model = Model("BLS", 1, p_growth=1, intrinsic=True, exact=True, joint=False)
    (y, t, _, x), made, free = case(model, n=3)
    p = [np.asarray(leaf)[0, ..., 0] for leaf in unpack(jnp.asarray(free), model, BOUNDS)[:8]]
    _, mean, shape, slope, chol, noise, _, _ = p
    grid = np.linspace(-9, 9, 4001)
    for i in range(3):
        moved = slope @ x[i]
        values = []
        for z in grid:
            u = t[i] - (shape[0] + moved[0] + chol[0, 0] * z)
            loads = np.stack([np.ones_like(u), np.minimum(u, 0), np.maximum(u, 0)], -1)
            sigma = loads @ chol[1:, 1:] @ chol[1:, 1:].T @ loads.T + noise * np.eye(len(u))
            centre = loads @ (mean + moved[1:] + chol[1:, 0] * z)
            values.append(multivariate_normal.pdf(y[i], centre, sigma) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))
        truth = np.log(np.sum(values) * (grid[1] - grid[0]))
        assert float(by_person(free, made, model)[i]) == pytest.approx(truth, rel=1e-6)
    free[model.places("chol")[0][[0, 1, 3, 6]]] = 1e-6
    free[model.places("slope")[0][0]] = 0.0
    linear = Model("BLS", 1, p_growth=1, intrinsic=True, joint=False)
    np.testing.assert_allclose(by_person(free, made, model), by_person(free, made, linear), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.05, 0.25])
def test_twice_the_nodes_change_nothing_up_to_a_spread_of_knots_as_large_as_the_gap_between_waves(spread):
    """Waves are about a quarter of the range of times apart; the bar is 1e-6 for -2LL of all persons."""
    model = Model("BLS", 1, intrinsic=True, exact=True)
    _, made, free = case(model, n=40, missing=0.1)
    free[model.places("chol")[0][0]] = spread
    values = [-2 * float(by_person(free, made, model, nodes=nodes).sum()) for nodes in (8, 16)]
    assert abs(values[1] - values[0]) < 1e-6
    gradient = jax.grad(lambda free: by_person(free, made, model).sum())(jnp.asarray(free))
    assert np.isfinite(gradient).all()


def test_the_knot_moves_nothing_but_itself_under_a_change_of_the_basis():
    """Level at the knot with two slopes, and level at 0 with two slopes, are one curve."""
    form = Model("BLS", 1).form
    t, a, g = np.linspace(0, 1, 7), jnp.array([2.0, -1.0, 3.0]), 0.4
    eta = form.reported(g) @ a
    expected = eta[0] + eta[1] * np.minimum(t, g) + eta[2] * np.maximum(t - g, 0)
    np.testing.assert_allclose(form.value(t, g, a), expected, rtol=1e-12)


def test_single_precision_meets_double_precision():
    model = MODELS[6]
    (y, t, x_gate, x_growth), made, free = case(model)
    truth = by_person(free, made, model)
    with jax.enable_x64(False):
        bounds = Bounds(jnp.float32(0.1), jnp.float32(0.9))
        at = unpack(jnp.asarray(free, jnp.float32), model, bounds)
        each = log_likelihood_by_person(at, panel(y, t, x_gate, x_growth), model)
        assert each.dtype == jnp.float32
    np.testing.assert_allclose(each, truth, rtol=2e-3, atol=2e-3)


def test_classes_have_densities_of_their_own():
    model = Model("LIN", 2)
    arrays, made, free = case(model)
    _, joint, _ = dense(model, free, arrays)
    at = unpack(jnp.asarray(free), model, BOUNDS)
    prior = jax.nn.log_softmax(at.gate[:, 0, 0])
    np.testing.assert_allclose(class_log_densities(at, made, model).T + prior[None], joint, rtol=1e-10)


@pytest.mark.rest_slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_density_is_above_that_of_the_residuals_at_zero_however_far_out(dtype):
    """M >= I and the quadratic form is none below 0, so -J/2 log(2 pi th) bounds it, where all is no number it is none.

    A difference of quadratic forms that agree in all digits once came out at -1e16, as a log density of 1e16.
    """
    rng, model = np.random.default_rng(0), Model("LIN", 1)
    with jax.enable_x64(dtype == np.float64):
        at = unpack(jnp.zeros((model.size, 1), dtype), model, Bounds(jnp.zeros((), dtype), jnp.ones((), dtype)))
        seen = panel(rng.normal(size=(40, 6)).astype(dtype), np.arange(6.0).astype(dtype))
        chol = jnp.array([[1.0, 0.0], [0.3, 0.5]], dtype)[None, :, :, None]
        for small in 10.0 ** np.arange(-34, 1, 2.0):
            for large in (1.0, 1e4, 1e8, 1e12):
                noise = jnp.full_like(at.noise, small)
                far = at._replace(noise=noise, mean=large * (1 + at.mean), chol=at.chol + chol)
                found = np.asarray(log_likelihood_by_person(far, seen, model))
                found = found[np.isfinite(found)]
                bound = -3.0 * np.log(2 * np.pi * small)
                assert (found <= bound + 1e-4 * abs(bound)).all()
