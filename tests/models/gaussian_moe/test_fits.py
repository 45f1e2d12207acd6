"""Fits from one start and from several, the exact solver, and the starts of studies."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.studies.gaussian_moe.near_truth import near_truth, perturbed_gate
from lawful import inference
from lawful.errors import LawfulError, ObservationError
from lawful.models.gaussian_moe import (
    Gate,
    GaussianMoE,
    Mixture,
    Parameters,
    Settings,
    estimator,
    fit_from,
    fit_top_one,
    program,
)
from lawful.models.gaussian_moe.parameters import Units, permuted, rescaled, shifted, standardised
from lawful.models.gaussian_moe.program import free_mixture, free_values
from lawful.models.gaussian_moe.starts import random_start
from tests.models.gaussian_moe.cases import TRUTH, random_parameters


def drawn(n, gate=Gate(), truth=TRUTH, seed=0):
    places, answers = jax.random.split(jax.random.key(seed))
    x = jax.random.uniform(places, (n, 1))
    return x, Mixture(gate, truth).sample(answers, x)


def likelihood(gate, parameters, x, y):
    return float(jnp.sum(Mixture(gate, parameters).log_density(x, y)))


fit = partial(jax.jit, static_argnums=0, static_argnames=("free", "block"))(fit_from)


@pytest.mark.slow
def test_a_finished_fit_has_no_gradient_and_the_likelihood_that_it_tells():
    x, y = drawn(400)
    found = fit(Gate(), TRUTH, x, y, block=128)
    assert found.converged and found.slope < 1e-6 and not found.bound_active and not found.floor_active
    assert found.log_likelihood == pytest.approx(likelihood(Gate(), found.parameters, x, y), rel=1e-12)
    slope = jax.grad(lambda p: jnp.mean(Mixture(Gate(), p).log_density(x, y)))(found.parameters)
    assert max(float(jnp.abs(v).max()) for v in slope[:4]) < 1e-5


@pytest.mark.slow
def test_a_fit_in_single_precision_is_finished_too():
    """Its gradient is known to about 1e-6, which is longer than it is asked to be."""
    x, y = drawn(200)
    exact = likelihood(Gate(), fit(Gate(), TRUTH, x, y).parameters, x, y)
    with jax.enable_x64(False):
        single = jax.tree.map(lambda v: jnp.asarray(np.asarray(v), jnp.float32), (TRUTH, x, y))
        found = fit(Gate(), *single)
    assert found.converged and found.log_likelihood.dtype == jnp.float32
    assert float(found.log_likelihood) == pytest.approx(exact, abs=0.01)


@pytest.mark.slow
def test_a_fit_is_a_maximum_of_its_program_and_has_the_errors_of_its_information():
    """Scores of the program add up to 0, and errors by curvature are those by Fisher's information."""
    x, y = drawn(3000)
    model = GaussianMoE(2).fit(x, y, init=TRUTH)
    p = model.mixture_.parameters
    found = inference.log_marginals(free_mixture, x, y, 2, enumerate="all")
    assert float(found(free_values(Gate(), p)).sum()) == pytest.approx(model.log_likelihood_, rel=1e-12)
    sums = {name: np.asarray(v.sum(axis=0)) for name, v in inference.scores(found, free_values(Gate(), p)).items()}
    errors = model.errors(x, y)
    assert errors.gain < 1e-6 and max(abs(v).max() for v in sums.values()) < 3e-3 * 3000**0.5
    exact = np.sqrt(np.diagonal(np.linalg.inv(np.asarray(model.fisher()))) / 3000)
    assert errors.names == ("beta1[0, 0]", "beta0[0]", "a[0, 0]", "a[1, 0]", "b[0]", "b[1]", "nu[0]", "nu[1]")
    np.testing.assert_allclose(errors.model, exact, rtol=0.15)
    np.testing.assert_allclose(errors.robust, exact, rtol=0.3)
    with pytest.raises(LawfulError, match="top-K gate jumps"):
        GaussianMoE(2, "topk", top_k=1).fit(x[:60], y[:60]).errors(x, y)


