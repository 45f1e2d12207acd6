"""Sensitivity to the prior: the ratio of evidences is the mean ratio of priors over the posterior."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import halfnorm, norm

from lawful.errors import LawfulError
from lawful.inference import pooled_evidence
from lawful.models.trajectories import Priors, TrajectoryMixture, prior_sensitivity

GIVEN = {"y_var": "Y", "t_var": "T", "records": range(1, 4)}
SMALL = {"particles": 512, "runs": 4, "leapfrogs": 4, "start": "prior"}


@pytest.fixture(scope="module")
def found():
    """One class of lines, twelve persons."""
    rng = np.random.default_rng(1)
    t = np.array([0.0, 2.0, 5.0])
    y = 3 + rng.normal(size=(12, 1)) + (1 + 0.3 * rng.normal(size=(12, 1))) * t + 0.5 * rng.normal(size=(12, 3))
    data = {f"Y{j + 1}": y[:, j] for j in range(3)} | {f"T{j + 1}": np.full(12, t[j]) for j in range(3)}
    return TrajectoryMixture(1, "LIN").bayes(data, **GIVEN, key=0, **SMALL), data


@pytest.mark.slow
def test_draws_are_weighed_by_the_ratio_of_the_priors(found):
    posterior, _ = found
    table = prior_sensitivity(posterior, ["level", "noise"], [0.5, 2.0]).set_index(["scale", "factor"])
    level, noise = posterior.sites["mean"][..., 0, 0], posterior.sites["noise"][..., 0]
    for name, law, draws, scale in (("level", norm, level, 1.5), ("noise", halfnorm, noise, 0.5)):
        for factor in (0.5, 2.0):
            ratio = law.pdf(draws, scale=factor * scale) / law.pdf(draws, scale=scale)
            row = table.loc[(name, factor)]
            assert row.difference == pytest.approx(np.log(ratio.mean()), rel=1e-10)
            assert row.log_evidence == pytest.approx(posterior.log_evidence + row.difference)
            assert row.share == pytest.approx(ratio.sum() ** 2 / (ratio**2).sum() / ratio.size, rel=1e-10)
            by_run = ratio.mean(axis=1) / ratio.mean()
            error = pooled_evidence(np.log(by_run))[1]  # few runs: by Student's t at least
            assert by_run.std(ddof=1) / 2 < row.error == pytest.approx(error, rel=1e-9)
            assert row.value == factor * scale


@pytest.mark.slow
def test_scales_that_the_model_lacks_have_no_row(found):
    table = prior_sensitivity(found[0])
    assert list(table.scale.unique()) == ["level", "slope", "level_spread", "slope_spread", "concentration", "noise"]
    assert np.isfinite(table.difference).all() and not table.new.any()


@pytest.mark.slow
def test_where_draws_do_not_overlap_a_new_run_gives_the_same_as_the_other_prior(found):
    posterior, data = found
    nothing = prior_sensitivity(posterior, ["slope"], [0.5], least=1.0)
    assert nothing.difference.isna().all() and not nothing.new.any()
    row = prior_sensitivity(posterior, ["slope"], [0.5], least=1.0, key=3).iloc[0]
    weighed = prior_sensitivity(posterior, ["slope"], [0.5]).iloc[0]
    assert row.new and abs(row.difference - weighed.difference) < 5 * np.hypot(row.error, weighed.error)
    other = TrajectoryMixture(1, "LIN").bayes(data, **GIVEN, key=5, priors=Priors(slope=2.0), **SMALL)
    assert abs(other.log_evidence - weighed.log_evidence) < 6 * np.hypot(other.log_evidence_error, weighed.error)


@pytest.mark.slow
def test_what_cannot_be_told_is_refused(found):
    posterior, _ = found
    with pytest.raises(LawfulError, match="scales=.*'width'.*Fix: name fields of Priors: level"):
        prior_sensitivity(posterior, ["width"])
    with pytest.raises(LawfulError, match="factors=.*Fix"):
        prior_sensitivity(posterior, factors=[0.0])
    chains = replace(posterior, result=replace(posterior.result, log_evidence=None))
    with pytest.raises(LawfulError, match="have no evidence. Fix"):
        prior_sensitivity(chains)
