"""Warm-up: what is learnt is what it should be, it stops before the draws, and nothing is compiled twice."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.form import Branch, Loop
from lawful.inference import kernels
from lawful.inference.kernels.gradient.window_adaptation import Learnt, Tuner, schedule

COVARIANCE = np.array([[4.0, 1.2, 0.0], [1.2, 1.0, -0.1], [0.0, -0.1, 0.04]])


def normal():
    """Three coordinates of very different scales."""
    lawful.sample("x", dist.MultivariateNormal(jnp.zeros(3), jnp.asarray(COVARIANCE)))


def run(kernel, seed=0, **options):
    given = {"chains": 4, "warmup": 300, "draws": 100} | options
    return inference.mcmc(normal, kernel, **given)(seed)


def test_the_moments_of_a_window_are_those_of_its_points():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 4, 3)) * [1.0, 5.0, 0.1] + [0.0, 100.0, -3.0]
    for dense in (False, True):
        tuner = Tuner(3, dense, 0.8, None, None)
        learnt, update = tuner.start(4), jax.jit(tuner.update)
        for step in points:
            signal = np.concatenate([np.ones((4, 1)), np.full((4, 1), 0.8), step], 1)
            learnt = update(jnp.array([1.0, 0.0, 1.0, 0.0, 0.0]), jnp.zeros(len(signal), bool), signal, *learnt)
        flat = points.reshape(-1, 3)
        np.testing.assert_allclose(learnt.mean, flat.mean(0), rtol=1e-12)
        exact = np.cov(flat.T) * (len(flat) - 1)
        np.testing.assert_allclose(learnt.squares, exact if dense else np.diag(exact), rtol=1e-10, atol=1e-8)


def windowed(tuner, points):
    """What a window of given points (step, chain, coordinate) teaches."""
    learnt, apart = tuner.start(points.shape[1]), jnp.zeros(points.shape[1], bool)
    for number, step in enumerate(points):
        signal = jnp.concatenate([jnp.ones((len(step), 1)), jnp.full((len(step), 1), 0.8), jnp.asarray(step)], 1)
        row = jnp.array([1.0, number == len(points) - 1, 1.0, 0.0, 1.0])
        learnt = tuner.update(row, apart, signal, *learnt)
    return learnt


@pytest.mark.parametrize(("steps", "whole"), [(4, False), (5, True)])
def test_a_window_of_few_points_teaches_the_variances_alone(steps, whole):
    """Fewer than five for each coordinate say little about correlations; 3 coordinates, 3 chains."""
    points = np.random.default_rng(1).multivariate_normal(np.zeros(3), COVARIANCE, (steps, 3))
    roots = [windowed(Tuner(3, dense, 0.8, None, None), points).root for dense in (True, False)]
    assert np.allclose(roots[0], np.diag(roots[1]), rtol=1e-12, atol=1e-15) != whole
    np.testing.assert_allclose(np.sum(np.square(roots[0]), 1), np.square(roots[1]), rtol=1e-12)


def test_chains_that_did_not_run_teach_nothing():
    tuner = Tuner(2, False, 0.8, None, None)
    learnt = tuner.update(jnp.array([1.0, 0.0, 1.0, 0.0, 0.0]), jnp.zeros(3, bool), jnp.zeros((3, 4)), *tuner.start(3))
    for new, old in zip(learnt, tuner.start(3), strict=True):
        np.testing.assert_array_equal(new, old)


def test_points_that_are_not_finite_are_left_out():
    tuner = Tuner(1, False, 0.8, None, None)
    signal = jnp.array([[1.0, 0.5, jnp.inf], [1.0, 0.5, 2.0]])
    learnt = tuner.update(jnp.array([1.0, 0.0, 1.0, 0.0, 0.0]), jnp.zeros(len(signal), bool), signal, *tuner.start(2))
    assert float(learnt.points) == 1.0 and float(learnt.mean[0]) == 2.0


@pytest.mark.slow
def test_the_step_size_finds_a_known_rate():
    """Dual averaging against an acceptance rate of exp(-step): the step for 0.8 is -log 0.8."""
    tuner = Tuner(1, False, 0.8, None, jnp.ones(1))
    learnt = tuner.start(1)
    for _ in range(2000):
        rate = jnp.exp(-jnp.exp(learnt.log_step[0]))
        signal = jnp.stack([jnp.ones(()), rate, jnp.zeros(())])[None]
        learnt = tuner.update(jnp.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), jnp.zeros(len(signal), bool), signal, *learnt)
    row, nothing = jnp.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]), jnp.array([[0.0, 0.0, 0.0]])
    learnt = tuner.update(row, jnp.zeros(1, bool), nothing, *learnt)
    assert float(tuner.settings(jnp.array(True), *learnt)[0][0]) == pytest.approx(-np.log(0.8), rel=0.02)


def rows_of(warmup, draws=0):
    """What each step learns."""
    return np.asarray(jax.vmap(schedule(warmup))(jnp.arange(warmup + draws)))


@pytest.mark.rest_slow
@pytest.mark.parametrize("steps", [0, 1, 19, 20, 100, 150, 151, 500, 1000, 1234])
def test_windows_lie_inside_the_warm_up_and_the_last_one_is_the_longest(steps):
    rows = rows_of(steps)
    ends = np.flatnonzero(rows[:, 1])
    assert rows.shape == (steps, 6) and (rows[ends, 0] == 1).all()
    if steps >= 20:
        assert ends[-1] == np.flatnonzero(rows[:, 0])[-1] < steps - 1
        assert np.argmax(np.diff([np.flatnonzero(rows[:, 0])[0] - 1, *ends])) == len(ends) - 1


@pytest.mark.slow
@pytest.mark.parametrize("mass", ["diagonal", "dense"])
def test_scales_and_acceptance_are_found(mass):
    result = run(kernels.nuts(inverse_mass=mass), warmup=600, draws=200)
    found = result.run["inverse_mass"]
    exact = COVARIANCE if mass == "dense" else np.diag(COVARIANCE)
    assert found.shape == exact.shape
    np.testing.assert_allclose(np.diag(found) if mass == "dense" else found, np.diag(COVARIANCE), rtol=0.35)
    assert np.mean(result.stats["acceptance_rate"]) == pytest.approx(0.8, abs=0.12)
    if mass == "dense":
        assert found[0, 1] == pytest.approx(1.2, rel=0.5)


@pytest.mark.slow
def test_trees_are_small_until_the_first_scales_are_found():
    """Coordinates whose scales are 2,000 apart: in units of one a tree that turns has about 2^10 leaves."""

    def ridge():
        lawful.sample("x", dist.Normal(0.0, jnp.array([1.0, 1.0 / 2000.0])).to_event(1))

    def depths(kernel):
        result = inference.mcmc(ridge, kernel, chains=2, warmup=200, draws=20)(0)
        return np.concatenate([np.asarray(r.stats["tree_depth"]) for r in (result.warmup, result)], axis=1).max(0)

    (first, *_), rows = schedule(200).ends, rows_of(200)
    assert np.flatnonzero(rows[:, 5]).tolist() == list(range(first + 1))
    found = depths(kernels.nuts())
    assert found[: first + 1].max() == 5 and 5 < found[first + 1 :].max() <= 10
    assert depths(kernels.nuts(max_depth=3)).max() == 3
    given = depths(kernels.nuts(inverse_mass=np.ones(2)))
    assert given[: first + 1].max() > 5, "where the scales are given there are no first ones"


def fingerprint(result):
    return hashlib.sha256(b"".join(np.asarray(result.run[k]).tobytes() for k in ("step_size", "inverse_mass"))).digest()


@pytest.mark.kills("35")
@pytest.mark.slow
def test_nothing_is_tuned_once_draws_begin():
    """Mutant 35: the settings of all draws are one number, and longer chains have the same."""
    result = run(kernels.nuts(), draws=50)
    steps = np.asarray(result.stats["step_size"])
    assert (steps == np.asarray(result.run["step_size"])).all()
    assert len(np.unique(result.warmup.stats["step_size"])) > 100
    assert fingerprint(result) == fingerprint(run(kernels.nuts(), draws=80))
    assert fingerprint(result) != fingerprint(run(kernels.nuts(), seed=1, draws=50))


@pytest.mark.slow
def test_warm_up_and_draws_are_one_loop_that_counts_the_steps_that_learn():
    plan = inference.mcmc(normal, kernels.hmc(n_steps=3), chains=2, warmup=50, draws=20)
    result = plan(0)
    form = plan.form()
    (loop,) = (node for node in form.nodes if isinstance(node, Loop))
    assert loop.length == 70 and loop.xs == ()
    (branch,) = (node for node in loop.body.nodes if isinstance(node, Branch))
    assert branch.forms[0].nodes == (), "a step that does not learn keeps what is known"
    assert result.posterior["x"].shape == (2, 20, 3) and result.warmup.posterior["x"].shape == (2, 50, 3)
    rows = rows_of(50, 20)
    assert (rows[:50, 2] == 1).all() and (rows[50:] == 0).all()


def test_the_schedule_of_a_billion_draws_takes_no_memory():
    form = inference.mcmc(normal, kernels.hmc(n_steps=3), chains=2, warmup=50, draws=10**9).form()
    assert sum(np.asarray(array).nbytes for _, array in form.constants) < 10_000


@pytest.mark.slow
def test_given_settings_stay():
    result = run(kernels.nuts(0.3))
    assert set(np.unique(result.stats["step_size"])) == {0.3} and "step_size" not in result.run
    result = run(kernels.nuts(0.3, inverse_mass="diagonal"))
    assert float(result.run["step_size"]) == pytest.approx(0.3) and result.run["inverse_mass"].shape == (3,)
    result = run(kernels.nuts(inverse_mass=np.diag(COVARIANCE)))
    np.testing.assert_allclose(result.run["inverse_mass"], np.diag(COVARIANCE), rtol=1e-12)


@pytest.mark.slow
def test_a_second_call_compiles_nothing():
    plan = inference.mcmc(normal, kernels.nuts(), chains=2, warmup=30, draws=10)
    first = plan(0)
    second = plan(1)
    assert not np.array_equal(first.posterior["x"], second.posterior["x"])
    assert plan.prepare(()).built.run._cache_size() == 1


@pytest.mark.slow
def test_the_sampler_gives_the_draws_of_the_plan():
    plan = inference.mcmc(normal, kernels.nuts(), chains=2, warmup=30, draws=10)
    draws = jax.jit(plan.sampler())(jax.random.key(0))
    np.testing.assert_allclose(draws["x"], plan(0).posterior["x"].reshape(20, 3), rtol=1e-6)


@pytest.mark.slow
def test_thinned_draws_are_every_second_of_all():
    """With all settings given, thinning only leaves states out; counts add up."""
    kernel = kernels.hmc(0.3, 2)
    result = inference.mcmc(normal, kernel, chains=2, warmup=4, draws=6, thin=3)(0)
    assert result.posterior["x"].shape == (2, 6, 3)
    assert (np.asarray(result.stats["n_steps"]) == 6).all()
    assert result.stats["acceptance_rate"].shape == (2, 6)


@pytest.mark.slow
def test_tuned_chains_have_the_moments_of_their_target(false_alarm):
    """200 chains of 50 draws: means and squares by Student's t over chains."""
    from scipy import stats

    for kernel in (kernels.nuts(), kernels.hmc(n_steps=4), kernels.mala(inverse_mass="dense")):
        draws = run(kernel, chains=200, warmup=150, draws=50).posterior["x"]
        scaled = draws / np.sqrt(np.diag(COVARIANCE))
        for values, exact in ((scaled, 0.0), (scaled**2, 1.0)):
            means = values.mean(axis=1) - exact
            bound = stats.t.isf(false_alarm / 36, 199)
            assert (np.abs(means.mean(0)) < bound * means.std(0, ddof=1) / np.sqrt(200)).all(), kernel


