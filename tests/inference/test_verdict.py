"""Laws of the verdict: a perfect sampler passes, whatever its elements; a bad one does not; few draws are no proof.

Rates: 1 % is the most that `thresholds` allows a perfect sampler, so more than 6 alarms in 150 runs have probability
below 1e-3. Every bad sampler here is found in each of its runs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from arviz_stats.base.array import array_stats
from scipy.signal import lfilter

import lawful
from lawful import inference
from lawful.inference.findings.findings import Limits, Status
from lawful.inference.findings.thresholds import ess_limit, r_hat_limit
from lawful.inference.results.collect import from_chains, from_population

CHAINS, DRAWS = 4, 1000
SIZES = {4000: 0.0, 400: 9 / 11, 280: 0.869}  # effective draws in all, and the autocorrelation that gives it


def chains(elements=1, rho=0.0, seed=0, draws=DRAWS):
    """Stationary autoregressive chains of standard normals: (1 - rho) / (1 + rho) of the draws are effective."""
    steps = np.random.default_rng(seed).normal(size=(CHAINS, draws, elements)) * np.sqrt(1 - rho**2)
    steps[:, 0] /= np.sqrt(1 - rho**2)
    return lfilter([1], [1, -rho], steps, axis=1)


def verdict(draws, **fields):
    return from_chains({"x": draws}, **fields)


def codes(result):
    return {finding.code for finding in result.reasons}


# A perfect sampler


@pytest.mark.rest_slow
@pytest.mark.parametrize("size", SIZES)
def test_a_perfect_sampler_raises_a_false_alarm_in_at_most_one_run_of_a_hundred(size):
    alarms = [seed for seed in range(150) if not verdict(chains(1, SIZES[size], seed)).ok]
    assert len(alarms) <= 6, alarms
    assert verdict(chains(50, SIZES[size])).ok


@pytest.mark.slow
@pytest.mark.parametrize("size", [4000, 400])
def test_a_thousand_elements_of_a_perfect_sampler_are_ok(size):
    """The usual limits, 1.01 and 400, alarm in every run at size 400."""
    for seed in range(2):
        result = verdict(chains(1000, SIZES[size], seed))
        assert result.ok, result.warnings


def test_limits_grow_with_the_number_of_elements_and_no_further_than_chance():
    bounds = [r_hat_limit(8, 50.0, elements, 0.01) for elements in (1, 10, 100, 1000)]
    assert bounds == sorted(bounds) and bounds[0] > 1.03 and bounds[-1] < 1.08
    assert r_hat_limit(8, 500.0, 1000, 0.01) < 1.01  # of independent draws the usual limit stands
    sizes = [ess_limit("bulk", 400.0, elements, 0.01) for elements in (1, 10, 100, 1000)]
    assert sizes == sorted(sizes, reverse=True) and 160 <= sizes[-1] < sizes[0] < 400


def test_r_hat_of_independent_runs_has_the_f_distribution():
    """Of R runs with e independent draws each, e (r-hat^2 - 1) is F with R - 1 and many degrees: false alarm 1e-3."""
    rng = np.random.default_rng(5)
    means = rng.normal(size=(20_000, 4)) / np.sqrt(100.0)
    r_hat = np.sqrt(1 + means.var(axis=1, ddof=1))
    beyond = np.sum(r_hat > r_hat_limit(4, 100.0, 1, 0.05))  # 1 % of the runs: 0.05 is divided by five
    assert abs(beyond - 200) < 3.3 * np.sqrt(200) + 60  # the estimated variance costs at most 30 %


# Bad samplers


@pytest.mark.rest_slow
@pytest.mark.parametrize(("elements", "seeds"), [(1, 5), (30, 1)])
@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_bad_samplers_are_found_in_every_run(elements, seeds, rho):
    """One bad element among perfect ones: a chain in another mode, one that stands still, drift, halves that differ."""
    half = DRAWS // 2
    for seed in range(seeds):
        good = chains(elements, rho, seed)
        other, stands, drifts, halves, wide = (good.copy() for _ in range(5))
        other[0, :, -1] += 2.0
        stands[0, half:, -1] = stands[0, half, -1] + 1.0
        drifts[..., -1] += np.linspace(-1.5, 1.5, DRAWS)
        halves[:, half:, -1] += 1.5
        wide[0, :, -1] *= 4.0
        for name, bad in {"mode": other, "stands": stands, "drift": drifts, "halves": halves, "wide": wide}.items():
            result = verdict(bad)
            assert not result.ok, (name, seed)
            assert any(finding.sites == ("x",) for finding in result.reasons), name


def test_slow_chains_are_found_by_their_effective_size():
    for seed in range(3):
        draws = chains(1, 0.97, seed)  # 60 effective draws
        result = verdict(draws)
        (bulk, *_) = [finding for finding in result.reasons if finding.code == "LOW_ESS"]
        assert not result.ok and bulk.value < bulk.limit < 400
        assert bulk.value == array_stats.ess(draws[..., 0], chain_axis=0, draw_axis=1, method="bulk")  # as the table


def test_tails_that_few_chains_visit_are_found_without_a_divergence():
    """A ridge: one chain in four goes far out and stays there for a while; the middle looks well mixed."""
    draws = chains(1, 0.5, 2)
    draws[1, 300:420, 0] += np.linspace(4.0, 6.0, 120)
    result = verdict(draws)
    assert any("tail effective sample size" in text for text in result.warnings)


# Chains that stand


def test_chains_that_never_moved_are_named_and_have_no_r_hat():
    result = verdict(np.arange(4.0)[:, None, None] * np.ones((4, 500, 2)))
    assert not result.ok and codes(result) == {"NEVER_MOVED"}
    (text,) = result.warnings
    assert "chains 0, 1, 2, 3 never moved" in text and "r-hat" not in repr(result)


def test_elements_that_no_chain_moved_are_named_with_their_site():
    labels = np.broadcast_to(np.array([0.0, 1.0, 0.0, 1.0])[:, None, None], (4, 1000, 3))
    result = from_chains({"z": labels, "x": chains()[..., 0]})
    assert not result.ok and codes(result) == {"NEVER_MOVED"}
    (finding,) = result.reasons
    assert finding.sites == ("z",) and finding.value == 3 and "different values" in finding.message


def test_an_r_hat_without_measure_is_not_printed():
    collapsed = {"x": np.arange(4.0)[:, None] * np.ones((4, 200))}
    result = from_population(collapsed, np.zeros((4, 200)), np.zeros(4), draws=collapsed)
    assert "r-hat of 'x' is above 10" in " ".join(result.warnings)


# Too little to say


@pytest.mark.parametrize(("count", "draws"), [(1, 1), (1, 50), (4, 1), (4, 99)])
@pytest.mark.parametrize("vary", [True, False])
def test_few_draws_are_not_ok(count, draws, vary):
    x = np.random.default_rng(1).normal(size=(count, draws)) if vary else np.zeros((count, draws))
    result = from_chains({"x": x})
    assert not result.ok and (Status.LOW_ESS in result.status or "NEVER_MOVED" in codes(result))


def test_few_particles_are_not_ok():
    x = np.random.default_rng(1).normal(size=(2, 20))
    result = from_population({"x": x}, np.zeros((2, 20)), [0.0, 0.0], draws={"x": x})
    assert Status.LOW_ESS in result.status and "worth 40 draws" in result.warnings[0]


# Particle filters


def walk(y):
    start = lawful.sample("start", dist.Normal(0.0, 1.0))

    def step(x, y):
        x = lawful.sample("x", dist.Normal(x, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    lawful.scan(step, start, y)


def unknown(y):
    sd = lawful.sample("sd", dist.HalfNormal(1.0))

    def step(x, y):
        x = lawful.sample("x", dist.Normal(x, sd))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


Y = jnp.asarray(np.cumsum(np.random.default_rng(0).normal(size=60)))


@pytest.mark.rest_slow
@pytest.mark.parametrize("runs", [1, 4])
def test_old_states_of_the_paths_of_a_good_filter_are_told_and_not_judged(runs):
    result = inference.smc(walk, particles=1000, runs=runs)(jax.random.key(0), Y)
    assert result.ok, result.warnings
    (told,) = [finding for finding in result.reasons if finding.code == "OLD_PATHS"]
    assert told.sites == ("start", "x") and told.status == 0
    first = result.posterior["x"][:, :, 0]
    assert f"copies of {len(np.unique(first))} values" in told.message or "start" in told.message


@pytest.mark.rest_slow
@pytest.mark.parametrize("runs", [1, 4])
def test_a_parameter_that_rests_on_few_values_is_not_ok(runs):
    result = inference.smc(unknown, particles=500, runs=runs)(jax.random.key(0), Y)
    low = [finding for finding in result.reasons if finding.code == "LOW_ESS"]
    assert not result.ok and [finding.sites for finding in low] == [("sd",)]
    count = sum(len(np.unique(run)) for run in result.posterior["sd"])
    assert f"the draws of 'sd' are copies of {count} values" in low[0].message


def test_the_filter_of_too_few_particles_is_judged_by_its_last_state():
    result = inference.smc(walk, particles=15, runs=4)(jax.random.key(0), Y)
    assert not result.ok


def test_a_limit_of_ones_own_is_another_verdict():
    draws = chains(1, SIZES[400], 3)
    assert verdict(draws).ok and not verdict(draws, limits=Limits(ess_per_chain=300.0)).ok


def test_elements_that_were_observed_are_no_copies():
    def heights(y, present):
        mu = lawful.sample("mu", dist.Normal(1.7, 0.1))
        with lawful.plate("person", len(y)):
            lawful.sample("height", dist.Normal(mu, 0.1), obs=y, obs_mask=present, impute=True)

    y = jnp.array([1.72, 1.70, 1.65, 1.80])
    plan = inference.importance(heights, particles=2000, runs=4)
    for second in (False, True):
        result = plan(jax.random.key(0), y, jnp.array([True, second, True, True]))
        assert result.ok, result.warnings
