"""Warm-up: one bad start does not spoil the others, chains that cannot move are restarted, and the result says so."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.inference import kernels
from lawful.inference.findings.chain_checks import chain_findings
from lawful.inference.findings.diagnostics import variables_of
from lawful.inference.findings.findings import Limits
from lawful.inference.findings.long_trajectories import long_ways
from lawful.inference.findings.tail_steps import tail_steps
from lawful.inference.kernels.gradient.window_adaptation import Tuner, schedule
from lawful.inference.plans.chains.warm_up import closed, margin, moved, observed, seen, watched, window

NUTS, HMC = kernels.nuts(), kernels.hmc()


def quartic():
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    lawful.factor("w", -(x**4))


def begun_badly(chains, bad):
    return {"x": jnp.zeros(chains).at[chains - bad :].set(10.0)}


BAD = [(1, 1), (2, 1), (4, 1), (4, 2), (8, 1), (8, 2), (8, 4), (16, 4), (64, 1), (64, 16), (64, 32)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "chains", "bad"),
    [
        pytest.param(kernel, *how, marks=() if kernel is NUTS and how == (4, 1) else (pytest.mark.slow,))
        for kernel in (NUTS, HMC)
        for how in BAD
    ],
    ids=repr,
)
def test_chains_begun_where_others_would_reject_all_move_as_the_others_do(kernel, chains, bad):
    """At 10 only steps of 1e-3 are accepted. The sd is 0.53, of chains of few leapfrogs with an error of a tenth."""
    result = inference.mcmc(quartic, kernel, chains=chains, init=begun_badly(chains, bad))(0)
    spread = np.asarray(result.posterior["x"]).std(axis=1)
    assert (spread > 0.3).all() and (spread < 0.9).all()
    assert 0.5 < result.run["step_size"] < 3 and result.run["starts"] == ["given"] * chains
    assert not [f for f in result.found if f.code == "RESTARTED"]


def needle():
    """A point that no step of any size leaves, beside where all others are."""
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    lawful.factor("w", jnp.where((jnp.abs(x) < 5) | (x == 100.0), 0.0, -jnp.inf))


@pytest.mark.slow
def test_a_chain_that_no_step_size_moves_is_restarted_and_told():
    plan = inference.mcmc(
        needle, kernels.nuts(), chains=4, warmup=200, draws=200, init={"x": jnp.array([0.0, 100.0, 0.5, 100.0])}
    )
    result = plan(0)
    assert (np.asarray(result.posterior["x"]).std(axis=1) > 0.5).all()
    (told,) = [f for f in result.found if f.code == "RESTARTED"]
    assert told.status == 0 and "1 from chain 0, chain 3 from chain 2" in told.message
    assert np.asarray(result.run["restarted"]).tolist() == [-1, 0, -1, 2]
    assert (np.asarray(result.warmup.posterior["x"])[1, :24] == 100.0).all()


@pytest.mark.slow
def test_no_chain_is_restarted_once_draws_begin():
    plan = inference.mcmc(needle, kernels.nuts(), chains=2, warmup=19, draws=60, init={"x": jnp.array([0.0, 100.0])})
    result = plan(0)
    assert (np.asarray(result.posterior["x"])[1] == 100.0).all() and not result.ok


SIZE, FAR = 5, 1e5


def two_modes(log_weight, scale):
    """A mode of scale 1, and one far away; no chain leaves either."""
    x = lawful.sample("x", dist.ImproperUniform(dist.constraints.real_vector, (), (SIZE,)))
    first = dist.Normal(0.0, 1.0).log_prob(x).sum()
    lawful.factor("w", jnp.logaddexp(first, log_weight + dist.Normal(FAR, scale).log_prob(x).sum()))


@pytest.mark.slow
@pytest.mark.parametrize("chains", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 64))])
def test_chains_leave_a_mode_without_mass_and_no_mode_that_has_some(chains):
    """The margin is 16.7; a wide mode of the same mass has a density of e^-34 of the other's."""
    bad = chains // 2
    init = {"x": jnp.zeros((chains, SIZE)).at[chains - bad :].set(FAR) + jnp.linspace(-1.0, 1.0, SIZE)}
    plan = inference.mcmc(two_modes, NUTS, chains=chains, warmup=150, draws=5, init=init)
    for log_weight, scale in (-30.0, 1.0), (-30.0, 2.0), (0.0, 1.0), (-np.log(9.0), 1.0), (0.0, 1e3), (0.0, 1e-3):
        for seed in range(3):
            result = plan(seed, log_weight, scale)
            there = np.asarray(result.posterior["x"]).mean((1, 2)) > FAR / 2
            told = [f for f in result.found if f.code == "RESTARTED"]
            if log_weight == -30.0:
                assert not there.any() and told[0].value == bad and told[0].status == 0
                assert (np.asarray(result.run["restarted"])[chains - bad :] >= 0).all()
                np.testing.assert_allclose(np.asarray(result.run["log_mass_below"])[chains - bad :], 30.0, atol=8.0)
            else:
                assert there.sum() == bad and not told