@pytest.mark.slow
def test_without_chains_steps_or_draws_there_is_no_fault():
    assert run(kernels.nuts(0.5), warmup=0, draws=3).posterior["x"].shape == (4, 3, 3)
    assert run(kernels.nuts(), warmup=5, draws=0).posterior["x"].shape == (4, 0, 3)
    assert run(kernels.nuts(), chains=1, warmup=5, draws=2).posterior["x"].shape == (1, 2, 3)


@pytest.mark.slow
def test_parts_of_a_kernel_are_tuned_each_by_itself():
    def two():
        lawful.sample("wide", dist.Normal(0.0, 10.0))
        lawful.sample("narrow", dist.Normal(0.0, 0.1))
        lawful.sample("coin", dist.Bernoulli(0.5))

    kernel = kernels.cycle(
        kernels.on(["wide"], kernels.mala()),
        kernels.repeat(kernels.on(["narrow"], kernels.nuts()), 2),
        kernels.on(["coin"], kernels.gibbs()),
    )
    result = inference.mcmc(two, kernel, chains=4, warmup=400, draws=50)(0)
    masses = [float(result.run[f"inverse_mass_{i}"][0]) for i in (0, 1)]
    assert masses[0] == pytest.approx(100.0, rel=0.6) and masses[1] == pytest.approx(0.01, rel=0.6)
    assert not any(name.startswith("~") for name in result.stats)


def test_names_of_what_is_learnt_are_those_of_the_update():
    assert Learnt._fields[0] == "log_step" and Learnt._fields[-1] == "root"
