"""Tables of finite sites: each estimator of a gradient is unbiased, by all that may be drawn; answers are weighed."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import UnsupportedProgramError
from lawful.inference import RunOptions
from lawful.inference.check.identities.guide_gradients import GuideGradient, guide_gradients
from lawful.inference.check.rows.normal_rows import LEVELS, levels

DATA = 1.5


@pytest.mark.tier2
@pytest.mark.kills("59g", objective="elbo", draws=2)
@pytest.mark.parametrize("objective", ["elbo", "importance"])
@pytest.mark.parametrize("draws", [1, 2])
def test_gradients_by_scores_are_unbiased(objective, draws):
    """Value and gradient, over all 12 or 144 outcomes of noise and numbers."""
    with jax.enable_x64(True):
        report = guide_gradients(levels, (DATA,), LEVELS, how=GuideGradient(objective, draws))
        assert report.passed and report.instances == 12**draws, report


@pytest.mark.tier2
@pytest.mark.kills("59h")
def test_gradients_by_sums_are_unbiased():
    """Of few values all are summed, so that the noise of the coordinates is all that is left."""
    with jax.enable_x64(True):
        assert guide_gradients(levels, (DATA,), LEVELS, how=GuideGradient(sums=True)).passed


def test_a_program_with_finite_sites_has_its_answer(false_alarm):
    """Evidence and shares are known, by Student's t over 16 runs; the tables go where the posterior is."""

    def near(y):
        a = lawful.sample("a", dist.Bernoulli(0.3))
        b = lawful.sample("b", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
        level = lawful.sample("level", dist.Normal(0.5 * a, 1.0))
        lawful.sample("y", dist.Normal(level + 0.8 * a - 0.5 * b, 1.0), obs=y)

    a, b = np.meshgrid(range(2), range(3), indexing="ij")
    prior = np.array([0.7, 0.3])[a] * np.array([0.2, 0.5, 0.3])[b]
    joint = prior * stats.norm.pdf(DATA, 1.3 * a - 0.5 * b, np.sqrt(2.0))
    result = inference.guide(near, family="normal", particles=500, runs=16)(0, DATA)
    assert result.ok, result.warnings
    assert set(result.posterior) == {"a", "b", "level"} and set(result.guide.tables) == {"a", "b"}
    ratio = np.exp(result.log_evidence - np.log(joint.sum()))
    limit = stats.t.isf(false_alarm / 2, 15) / 4
    assert abs(ratio.mean() - 1) <= limit * ratio.std(ddof=1)
    weight = np.exp(result.weighted.log_weight)
    each = np.sum(weight * result.weighted.values["a"], axis=1) / weight.sum(axis=1)
    assert abs(each.mean() - joint[1].sum() / joint.sum()) <= limit * each.std(ddof=1) + 1e-3
    assert np.argmax(result.guide.tables["a"]) == np.argmax(joint.sum(axis=1))


def test_weights_correct_what_tables_leave_out():
    """The width of the level hangs on a finite site, of which a guide of independent ones knows nothing."""
    a, b = np.meshgrid(range(2), range(3), indexing="ij")
    prior = np.array([0.7, 0.3])[a] * np.array([0.2, 0.5, 0.3])[b]
    known = np.log(np.sum(prior * stats.norm.pdf(DATA, 2.5 * a - b, np.sqrt((1.0 + b) ** 2 + 1))))
    result = inference.guide(levels, family="normal", particles=500, runs=16)(0, DATA)
    assert abs(result.log_evidence_pooled - known) < 6 * result.log_evidence_error < 0.2
    assert known - result.stats["elbo"].mean() > 0.1


def test_tables_begin_where_a_prior_is_flat():
    """A site without draws keeps the others from having any: tables begin even."""

    def flat(y):
        level = lawful.sample("level", dist.ImproperUniform(dist.constraints.real, (), ()))
        z = lawful.sample("z", dist.Bernoulli(0.3))
        lawful.sample("y", dist.Normal(level + z, 1.0), obs=y)

    result = inference.guide(flat, family="normal", paths=2, steps=200)(0, DATA)
    assert abs(result.log_evidence_pooled) < 0.05


def test_many_finite_sites_are_fitted_by_scores():
    """Eight independent coins in a plate: the guide reaches the posterior, whose ELBO is the evidence."""

    def coins(y):
        level = lawful.sample("level", dist.Normal(0.0, 1.0))
        lawful.sample("u", dist.Normal(level, 1.0), obs=0.5)
        with lawful.plate("i", 8):
            z = lawful.sample("z", dist.Bernoulli(0.4))
            lawful.sample("y", dist.Normal(2.0 * z, 1.0), obs=y)

    y = np.linspace(-1.0, 3.0, 8)
    known = stats.norm.logpdf(0.5, 0.0, np.sqrt(2.0)) + np.sum(
        np.log(0.6 * stats.norm.pdf(y) + 0.4 * stats.norm.pdf(y, 2.0))
    )
    result = inference.guide(coins, family="normal", paths=2)(0, y)
    assert result.ok and abs(result.log_evidence_pooled - known) < 0.02
    assert known - result.stats["elbo"].mean() < 0.05
    odds = np.diff(np.asarray(result.guide.tables["z"]), axis=-1)[:, 0]
    np.testing.assert_allclose(odds, np.log(0.4 / 0.6) + 2.0 * y - 2.0, atol=0.5)


def test_a_family_without_steps_and_a_program_of_finite_sites_alone_are_refused():
    with pytest.raises(UnsupportedProgramError, match=r"family='laplace' has no steps.*enumerate='all'"):
        inference.guide(levels, family="laplace")(0, DATA)
    with pytest.raises(UnsupportedProgramError, match=r"all sites are finite.*inference.enumerate"):
        inference.guide(lambda: lawful.sample("a", dist.Bernoulli(0.3)))(0)


@pytest.mark.parametrize("phase", ["paths", "fit"])
def test_a_fit_of_tables_goes_on_where_it_was_stopped(phase, tmp_path):
    """Bit for bit: what paths and tables begin with is made of the key again."""
    settings = {"family": "normal", "paths": 2, "steps": 60, "particles": 20, "runs": 2}
    whole = inference.guide(levels, **settings)(3, DATA)
    stop = RunOptions(chunk=3, checkpoint=tmp_path / phase, callbacks=lambda progress: progress.phase == phase)
    part = inference.guide(levels, run=stop, **settings)(3, DATA)
    found = inference.resume(tmp_path / phase, levels, DATA)
    for name in whole.posterior:
        np.testing.assert_array_equal(found.posterior[name], whole.posterior[name])
    assert not np.array_equal(part.posterior["level"], whole.posterior["level"])