def closing(points, log_density, gradient):
    """By how much regions lie below the best, after windows (step, chain, ...)."""
    now = window(points.shape[1], points.shape[2])
    for row in zip(points, log_density, gradient, strict=True):
        now = observed(now, *map(jnp.asarray, row), jnp.array(1.0))
    return closed(now, jnp.array(True))[1]


def test_how_far_a_region_is_below_is_that_of_normal_laws_and_scales_cancel():
    rng, size = np.random.default_rng(3), 3
    sd = np.array([[1.0] * size, [3.0] * size])
    z = rng.normal(size=(40, 2, size))
    points, level = 5.0 + z * sd, -0.5 * (z**2).sum(-1) - np.array([0.0, 40.0])
    below = closing(points, level, -z / sd)
    spread, slope = points.std(0, ddof=1), 1 / np.sqrt(np.mean((z / sd) ** 2, 0))
    most = level.mean(0) + np.log(np.maximum(spread, slope)).sum(-1)
    least = level.mean(0) + np.log(np.minimum(spread, slope)).sum(-1)
    expected = min(least[0] - most[1], level.mean(0)[0] - level.mean(0)[1])
    assert expected > margin(size)
    np.testing.assert_allclose(below, [0.0, expected], rtol=1e-10)
    scales = np.array([1e-6, 1.0, 1e8])
    np.testing.assert_allclose(closing(points * scales, level + 7.0, -z / sd / scales), below, rtol=1e-10)


def test_a_chain_that_climbs_is_left_to_go_on():
    z = np.random.default_rng(5).normal(size=(40, 2, 1))
    level = -0.5 * z[..., 0] ** 2 - np.array([0.0, 500.0])
    rising = level + np.linspace(0.0, 60.0, 40)[:, None] * np.array([0.0, 1.0])
    assert closing(z, level, -z)[1] > 400 and closing(z, rising, -z)[1] == 0


