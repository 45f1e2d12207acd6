"""Tempered SMC reaches the posterior and its evidence, on every path, with standard and waste-free moves.

Statistical checks use fixed keys. With a given ladder and kernel E[Z-hat] = Z, tested at 1e-6 / 512 with the stated
power; adaptive runs are consistent, tested against the exact answer at their own spread.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from lawful import cond, factor, inference, plate, sample, scan, trace
from lawful.errors import LawfulError, NonFiniteError, UnsupportedProgramError
from lawful.inference import Status, kernels
from lawful.inference.check import key_of, unbiased
from tests.tiers import rest_slow

Y = jnp.linspace(2.0, 4.0, 20)


def normal(y):
    mu = sample("mu", dist.Normal(0.0, 10.0))
    with plate("row", len(Y)):
        sample("y", dist.Normal(mu, 1.0), obs=y)
    return {"twice": 2 * mu}


def exact_evidence(y):
    return float(scipy.stats.multivariate_normal.logpdf(y, np.zeros(len(y)), np.eye(len(y)) + 100.0))


def exact_posterior(y):
    precision = len(y) + 0.01
    return float(np.sum(y) / precision), precision**-0.5


SETTINGS = {
    "waste-free": {},
    "given ladder": {"ladder": [0.001, 0.01, 0.1, 1.0], "steps": 5},
    "data by data": {"path": inference.data_by_data(block=5), "steps": 5},
    "a kernel of one's own": {"kernel": kernels.random_walk(0.5), "steps": 20},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", rest_slow(SETTINGS))
def test_the_posterior_and_its_evidence_are_reached(name, false_alarm):
    """32 runs of 1000 particles: the pooled evidence agrees by Student's t, and its error is below 0.05."""
    result = inference.tempered_smc(normal, particles=1000, runs=32, **SETTINGS[name])(key_of(f"tempered/{name}"), Y)
    critical = scipy.stats.t.isf(false_alarm / 4, 31)
    assert result.log_evidence_error < 0.05
    assert abs(result.log_evidence_pooled - exact_evidence(Y)) < critical * result.log_evidence_error
    mean, sd = exact_posterior(Y)
    draws = np.asarray(result.posterior["mu"])
    spread = draws.mean(axis=1).std(ddof=1) / 32**0.5
    assert abs(draws.mean() - mean) < critical * spread + 1e-3
    assert draws.std() == pytest.approx(sd, rel=0.06)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.tier2
@pytest.mark.parametrize("settings", [{"steps": 1}, {"chains": 5}], ids=["standard", "waste-free"])
def test_with_a_given_ladder_and_kernel_the_evidence_is_unbiased(settings):
    """20 particles: far from consistent, and unbiased all the same. False alarm 1e-6 / 512; a bias of 5 % is found."""
    plan = inference.tempered_smc(
        normal, particles=20, runs=500, kernel=kernels.random_walk(1.0), ladder=[0.003, 0.03, 0.2, 1.0], keep="last",
        **settings,
    )  # fmt: skip
    y = Y[:20]

    def estimator(keys):
        return np.concatenate([plan(key, y).log_evidence for key in keys[::500]])

    report = unbiased(estimator, exact_evidence(y), n=8000, key=key_of(f"tempered/unbiased {settings}"))
    assert report.passed, report
    assert report.detects(0.05), report


def constrained(y):
    """Four kinds of support, a loop of its own among them."""
    scale = sample("scale", dist.LogNormal(0.0, 1.0))
    share = sample("share", dist.Beta(2.0, 2.0))
    weights = sample("weights", dist.Dirichlet(jnp.ones(3)))

    def step(x, y):
        x = sample("x", dist.Normal(share * x, scale))
        sample("y", dist.Normal(x + weights[0], 0.5), obs=y)
        return x, None

    scan(step, 0.0, y)


@pytest.mark.slow
def test_all_supports_move_together(false_alarm):
    """The answer of importance sampling with many particles, by Student's t."""
    y = jnp.array([0.5, 1.0, 0.3])
    tempered = inference.tempered_smc(constrained, particles=1000, runs=32)(jax.random.key(3), y)
    plain = inference.importance(constrained, particles=10_000, runs=32)(jax.random.key(4), y)
    critical = scipy.stats.t.isf(false_alarm / 20, 31)
    for name in ("scale", "share", "weights", "x"):
        ours, theirs = (np.asarray(r.posterior[name]).mean(axis=1) for r in (tempered, plain))
        error = np.sqrt(ours.var(axis=0, ddof=1) / 32 + theirs.var(axis=0, ddof=1) / 32)
        assert np.all(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < critical * error), name
    error = math.hypot(tempered.log_evidence_error, plain.log_evidence_error)
    assert error < 0.1
    assert abs(tempered.log_evidence_pooled - plain.log_evidence_pooled) < critical * error
    assert np.asarray(tempered.posterior["weights"]).sum(axis=-1) == pytest.approx(1)