@pytest.mark.slow
def test_errors_of_a_fit_are_those_of_the_program_as_it_stands(monkeypatch):
    """Of one expert they are those of least squares; where the program has twice the slope, the slope has half."""
    x = np.random.default_rng(0).normal(size=(30, 1))
    y = 1.0 + 2.0 * x[:, 0] + np.random.default_rng(1).normal(size=30)
    rows = np.hstack([x, np.ones((30, 1))])
    line, *_ = np.linalg.lstsq(rows, y)
    nu = np.mean((y - rows @ line) ** 2)
    known = np.sqrt(nu * np.diagonal(np.linalg.inv(rows.T @ rows)))

    def steeper(*given):  # another program than the one that is remembered
        return free_mixture(*given)

    usual = program.gaussian_moe
    model = GaussianMoE(1)
    for slope in (1.0, 2.0):
        model.mixture_ = Mixture(Gate(), Parameters.of([0.0], [0.0], line[:1] / slope, line[1:], [nu]))
        np.testing.assert_allclose(model.errors(x, y).model[:2], known / [slope, 1.0], rtol=1e-9)
        monkeypatch.setattr(program, "gaussian_moe", lambda X, y, p, gate: usual(X, y, p._replace(a=2 * p.a), gate))
        monkeypatch.setattr(estimator, "free_mixture", steeper)


