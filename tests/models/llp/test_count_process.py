"""The count process: the mode of an exact posterior, and scores that are those of fits without the row's own bag."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from lawful.models.llp import Bags, count_process, posterior_given_counts
from lawful.models.llp.bag_process import BagProcess
from lawful.models.llp.bags import members
from lawful.models.llp.count_process import LEVEL, CountProcess
from lawful.models.llp.feature_maps import Kernel

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(60, 3)).astype(np.float32)
Y = (X[:, 0] + 0.7 * RANDOM.normal(size=60) > 0.2).astype(int)
IDS = np.append(np.repeat(np.arange(18), 3), np.full(6, -1))
BAGS = Bags.from_labels(Y, IDS)
PROCESS = BagProcess(kernels=(Kernel(0.25),), shares=(0.4,))


def by_enumeration(bags, weights, phi, rate):
    """Log posterior of weights (D + 1), by all labellings of each bag."""
    z = phi @ weights + logit(rate)
    total = 0.0
    for b in np.flatnonzero(bags.known):
        own = bags.members_of(int(b))
        fits = [y for y in itertools.product((0, 1), repeat=len(own)) if sum(y) == bags.counts[b]]
        total += np.logaddexp.reduce([np.dot(y, z[own]) for y in fits]) - np.logaddexp(0, z[own]).sum()
    v = rate * (1 - rate)
    # The last feature is the unusualness, of variance one, times sqrt(0.1 / 1.1); its prior mean is 1 - 2 pi over four.
    ahead = np.append(np.zeros(len(weights) - 2), 0.25 * (1 - 2 * rate) * v**0.5 * (1.1 / 0.1) ** 0.5 / (v * 0.6))
    return total - 0.5 * (0.36 * v / 0.4 * np.sum((weights[:-1] - ahead) ** 2) + LEVEL * weights[-1] ** 2)


def mode(bags, phi, rate):
    """Log odds of all rows at the largest posterior."""
    found = minimize(lambda w: -by_enumeration(bags, w, phi, rate), np.zeros(phi.shape[1]), options={"gtol": 1e-6})
    return phi @ found.x + logit(rate)


def centred(bags):
    """Features as the process has them, with a one."""
    side = PROCESS.evidence(X, bags).sides[0]
    return np.column_stack([(side.phi(X).astype(float) - side.mean) / side.size, np.ones(60)])


@pytest.mark.kills("40m")
def test_the_fit_is_the_mode_of_prior_and_exact_likelihood():
    found = CountProcess(PROCESS).fit(X, BAGS).logits(X)
    np.testing.assert_allclose(found, mode(BAGS, centred(BAGS), BAGS.base_rate), atol=5e-3)  # root of a gain


def test_scores_out_of_bag_are_close_to_fits_without_the_bag():
    fitted = CountProcess(PROCESS).fit(X, BAGS)
    unseen, seen = fitted.details["out_of_bag"](), fitted.logits(X)
    phi, apart, moved = centred(BAGS), [], []
    for b in range(0, 18, 5):
        counts = np.where(np.arange(18) == b, np.nan, BAGS.counts)
        own = BAGS.members_of(b)
        expected = mode(Bags.from_ids(IDS, counts), phi, BAGS.base_rate)[own]
        apart.append(unseen[own] - expected)
        moved.append(seen[own] - expected)
    assert np.std(apart) < 0.4 * np.std(moved)  # one step, of eighteen bags; with more it is nearer
    np.testing.assert_allclose(unseen[54:], seen[54:])  # rows in no bag have no bag to leave out


@pytest.mark.kills("40k")
def test_the_step_without_a_bag_is_that_of_fisher_without_its_information():
    fitted = CountProcess(PROCESS).fit(X, BAGS)
    phi, z = centred(BAGS), fitted.logits(X)
    p, q = expit(z), np.asarray(posterior_given_counts(z, BAGS))
    v = BAGS.base_rate * (1 - BAGS.base_rate)
    owns = [BAGS.members_of(b) for b in range(18)]
    slopes = [phi[o].T @ (p * (1 - p))[o] / np.sqrt(np.sum((p * (1 - p))[o])) for o in owns]
    whole = np.diag([0.36 * v / 0.4] * 4 + [LEVEL]) + sum(np.outer(a, a) for a in slopes)
    unseen = fitted.details["out_of_bag"]()
    for o, a in zip(owns, slopes, strict=True):
        step = np.linalg.solve(whole - np.outer(a, a), phi[o].T @ (q - p)[o])
        np.testing.assert_allclose(unseen[o], z[o] - phi[o] @ step, atol=1e-3)


def test_parts_of_bags_and_of_rows_give_the_same_fit(monkeypatch):
    whole = CountProcess(PROCESS).fit(X, BAGS)
    monkeypatch.setattr(members, "ROWS", 7)
    monkeypatch.setattr(count_process, "KEPT", 0)
    parts = CountProcess(PROCESS).fit(X, BAGS)
    np.testing.assert_allclose(parts.logits(X), whole.logits(X), atol=1e-4)
    np.testing.assert_allclose(parts.details["out_of_bag"](), whole.details["out_of_bag"](), atol=1e-4)


def test_kernels_that_are_improbable_are_not_fitted_and_the_others_are_averaged():
    two = BagProcess(kernels=(Kernel(0.25), Kernel(1.0)), shares=(0.4,))
    chance = two.fit(X, BAGS).details["kernels"]
    alone = [CountProcess(BagProcess(kernels=(k,), shares=(0.4,))).fit(X, BAGS).logits(X) for k in two.kernels]
    both = CountProcess(two, least=0.0).fit(X, BAGS).logits(X)
    np.testing.assert_allclose(both, chance @ np.array(alone), atol=1e-4)
    best = CountProcess(two, least=1.0).fit(X, BAGS).logits(X)
    np.testing.assert_allclose(best, alone[int(np.argmax(chance))], atol=1e-4)


def test_a_kernel_whose_probability_is_zero_is_left_out_without_a_warning(monkeypatch):
    two = BagProcess(kernels=(Kernel(0.25), Kernel(1.0)), shares=(0.4,))
    evidence = two.evidence(X, BAGS)
    found = []
    for chance in (0.0, 1e-300):
        told = evidence._replace(weights=np.array([[chance], [1.0]]))
        monkeypatch.setattr(BagProcess, "evidence", lambda self, X, bags, *, seed=0, told=told: told)
        found.append(CountProcess(two).fit(X, BAGS).logits(X))
    np.testing.assert_array_equal(*found)


def test_counts_that_part_the_rows_altogether_have_a_finite_fit():
    x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
    bags = Bags.from_labels((x[:, 0] > 0).astype(int), np.arange(40) // 2)
    fitted = CountProcess(BagProcess(kernels=(Kernel(), Kernel(0.0, 1.4)), features=20)).fit(x, bags)
    z = fitted.logits(x)
    assert np.isfinite(z).all() and np.all(np.sign(z) == np.sign(x[:, 0]))
    assert np.isfinite(fitted.details["out_of_bag"]()).all()


@pytest.mark.rest_slow
@pytest.mark.parametrize("size", [1, 6])
def test_rows_whose_label_is_told_by_others_count_for_less(size):
    """With labels known (bags of one) it is logistic regression with a normal prior."""
    bags = Bags.from_labels(Y, np.arange(60) // size)
    z = CountProcess(PROCESS).fit(X, bags).logits(X)
    np.testing.assert_allclose(expit(z), expit(mode(bags, centred(bags), bags.base_rate)), atol=1e-3)
