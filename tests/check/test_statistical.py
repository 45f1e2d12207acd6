import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError, NonFiniteError
from lawful.inference.check import key_of, one, unbiased

# x ~ Bernoulli(1/3), weight 1 for 0 and 2 for 1: Z = 4/3, the integral of x is 2/3.
LOG_Z = math.log(4 / 3)


def coin(draws):
    """The value drawn."""
    return draws


def importance(particles=1, shift=0.0, seen=lambda x: x, scale=2.0):
    """Importance sampling of the coin; `shift` biases the log weights, `scale` is the weight of heads."""

    @jax.jit
    def estimator(keys):
        x = jax.vmap(lambda key: jax.random.bernoulli(key, 1 / 3, (particles,)))(keys)
        log_weights = jnp.where(x, jnp.log(scale), 0.0) - jnp.log(particles) + shift
        return seen(x.astype(float)), log_weights

    return estimator


def evidence_only(shift=0.0, dtype=jnp.float64):
    def estimator(keys):
        return jax.nn.logsumexp(importance(4)(keys)[1] + shift, axis=1).astype(dtype)

    return estimator


@pytest.mark.tier2
@pytest.mark.parametrize("particles", [1, 4])
def test_a_properly_weighted_estimator_passes(particles):
    report = unbiased(importance(particles), {one: 4 / 3, coin: 2 / 3})
    assert report.passed, report
    assert report.bound == "normal"
    assert 0 < report.min_detectable_effect < 0.1
    assert report.power == 0.99


@pytest.mark.tier2
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_both_precisions_pass(dtype):
    report = unbiased(evidence_only(dtype=dtype), LOG_Z)
    assert report.passed
    assert report.environment["dtype"] == dtype.__name__


@pytest.mark.tier2
def test_a_bias_of_the_stated_size_is_found():
    effect = unbiased(evidence_only(), LOG_Z, n=4_000).min_detectable_effect
    report = unbiased(evidence_only(shift=math.log1p(effect)), LOG_Z, n=4_000)
    assert report.status == "failed"
    assert report.worst[1] == pytest.approx(1 + effect, rel=0.02)
    assert report.detects(1.05 * effect)


@pytest.mark.tier2
def test_ignored_weights_are_found_by_a_function_that_is_not_constant():
    def estimator(keys):
        x, log_weights = importance(4)(keys)
        total = jax.nn.logsumexp(log_weights, axis=1, keepdims=True)
        return x, jnp.broadcast_to(total - jnp.log(4), x.shape)

    assert unbiased(estimator, LOG_Z)
    report = unbiased(estimator, {one: 4 / 3, coin: 2 / 3})
    assert report.status == "failed"
    assert report.worst[0] == "coin"


def test_the_mean_of_log_evidence_is_not_what_is_tested():
    # One particle: E[log Z-hat] is 0.23 against log Z = 0.29, and the estimator is lawful.
    assert unbiased(lambda keys: importance()(keys)[1][:, 0], LOG_Z)


@pytest.mark.tier2
def test_evidences_far_from_one_keep_their_digits():
    report = unbiased(evidence_only(shift=-5_000.0), LOG_Z - 5_000)
    assert report.passed
    assert report.evidence_ratio == pytest.approx(1, abs=0.02)


def test_an_exact_estimator_passes_despite_rounding():
    report = unbiased(lambda keys: jnp.full(len(keys), LOG_Z), LOG_Z, n=100)
    assert report.passed
    assert report.min_detectable_effect < 1e-12
    assert not unbiased(lambda keys: jnp.full(len(keys), LOG_Z + 1e-9), LOG_Z, n=100)


@pytest.mark.tier2
def test_a_wild_estimator_is_refused_with_the_number_of_particles_it_needs():
    def estimator(keys):  # weight 400 with probability 1/400: relative sd 20
        return jax.vmap(lambda key: jnp.where(jax.random.bernoulli(key, 1 / 400), jnp.log(400.0), -jnp.inf))(keys)

    report = unbiased(estimator, 0.0)
    assert report.status == "refused"
    assert not report.detects(math.inf)
    assert "times as many particles" in report.remarks


@pytest.mark.tier2
def test_a_proved_bound_carries_the_claim_without_a_normal_approximation():
    report = unbiased(evidence_only(), LOG_Z, upper=1.5)
    assert report.passed
    assert report.bound == "finite-sample"
    effect = report.min_detectable_effect
    assert unbiased(evidence_only(shift=-math.log1p(effect)), LOG_Z, upper=1.5).status == "failed"


def test_a_wrong_bound_is_an_error():
    with pytest.raises(LawfulError, match="upper"):
        unbiased(evidence_only(), LOG_Z, upper=1.1)


@pytest.mark.tier2
@pytest.mark.slow
@pytest.mark.parametrize("upper", [1.5, None])
def test_simulated_false_alarms_stay_below_alpha(upper):
    # 1,000 keys at alpha 1e-2: a lawful check gives more than 25 alarms with probability below 2e-5.
    sample = jax.jit(evidence_only())
    alarms = 0
    for seed in range(1_000):
        report = unbiased(
            sample, LOG_Z, n=200, stages=3, alpha=1e-2, key=key_of("false alarms", fresh=seed), upper=upper
        )
        alarms += report.status == "failed"
    assert alarms <= 25


def test_bad_weights_name_themselves():
    with pytest.raises(NonFiniteError, match="NaN"):
        unbiased(lambda keys: jnp.full(len(keys), jnp.nan), 0.0, n=10)


def test_weights_of_zero_count_for_nothing():
    def estimator(keys):
        x = jax.vmap(lambda key: jax.random.bernoulli(key))(keys)
        return jnp.where(x, 1.0, jnp.inf), jnp.where(x, 0.0, -jnp.inf)

    assert unbiased(estimator, {coin: 0.5})


@pytest.mark.parametrize(
    ("truth", "functions", "words"),
    [
        (-math.inf, None, "exact checks"),
        ({coin: 0.0}, None, "add a constant"),
        (0.0, [coin], "log Z alone"),
        ({one: 1.0}, [coin], "no exact integral"),
        ({}, None, "no function"),
    ],
)
def test_truths_without_a_ratio_are_refused(truth, functions, words):
    with pytest.raises(LawfulError, match=words):
        unbiased(evidence_only(), truth, functions=functions)


def test_a_function_needs_draws_of_the_right_shape():
    with pytest.raises(LawfulError, match="log Z-hat alone"):
        unbiased(evidence_only(), {coin: 2 / 3})
    with pytest.raises(LawfulError, match="expected"):
        unbiased(importance(4, seen=lambda x: np.zeros(3)), {coin: 2 / 3})