@pytest.mark.slow
def test_over_specified_fits_are_finished_where_em_creeps():
    """Thirty iterations of EM leave a gradient; Newton's method ends it, with a larger likelihood."""
    x, y = drawn(400)
    start = near_truth(jax.random.key(1), TRUTH, [0, 0, 1], 400)
    crept = fit(Gate(), start, x, y, Settings(em_most=30, newton_most=0))
    found = fit(Gate(), start, x, y, Settings(em_most=30))
    assert not crept.converged and found.converged and found.slope < 1e-6
    assert found.log_likelihood > crept.log_likelihood


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_an_executor_finds_from_every_start_what_is_found_here(executor, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    x, y = drawn(200)
    alone = GaussianMoE(2).fit(x, y, starts=4, key=3)
    with ThreadPoolExecutor(2) as pool:
        found = GaussianMoE(2).fit(x, y, starts=4, key=3, map=pool if executor == "threads" else executor)
    np.testing.assert_array_equal(found.optima_, alone.optima_)
    for one, other in zip(jax.tree.leaves(found.fit_), jax.tree.leaves(alone.fit_), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_free_temperature_ends_where_the_start_had_it_and_beta_over_tau_does_not():
    """Starts of two scales reach one density and two temperatures."""
    x, y = drawn(400)
    gate = Gate("temperature")
    ends = [fit(gate, rescaled(TRUTH, factor), x, y, free=True) for factor in (0.7, 1.6)]
    assert all(end.converged for end in ends)
    ratios = [np.asarray(end.parameters.beta1 / end.parameters.tau) for end in ends]
    np.testing.assert_allclose(ratios[0], ratios[1], rtol=1e-3)
    assert abs(ends[0].parameters.tau - ends[1].parameters.tau) > 0.3
    pinned_fit = fit(gate, rescaled(TRUTH, 0.7), x, y)
    assert pinned_fit.parameters.tau == 1
    np.testing.assert_allclose(pinned_fit.parameters.beta1, ratios[0], rtol=1e-3)


@pytest.mark.slow
def test_an_activated_gate_is_learned_by_its_gradient():
    truth = TRUTH._replace(beta0=jnp.array([-0.4, 0.0]), tau=jnp.array(0.25))
    gate = Gate("activated")
    x, y = drawn(600, gate, truth)
    found = fit(gate, perturbed_gate(jax.random.key(5), truth, 0.3), x, y)
    assert found.converged and found.slope < 1e-6
    assert found.log_likelihood > likelihood(gate, truth, x, y)
    assert found.log_likelihood == pytest.approx(likelihood(gate, found.parameters, x, y), rel=1e-12)


def test_a_bound_that_is_active_is_reported():
    """A hard truth, one expert too many: the likelihood grows with the scale of the gate."""
    x, y = drawn(300, Gate("topk", top_k=1))
    gate = Gate("topk", top_k=2)
    start = permuted(TRUTH, [0, 0, 1])
    found = fit(gate, start, x, y, Settings(bound=10.0, em_most=300))
    assert found.bound_active and np.isnan(found.slope)
    assert np.abs(found.parameters.beta1).max() * jnp.std(x) == pytest.approx(10.0)
    assert found.log_likelihood >= likelihood(gate, start, x, y)
    short = fit(gate, start, x, y, Settings(bound=5.0, em_most=3))  # the start is longer than that
    assert short.bound_active and np.abs(short.parameters.beta1).max() * jnp.std(x) <= 5.0 * (1 + 1e-12)


def brute_force(x, y, floor):
    order = np.argsort(x)
    x, y = np.asarray(x)[order], np.asarray(y)[order]
    best = (-np.inf,)
    for cut in range(3, len(x) - 2):
        value, lines = 0.0, []
        for part in (slice(cut, None), slice(None, cut)):
            a, b = np.polyfit(x[part], y[part], 1)
            square = (y[part] - a * x[part] - b) ** 2
            nu = max(square.mean(), floor)
            value += -0.5 * (np.log(2 * np.pi * nu) + square / nu).sum()
            lines.append((a, b, nu))
        best = max(best, (value, 0.5 * (x[cut - 1] + x[cut]), lines), key=lambda each: each[0])
    return best


@pytest.mark.parametrize("seed", range(3))
def test_the_exact_solver_finds_the_best_of_all_cuts(seed):
    x, y = drawn(80, Gate("topk", top_k=1), seed=seed)
    found, value = jax.jit(fit_top_one)(x[:, 0], y)
    exact, boundary, lines = brute_force(x[:, 0], y, 1e-6 * float(jnp.var(y)))
    assert value == pytest.approx(exact, rel=1e-10)
    assert -found.beta0[0] == pytest.approx(boundary, rel=1e-12)
    np.testing.assert_allclose(np.stack([found.a[:, 0], found.b, found.nu], axis=1), lines, rtol=1e-8)
    assert value == pytest.approx(likelihood(Gate("topk", top_k=1), found, x, y), rel=1e-10)


@pytest.mark.slow
def test_single_precision_finds_the_cut_of_double_precision():
    """Sums from the left alone leave few rows on the right with nothing but rounding, and a cut at them wins."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=4000), 100 * rng.normal(size=4000)
    y[np.argsort(x)[-8:]] *= 1e-3
    exact = float(fit_top_one(jnp.asarray(x), jnp.asarray(y))[1])
    with jax.enable_x64(False):
        found = float(fit_top_one(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))[1])
    assert found == pytest.approx(exact, rel=1e-4)


def test_rows_that_no_boundary_cuts_have_no_likelihood():
    assert jax.jit(fit_top_one)(jnp.zeros(9), jnp.arange(9.0))[1] == -jnp.inf


def test_random_starts_are_the_same_mixture_in_other_units():
    """Years are no other start than their distance from the mean: gates are almost even wherever covariates lie."""
    key = jax.random.key(0)
    x, y = drawn(40)
    told = random_start(key, x, y, 3)
    other = random_start(key, 2000 + 10 * x, 3 - 7 * y, 3)
    moved = Units(jnp.full(1, 2000.0), jnp.full(1, 10.0), jnp.array(3.0), jnp.array(7.0))
    back = standardised(other, moved)
    np.testing.assert_allclose(back.beta1, told.beta1, rtol=1e-10)
    np.testing.assert_allclose(back.beta0, told.beta0, atol=1e-9)
    assert np.ptp(Mixture(Gate(), other).weights(2000 + 10 * x), axis=1).max() < 0.7


@pytest.mark.slow
def test_a_gate_that_selects_all_experts_is_fitted_as_the_softmax():
    x, y = drawn(200)
    one, other = (fit(gate, TRUTH, x, y) for gate in (Gate("topk", top_k=2), Gate()))
    assert one.log_likelihood == other.log_likelihood and one.steps == other.steps and one.slope < 1e-6


@pytest.mark.parametrize(
    ("gate", "k", "count"), [("softmax", 3, 18), ("softmax", 1, 4), ("activated", 3, 21), ("activated", 1, 4)]
)
def test_parameters_are_counted(gate, k, count):
    """Two covariates: two slopes, an intercept and a variance an expert; one expert has no gate."""
    model = GaussianMoE(k, gate)
    model.mixture_ = Mixture(Gate(gate), random_parameters(np.random.default_rng(0), k, 2))
    assert model.n_parameters == count


def test_a_gate_that_ranks_by_slopes_is_not_solved_by_boundaries():
    """Its boundary is at 0 whatever the intercepts are, so that the exact solver's would not be its own."""
    assert GaussianMoE(2, "topk", top_k=1).exactly_solved
    assert not GaussianMoE(2, "topk", top_k=1, selection="slope").exactly_solved


def test_equal_covariates_stay_on_one_side():
    x = jnp.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    y = jnp.array([0.0, 0.1, 5.0, 5.1, 5.0, 5.2, 5.1, 5.0, 5.2])
    found, _ = fit_top_one(x, y)
    assert -float(found.beta0[0]) in (0.5, 1.5)


@pytest.mark.slow
def test_the_estimator_finds_the_truth_from_random_starts():
    x, y = drawn(500)
    model = GaussianMoE(2).fit(x, y, starts=6, key=1)
    assert model.log_likelihood_ > likelihood(Gate(), TRUTH, x, y)
    assert model.optima_[0] == model.log_likelihood_ and len(model.optima_) == 6 and model.reached_ >= 2
    aligned = model.align_to(TRUTH)
    assert aligned.loss < 1.0 and sorted(aligned.cells.tolist()) == [0, 1]
    np.testing.assert_allclose(model.responsibilities(x, y).sum(1), 1, rtol=1e-12)
    assert model.fisher(x[:20]).shape == (8, 8)
    assert model.predict(x).shape == model.log_density(x, y).shape == model.sample(jax.random.key(0), x).shape == (500,)
    again = GaussianMoE(2).fit(x, y, init=model.mixture_.parameters)
    assert again.log_likelihood_ == pytest.approx(model.log_likelihood_, rel=1e-9)


@pytest.mark.slow
def test_one_expert_is_least_squares():
    x, y = map(np.asarray, drawn(50))
    model = GaussianMoE(1).fit(x, y, starts=2)
    line = np.polyfit(x[:, 0], y, 1)
    p = model.mixture_.parameters
    np.testing.assert_allclose([p.a[0, 0], p.b[0]], line, rtol=1e-8)
    assert p.nu[0] == pytest.approx(np.mean((y - np.polyval(line, x[:, 0])) ** 2), rel=1e-5)
    assert model.reached_ == 2


@pytest.mark.slow
def test_the_fit_does_not_depend_on_the_units_of_the_data():
    x, y = drawn(300)
    one = GaussianMoE(2).fit(x, y, init=TRUTH)
    start = Parameters(TRUTH.beta1 / 100, TRUTH.beta0, TRUTH.a / 100 * 7, TRUTH.b * 7 + 3, TRUTH.nu * 49, TRUTH.tau)
    other = GaussianMoE(2).fit(100 * x, 7 * y + 3, init=start)
    assert other.log_likelihood_ == pytest.approx(one.log_likelihood_ - 300 * np.log(7), rel=1e-8)


def test_starts_near_the_truth_have_the_last_gate_pinned_and_are_consistent():
    """The weights of the start are near those of the truth, whatever expert the last row was given."""
    x = np.linspace(0, 1, 9)[:, None]
    for order in ([0, 1], [1, 0], [0, 0, 1], [1, 0, 0]):
        start = near_truth(jax.random.key(0), TRUTH, order, 10**6)
        assert not np.any(start.beta1[-1]) and start.beta0[-1] == 0
        copies = permuted(TRUTH, order)
        np.testing.assert_allclose(Mixture(Gate(), start).weights(x), Mixture(Gate(), copies).weights(x), atol=0.02)
        assert (np.asarray(start.nu) >= np.asarray(copies.nu)).all()


def test_noise_of_a_gate_is_relative():
    key = jax.random.key(0)
    one, tenth = (perturbed_gate(key, TRUTH, s) for s in (0.5, 0.05))
    np.testing.assert_allclose((one.beta1 - TRUTH.beta1), 10 * (tenth.beta1 - TRUTH.beta1), rtol=1e-10)
    assert one.beta1[1, 0] == 0 and np.log(one.tau) == pytest.approx(10 * float(np.log(tenth.tau)))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: GaussianMoE(0), LawfulError, "n_experts=0. Fix"),
        (lambda: GaussianMoE(2, tau="learned"), LawfulError, "tau='learned'. Fix"),
        (lambda: GaussianMoE(2, "topk", top_k=3), LawfulError, "top_k=3 of 2 experts. Fix"),
        (lambda: GaussianMoE(2).fit(np.zeros(3), np.zeros(3)), ObservationError, r"X has the shape \(3,\).*Fix"),
        (lambda: GaussianMoE(2).fit(np.full((3, 1), np.nan), np.zeros(3)), ObservationError, "row 0 is not finite"),
    ],
)
def test_wrong_input_is_told(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.slow
def test_a_shift_of_the_start_changes_no_fit():
    x, y = drawn(300)
    starts = TRUTH, shifted(TRUTH, np.ones(1), 2.0)
    values = [GaussianMoE(2).fit(x, y, init=start).log_likelihood_ for start in starts]
    assert values[0] == pytest.approx(values[1], rel=1e-10)