def branching(y):
    kind = sample("kind", dist.Bernoulli(0.3))
    mean = cond(kind == 1, lambda: sample("mean", dist.Normal(3.0, 1.0)), lambda: jnp.zeros(()))
    sample("y", dist.Normal(mean, 0.5), obs=y)


@pytest.mark.slow
def test_a_program_with_branches_moves_by_single_sites(false_alarm):
    critical = scipy.stats.t.isf(false_alarm / 4, 31)
    result = inference.tempered_smc(branching, particles=1000, runs=32, kernel=kernels.mh(), steps=4)(0, jnp.array(2.0))
    arms = [0.7 * np.exp(dist.Normal(0.0, 0.5).log_prob(2.0)), 0.3 * np.exp(dist.Normal(3.0, 1.25**0.5).log_prob(2.0))]
    assert abs(result.log_evidence_pooled - np.log(sum(arms))) < critical * result.log_evidence_error + 1e-3
    share = np.asarray(result.posterior["kind"]).mean(axis=1)
    assert abs(share.mean() - arms[1] / sum(arms)) < critical * share.std(ddof=1) / 32**0.5 + 1e-3
    mean = np.asarray(result.posterior["mean"])
    assert np.isnan(mean[np.asarray(result.posterior["kind"]) == 0]).all()


@functools.cache
def adaptive():
    return inference.tempered_smc(normal, particles=500, runs=3)(0, Y)


@pytest.mark.slow
def test_summed_sites_leave_the_evidence_and_come_back_as_draws(false_alarm):
    """Sums over four states tell both; 32 runs of 200 particles, so an error of 0.05 in the log evidence is found."""

    def shifted(y):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        with plate("row", 2):
            z = sample("z", dist.Bernoulli(0.3))
            sample("y", dist.Normal(mu + 2.0 * z, 1.0), obs=y)

    y, states = np.array([0.3, 2.5]), np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    scores = scipy.stats.multivariate_normal.logpdf(y - 2.0 * states, np.zeros(2), np.eye(2) + 1.0)
    masses = np.exp(scores) * 0.3 ** states.sum(axis=1) * 0.7 ** (2 - states.sum(axis=1))
    result = inference.tempered_smc(shifted, particles=200, runs=32, enumerate=["z"])(key_of("tempered/summed"), y)
    critical = scipy.stats.t.isf(false_alarm / 6, 31)
    assert result.log_evidence_error < 0.01
    assert abs(result.log_evidence_pooled - np.log(masses.sum())) < critical * result.log_evidence_error
    by_run = np.asarray(result.posterior["z"]).mean(axis=1)
    error = np.abs(by_run.mean(axis=0) - masses @ states / masses.sum())
    assert np.all(error < critical * by_run.std(axis=0, ddof=1) / 32**0.5)


@pytest.mark.slow
def test_an_adaptive_run_tells_where_it_went():
    result = adaptive()
    stages = result.stats["n_stages"]
    longest = int(stages.max())
    for name in ("beta", "ess", "acceptance_rate", "log_evidence_increment", "ess_residual"):
        assert np.shape(result.stats[name]) == (3, longest), name
    for run, count in enumerate(stages):
        temperature = result.stats["beta"][run]
        assert temperature[count - 1] == 1.0
        assert np.all(np.diff(temperature[:count]) > 0)
        assert np.isnan(temperature[count:]).all()
        assert result.stats["ess"][run, : count - 1] == pytest.approx(250, abs=1)
        assert np.abs(result.stats["ess_residual"][run, :count]).max() <= 1e-6
        assert np.nansum(result.stats["log_evidence_increment"][run]) == pytest.approx(result.log_evidence[run])
        assert (result.stats["acceptance_rate"][run, :count] > 0.1).all()
    assert not result.status & Status.NOT_CONVERGED
    assert result.finished == longest


@pytest.mark.slow
def test_stages_that_run_out_are_told():
    ladder = inference.by_ess(0.9, max_stages=2)
    result = inference.tempered_smc(normal, particles=200, runs=2, ladder=ladder)(0, Y)
    assert (result.stats["beta"][:, -1] == 1.0).all()
    assert result.status & Status.NOT_CONVERGED
    assert any("max_stages" in warning for warning in result.warnings)


@pytest.mark.slow
def test_kept_is_what_is_asked_for():
    paths, last = adaptive(), inference.tempered_smc(normal, particles=500, runs=3, keep="last")(0, Y)
    assert set(paths.posterior) == {"mu"} and set(last.posterior) == {"twice"}
    np.testing.assert_array_equal(paths.log_evidence, last.log_evidence)
    np.testing.assert_array_equal(2 * np.asarray(paths.weighted.values["mu"]), last.weighted.values["twice"])


