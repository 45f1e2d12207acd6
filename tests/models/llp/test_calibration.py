"""Calibration: the likeliest scale of log odds by the counts of bags, and nothing steeper than these can tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError, NonFiniteError
from lawful.models.llp import Bags, calibrated, count_log_likelihood
from lawful.models.llp.labels.calibration import recalibrated
from lawful.models.llp.labels.likelihood import count_score
from lawful.models.llp.training.fitted import Fitted

N, SIZE = 1200, 4


def told(seed=2):
    """Log odds three times too steep and shifted, with counts by the right ones."""
    rng = np.random.default_rng(seed)
    z = 1.5 * rng.normal(size=N)
    labels = rng.random(N) < 1 / (1 + np.exp(0.7 - z))
    return 3 * z + 1, Bags.from_labels(labels.astype(int), np.arange(N) // SIZE)


def log_likelihood(z, bags):
    return float(np.sum(count_log_likelihood(z, bags)))


def test_scale_and_shift_are_found_and_no_neighbour_of_them_is_likelier():
    z, bags = told()
    found = calibrated(z, bags)
    assert found.slope == pytest.approx(1 / 3, abs=0.1) and found.slope + found.shift == pytest.approx(-0.7, abs=0.3)
    best = log_likelihood(found(z), bags)
    for slope, shift in ((1.02, 0), (0.98, 0), (1, 0.02), (1, -0.02)):
        assert log_likelihood(found.slope * slope * z + found.shift + shift, bags) < best
    shifted = calibrated(z, bags, slope="one")
    assert shifted.slope == 1
    assert all(
        log_likelihood(z + shifted.shift + off, bags) < log_likelihood(shifted(z), bags) for off in (-0.02, 0.02)
    )


def test_bags_that_are_not_looked_at_do_not_matter():
    z, bags = told()
    which = np.arange(bags.n_bags) % 2 == 0
    found, alone = calibrated(z, bags, which), calibrated(z, bags.take(which))
    np.testing.assert_allclose([found.slope, found.shift], [alone.slope, alone.shift], rtol=1e-6)
    assert abs(found.shift - calibrated(z, bags).shift) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["apart", "overlapping", "classes"])
def test_the_score_is_the_gradient_of_the_likelihood(kind):
    rng = np.random.default_rng(0)
    z = jnp.asarray(rng.normal(size=(6, 3) if kind == "classes" else 6))
    if kind == "overlapping":
        bags = Bags.from_membership([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1]], [1, 2, 1])
    else:
        counts = [[1, 1, 1], [0, 2, 0], [1, 0, 0]] if kind == "classes" else [1, 2, 1]
        bags = Bags.from_ids([0, 0, 0, 1, 1, 2], counts)
    which = np.array([True, True, False])

    def chosen(z):
        z = z if z.ndim == 1 else jax.nn.log_softmax(z)
        return jnp.sum(jnp.where(which, count_log_likelihood(z, bags), 0))

    scored = count_score(z if z.ndim == 1 else jax.nn.log_softmax(z), bags, which)
    value, slope = jax.value_and_grad(chosen)(z)
    np.testing.assert_allclose(scored.log_likelihood.sum(), value, rtol=1e-10)
    np.testing.assert_allclose(scored.slope, slope, rtol=1e-8, atol=1e-12)


def test_two_classes_are_calibrated_as_ones_and_others():
    z, bags = told()
    scores = np.stack([-np.logaddexp(0, z), -np.logaddexp(0, -z)], axis=1)
    both = Bags.from_ids(bags.ids, np.stack([bags.sizes - bags.counts, bags.counts], axis=1))
    found, ones = calibrated(scores, both), calibrated(z, bags)
    mapped = found(scores)
    np.testing.assert_allclose(mapped[:, 1] - mapped[:, 0], ones(z), atol=1e-3)
    np.testing.assert_allclose(np.exp(mapped).sum(axis=1), 1)


def test_few_bags_do_not_make_log_odds_steeper():
    rng = np.random.default_rng(3)
    z = rng.normal(size=60)
    labels = rng.random(60) < 1 / (1 + np.exp(-6 * z))
    few = Bags.from_labels(labels.astype(int), np.arange(60) // SIZE)
    assert calibrated(z, few).slope <= 1 < calibrated(z, few, slope="free").slope


def test_log_odds_that_run_against_the_counts_are_taken_for_nearly_nothing_and_keep_their_order():
    z, bags = told()
    found, confirmed = calibrated(-z, bags), calibrated(z, bags)
    mapped = found(-z)
    assert found.flat and not confirmed.flat
    assert np.std(mapped) == pytest.approx(0.01, rel=1e-9)
    assert np.mean(mapped) == pytest.approx(np.log(bags.base_rate / (1 - bags.base_rate)), abs=0.01)
    np.testing.assert_array_equal(np.argsort(mapped), np.argsort(-z))


def test_log_odds_all_alike_are_moved_and_not_made_steeper():
    bags = told()[1]
    found = calibrated(np.full(N, 3.0), bags)
    assert found.slope == 1 and not found.flat
    assert 3 + found.shift == pytest.approx(np.log(bags.base_rate / (1 - bags.base_rate)), abs=1e-4)


@pytest.mark.parametrize("report", [0, SIZE])
def test_counts_of_one_label_alone_leave_log_odds_as_they_are(report):
    z, bags = told()
    rest = Bags.from_ids(bags.ids, np.where(np.arange(bags.n_bags) < 30, report, bags.counts))
    found = calibrated(z, rest, np.arange(bags.n_bags) < 30)  # the likeliest shift is infinite
    assert found.slope == 1 and found.shift == 0


def test_separable_counts_leave_the_slope_finite():
    z = np.repeat([-1.0, 1.0], 40)
    found = calibrated(z, Bags.from_ids(np.arange(80) // 2, np.repeat([0, 2], 20)))
    assert 3 < found.slope <= 20


def test_the_map_stands_behind_a_fitted_learner():
    z, bags = told()
    found = calibrated(z, bags)
    fitted = recalibrated(Fitted(lambda X: X[:, 0], lambda X: X[:, 0]), found)
    np.testing.assert_array_equal(fitted.logits(z[:, None]), found.slope * z + found.shift)


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(NonFiniteError, match="impossible.*Fix"):
        calibrated(np.full(4, -np.inf), Bags.from_ids([0, 0, 0, 0], [2]))
    with pytest.raises(LawfulError, match="slope='steep'.*Fix"):
        calibrated(np.zeros(2), Bags.from_ids([0, 0], [1]), slope="steep")