def test_a_chain_that_is_not_finite_or_still_hides_no_other_and_is_not_below():
    """Small volumes count against no chain; a coordinate that is absent has neither deviation nor gradient."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=(40, 4, 3)) * np.array([1.0, 1.0, 0.0])
    level = -0.5 * (z**2).sum(-1) - np.array([0.0, 60.0, 0.0, 0.0])
    z[:, 2] *= 1e-9
    slope = z.copy()
    slope[:, 3] = np.nan
    assert (np.asarray(closing(z, level, slope)) > 0).tolist() == [False, True, False, False]


def test_chains_that_all_stand_still_stay():
    now, places = seen(watched(2)._replace(still=jnp.array([30, 30])), jnp.array([False, False]), True)
    assert places.tolist() == [0, 1] and now.restarted.tolist() == [-1, -1] and not now.apart.any()


def test_a_chain_is_set_apart_in_the_first_part_only():
    now = watched(3)._replace(still=jnp.array([4, 3, 0]))
    for first, expected in (True, [True, False, False]), (False, [False] * 3):
        assert seen(now, jnp.array([False, False, True]), first)[0].apart.tolist() == expected
    assert seen(now._replace(apart=jnp.array([True, False, False])), jnp.array([True] * 3), False)[0].apart[0]


def test_places_are_taken_in_turn():
    now = watched(5)._replace(still=jnp.array([40, 0, 40, 0, 40]))
    after, places = seen(now, jnp.array([False, True, False, True, False]), True)
    assert places.tolist() == [1, 1, 3, 3, 1] and after.still.tolist() == [0] * 5


def test_a_value_that_is_no_number_does_not_count_as_a_move():
    before = [jnp.array([[jnp.nan, 1.0], [0.0, 1.0]]), jnp.array([1, 1])]
    after = [jnp.array([[jnp.nan, 1.0], [0.0, 2.0]]), jnp.array([1, 1])]
    assert moved(before, after).tolist() == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("chains", [1, 2, 3])
def test_a_chain_apart_follows_its_own_acceptance_and_the_others_their_mean_without_it(chains):
    """The step of the others is that of as many chains without one apart; at the end of the first part all have it."""
    tuner, rows = Tuner(1, False, 0.8, None, None), jax.vmap(schedule(300))(jnp.arange(300))
    alone, learnt = tuner.start(chains), tuner.start(chains + 1)
    apart = jnp.arange(chains + 1) == 0
    for number, row in enumerate(rows[:76]):
        points = jax.random.normal(jax.random.key(number), (chains + 1,))
        rate = jnp.exp(-jnp.exp(learnt.log_step) * jnp.where(apart, 1e4, 1.0))
        signal = jnp.stack([jnp.ones(chains + 1), rate, points], 1)
        learnt = tuner.update(jnp.asarray(row), apart, signal, *learnt)
        alone = tuner.update(jnp.asarray(row), apart[1:], signal[1:], *alone)
        if number < 75:
            np.testing.assert_allclose(learnt.log_step[1:], alone.log_step, rtol=1e-12, atol=1e-12)
        if number == 70:
            assert float(jnp.exp(learnt.log_mean[0] - learnt.log_mean[1])) == pytest.approx(1e-4, rel=0.5)
    assert len(np.unique(learnt.log_step)) == len(np.unique(learnt.anchor)) == 1


@pytest.mark.parametrize(("step", "smaller"), [(0.3, True), (1e-52, False)])
def test_smaller_steps_are_advised_only_where_there_are_any(step, smaller):
    draws = np.random.default_rng(0).normal(size=(2, 50))
    stats = {"diverging": np.ones((2, 50)), "step_size": np.full((2, 50), step)}
    (told,) = [f for f in chain_findings(Limits(), {"x": draws}, stats) if f.code == "DIVERGENT"]
    assert ("smaller steps" in told.message) == smaller and ("init=" in told.message) != smaller


@pytest.mark.slow
def test_long_trajectories_of_correlated_coordinates_are_told_and_a_dense_mass_has_none():
    """Two coordinates that differ by a thousandth of their scale, beside one that is their sum by definition."""

    def ridge():
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        y = lawful.sample("y", dist.Normal(x, 1e-3))
        lawful.deterministic("sum", x + y)

    found = {}
    for mass in ("diagonal", "dense"):
        result = inference.mcmc(ridge, kernels.nuts(inverse_mass=mass), chains=4, warmup=200, draws=100)(0)
        found[mass] = [f for f in result.reasons if f.code == "LONG_TRAJECTORIES"]
    assert not found["dense"]
    (told,) = found["diagonal"]
    assert told.status == 0 and told.value > told.limit and 'inverse_mass="dense"' in told.message


def test_coordinates_that_are_not_correlated_are_not_recommended_a_dense_mass():
    draws = np.random.default_rng(0).normal(size=(2, 300, 4))
    draws = {"x": draws, "p": np.exp(draws) / np.exp(draws).sum(-1, keepdims=True)}
    assert not list(long_ways(draws, {"n_steps": np.full((2, 300), 900)}, {"inverse_mass": np.ones(7)}))


@pytest.mark.slow
def test_steps_that_are_too_long_for_a_tail_are_told_and_those_of_a_normal_posterior_are_not():
    """A ridge that is ten times as narrow where it goes on: draws of a run without divergences hardly enter it."""

    def ridge(width):
        x = lawful.sample("x", dist.Exponential(1.0))
        lawful.sample("y", dist.Normal(0.0, jnp.where(width, 1.0 / (1.0 + 5.0 * jax.nn.relu(x - 2.0)), 1.0)))

    plan = inference.mcmc(ridge, warmup=300, draws=500)
    for width, expected in ((True, ["NARROW_TAIL"]), (False, [])):
        result = plan(0, width)
        found = [f for f in result.reasons if f.code == "NARROW_TAIL"]
        assert [f.code for f in found] == expected and result.ok == (not expected) and all(f.sites for f in found)


@pytest.mark.parametrize("seed", range(5))
def test_acceptance_that_does_not_depend_on_the_draws_is_no_narrow_tail(seed):
    """A hundred elements, rates with a standard deviation of a quarter: eight standard errors from the limit."""
    rng = np.random.default_rng(seed)
    draws, rates = rng.normal(size=(4, 500, 100)), rng.beta(2.0, 0.4, size=(4, 500))
    assert not list(tail_steps(variables_of({"x": draws}), rates))