@pytest.mark.slow
def test_a_program_without_data_stays_at_its_prior():
    result = inference.tempered_smc(lambda: sample("x", dist.Normal(0.0, 1.0)), particles=1000)(0)
    assert result.log_evidence[0] == pytest.approx(0, abs=1e-12)
    assert result.stats["n_stages"][0] == 1


def test_contracts_tell_exact_from_consistent():
    mh, given = kernels.mh(), [0.5, 1.0]
    assert inference.tempered_smc(normal, particles=10, kernel=mh, ladder=given, steps=1).contract.exact
    assert not inference.tempered_smc(normal, particles=10, kernel=mh, steps=1).contract.exact
    assert not inference.tempered_smc(normal, particles=10, ladder=given, steps=1).contract.exact


def test_a_plan_says_what_it_does():
    text = inference.tempered_smc(constrained, particles=100).plan(jnp.zeros(3))
    assert "temper(prior_to_posterior(), ess 0.5 N)" in text
    assert "waste_free(population_moves(), 10 chains, systematic)" in text
    assert "2.38^2/d x weighted covariance" in text
    longer = inference.tempered_smc(constrained, particles=100).plan(jnp.zeros(9))
    assert "trajectories of length 1.8, in leapfrogs of 0.53 x the root of the particles' covariance" in longer


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"particles": 0}, "particles: expected"), ({"steps": 0}, "steps: expected"), ({"chains": 0}, "chains: expected"),
     ({"chains": 2, "steps": 3}, "not both"), ({"particles": 97}, "no equal chains"),
     ({"ladder": [0.5]}, "the last power must be 1")],
)  # fmt: skip
def test_a_setting_without_meaning_is_refused(settings, match):
    with pytest.raises(LawfulError, match=match):
        inference.tempered_smc(normal, **({"particles": 100} | settings))


def test_chains_that_do_not_divide_the_particles_are_refused():
    with pytest.raises(LawfulError, match="not a multiple of 7 chains"):
        inference.tempered_smc(normal, particles=100, chains=7)(0, Y)


@pytest.mark.parametrize(
    ("model", "why"), [(lambda: factor("f", 0.1 * sample("n", dist.Poisson(3.0))), "is discrete"),
                       (lambda: branching(1.0), "is discrete")],
)  # fmt: skip
def test_the_walk_refuses_what_it_cannot_move_and_names_the_remedy(model, why):
    with pytest.raises(UnsupportedProgramError, match=rf"{why}.*kernels\.mh\(\)"):
        inference.tempered_smc(model, particles=10)(0)


@pytest.mark.slow
def test_a_nan_weight_is_an_error_that_names_its_site():
    def broken(y):
        x = sample("x", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(jnp.where(x > 1.0, jnp.nan, x), 1.0), obs=y)

    with pytest.raises(NonFiniteError, match="'y'"):
        inference.tempered_smc(broken, particles=100)(0, 0.5)


def test_temper_needs_its_parts_in_order():
    with pytest.raises(LawfulError, match="put Trace before it"):
        inference.temper()(trace(normal, Y))
    with pytest.raises(LawfulError, match="repeat_to_end"):
        (inference.Trace >> inference.temper() >> inference.spawn(2) >> inference.Advance)(trace(normal, Y))


def test_blocks_compose_as_the_documentation_says(false_alarm):
    """The composition by hand is the algorithm: move in the place of waste-free or repeated moves."""
    from lawful import trace
    from lawful.backends.xla import compile

    blocks = inference.Trace >> inference.temper(ladder=[0.01, 0.1, 1.0]) >> inference.spawn(500)
    stage = inference.Advance >> inference.PushEvidence >> inference.resample("systematic")
    whole = blocks >> inference.repeat_to_end(stage >> inference.move(kernels.mh(kernels.random_walk(0.5))))
    form = (whole >> inference.Finish >> inference.Collapse)(trace(normal, Y))
    run = compile(form)
    log_z = np.array([float(run(key, Y)[1]) for key in jax.random.split(key_of("tempered/blocks"), 30)])
    ratio = np.exp(log_z - exact_evidence(Y))
    assert abs(ratio.mean() - 1) < scipy.stats.t.isf(false_alarm / 2, 29) * ratio.std(ddof=1) / 30**0.5
    assert ratio.std(ddof=1) < 1.0


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", [inference.tempered_smc, inference.annealed_importance])
def test_a_program_without_latent_sites_is_refused_with_its_evidence(method):
    def observed(y):
        sample("y", dist.Normal(0.0, 1.0), obs=y)

    with pytest.raises(UnsupportedProgramError, match="no latent site to move. Fix: its log evidence"):
        method(observed, particles=8)(0, 0.3)
    assert np.isclose(trace(observed, 0.3).log_density({}, 0.3), scipy.stats.norm.logpdf(0.3), rtol=1e-12)
