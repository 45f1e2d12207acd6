"""15.1: a change that changes nothing moves no weight, and a change of arguments moves what the scores say.

A population that is weighted for one scale of the noise is weighted anew for another: each log weight moves by the
difference of two log densities. Inside a filter the same difference is a second factor. Where the old density is not
subtracted the evidence of an identity change falls from -1.515 to -3.948.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, sample
from lawful.inference import kernels
from lawful.inference.check import key_of, one, unbiased
from tests.inference.kernels.transition import Transition

Y, PARTICLES = 1.0, 200_000
LOG_EVIDENCE = {1.0: -1.5155, 2.0: -1.8237}
MEAN = {1.0: 1 / 2, 2.0: 1 / 5}


def noisy(y, s):
    x = sample("x", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(x, s), obs=y)


def exact(s):
    """Log evidence without the rounding of the table: y is normal with variance 1 + s^2."""
    return float(dist.Normal(0.0, np.sqrt(1 + s**2)).log_prob(Y))


def changed(result, s):
    """The particles of every run under another scale: log weights with which a run is an estimate of the measure."""
    x, weight = np.asarray(result.weighted.values["x"]), np.asarray(result.weighted.log_weight)
    score = jax.vmap(jax.vmap(lambda x, s: result.form.log_density({"x": x}, Y, s), (0, None)), (0, None))
    change = np.asarray(score(x, s)) - np.asarray(score(x, result.args[1]))
    return x, weight + change + np.asarray(result.log_evidence)[:, None] - np.log(x.shape[1])


def log_sum(log_weights):
    return np.logaddexp.reduce(log_weights, axis=1)


@pytest.mark.regression("15.1a")
@pytest.mark.parametrize("s", LOG_EVIDENCE)
def test_an_identity_change_leaves_the_evidence_of_200_000_particles(s):
    result = inference.importance(noisy, particles=PARTICLES)(key_of("r01/identity"), Y, s)
    x, log_weights = changed(result, s)
    np.testing.assert_allclose(log_sum(log_weights), result.log_evidence, rtol=0, atol=1e-6)
    assert exact(s) == pytest.approx(LOG_EVIDENCE[s], abs=1e-4)
    assert float(result.log_evidence[0]) == pytest.approx(exact(s), abs=0.01)
    assert np.sum(x * np.exp(log_weights - log_sum(log_weights)[:, None])) == pytest.approx(MEAN[s], abs=0.01)


@pytest.mark.optimised
@pytest.mark.regression("15.1b")
def test_a_change_of_the_scale_is_properly_weighted():
    """Both the evidence and the integral of x at s = 2, from populations that were weighted for s = 1."""
    plan = inference.importance(noisy, particles=20, runs=2_000)

    def change(keys):
        runs = [changed(plan(keys[start], Y, 1.0), 2.0) for start in range(0, len(keys), 2_000)]
        x, log_weights = (np.concatenate(parts) for parts in zip(*runs, strict=True))
        return x, log_weights

    def x(draws):
        return draws

    evidence = np.exp(exact(2.0))
    report = unbiased(change, {one: evidence, x: evidence * MEAN[2.0]}, n=4_000, key=key_of("r01/change"))
    report.raise_if_failed()
    assert report.detects(0.1)


def weighted_twice(y, old, new):
    """The population of the scale `old`, and a factor that changes it to the scale `new`."""
    x = sample("x", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(x, old), obs=y)
    factor("change", dist.Normal(x, new).log_prob(y) - dist.Normal(x, old).log_prob(y))


@pytest.mark.rest_slow
@pytest.mark.regression("15.1a")
@pytest.mark.parametrize("threshold", [0.0, 0.9, None])
def test_a_filter_in_which_nothing_changes_adds_nothing_to_its_evidence(threshold):
    plan = inference.smc(weighted_twice, particles=PARTICLES, cuts="factors", resample_below=threshold)
    result = plan(key_of("r01/filter"), Y, 1.0, 1.0)
    increments = result.stats["log_evidence_increment"][0]
    assert increments.shape == (2,)
    assert increments[1] == pytest.approx(0.0, abs=1e-6)
    assert increments[0] == pytest.approx(exact(1.0), abs=0.01)


@pytest.mark.optimised
@pytest.mark.regression("15.1b")
def test_a_filter_that_changes_the_scale_is_unbiased():
    plan = inference.smc(weighted_twice, particles=20, cuts="factors", runs=2_000, resample_below=0.9)

    def evidence(keys):
        starts = range(0, len(keys), 2_000)
        return np.concatenate([np.asarray(plan(keys[start], Y, 1.0, 2.0).log_evidence) for start in starts])

    report = unbiased(evidence, exact(2.0), n=4_000, key=key_of("r01/filter change"))
    report.raise_if_failed()
    assert report.detects(0.1)


def near(current):
    sample("x", dist.Normal(current["x"], 1.0))


@pytest.mark.regression("15.1a")
@pytest.mark.parametrize("kernel", [kernels.mh(near), kernels.mh()], ids=repr)
def test_a_move_to_the_same_value_leaves_the_log_density(kernel):
    """A kernel carries its log density from step to step by what the move changes; it is scored when it is read."""
    transition = Transition(noisy, kernel, Y, 2.0)
    start = transition.state({"x": 0.3})
    given = {address: {"x": jnp.array(0.3), "accept": True, "part": 0}[address[-1]] for address in transition.own}
    after, _ = transition.step(start, given)
    assert after[-1] == pytest.approx(start[-1], rel=1e-15)
