"""The bag process: textbook Gaussian regression on the sums of bags, with exact evidence and exact left-out scores."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from lawful.errors import ObservationError
from lawful.models.llp import Bags
from lawful.models.llp.bag_process import BagProcess
from lawful.models.llp.bags import members
from lawful.models.llp.feature_maps import Kernel, feature_map, scaling

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(60, 4)).astype(np.float32)
X[:, 3] = RANDOM.integers(0, 2, 60)
Y = (X[:, 0] + 0.5 * RANDOM.normal(size=60) > 0.3).astype(int)
IDS = np.append(np.repeat(np.arange(12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 3, 3]), np.full(6, -1))
KERNELS = [(Kernel(0.25), 4), (Kernel(0.5, 1.5), 30)]  # fewer features than bags, and more


def by_hand(kernel, features, bags):
    """Features of rows, scaled, and centred sums of bags with their targets."""
    inside = bags.memberships > 0
    raw = feature_map(scaling(X[inside]), kernel, features, 0)(X).astype(float)
    rate = bags.base_rate
    phi = raw - raw[inside].mean(axis=0)
    unusual = 0.25 * (1 - 2 * rate) * np.sqrt(rate * (1 - rate)) * phi[:, -1]
    phi[:, :-1] /= np.sqrt(np.mean(np.sum(phi[inside, :-1] ** 2, axis=1)))
    phi[:, -1] *= np.sqrt(0.1)
    phi /= np.sqrt(1.1)
    sums = np.array([np.column_stack([phi, unusual])[bags.members_of(b)].sum(axis=0) for b in range(bags.n_bags)])
    Z, ahead = np.split(sums / np.sqrt(bags.sizes)[:, None], [-1], axis=1)
    return phi, Z, (bags.counts - bags.sizes * rate) / np.sqrt(bags.sizes) - ahead[:, 0], rate, unusual


@pytest.mark.parametrize(("kernel", "features"), KERNELS)
def test_scores_and_evidence_are_those_of_the_covariance_of_bags(kernel, features):
    bags, shares = Bags.from_labels(Y, IDS), (0.1, 0.5)
    fitted = BagProcess(kernels=(kernel,), features=features, shares=shares).fit(X, bags)
    phi, Z, target, rate, unusual = by_hand(kernel, features, bags)
    v = rate * (1 - rate)
    logs, means = [], []
    for share in shares:
        covariance = share * v * Z @ Z.T + (1 - share) * v * np.eye(12)
        logs.append(multivariate_normal.logpdf(target, np.zeros(12), covariance))
        means.append(share * v * phi @ Z.T @ np.linalg.solve(covariance, target))
    logs = np.array(logs) + np.log([0.1**2 * 0.9**4, 0.5**2 * 0.5**4]) - np.log(0.1**2 * 0.9**4 + 0.5**6)
    weights = np.exp(logs - np.logaddexp(*logs))
    np.testing.assert_allclose(fitted.details["log_evidence"], np.logaddexp(*logs), rtol=1e-5)
    np.testing.assert_allclose(fitted.details["share"], weights @ shares, rtol=1e-5)
    np.testing.assert_allclose(fitted.decision_function(X), rate + unusual + weights @ np.array(means), atol=1e-5)


@pytest.mark.kills("40l", kernel=Kernel(0.25), features=4)
@pytest.mark.parametrize(("kernel", "features"), KERNELS)
def test_a_row_is_scored_by_all_bags_but_its_own(kernel, features):
    bags, share = Bags.from_labels(Y, IDS), 0.3
    fitted = BagProcess(kernels=(kernel,), features=features, shares=(share,)).fit(X, bags)
    phi, Z, target, rate, unusual = by_hand(kernel, features, bags)
    expected = fitted.decision_function(X)
    for b in range(12):
        kept = np.arange(12) != b
        covariance = share * Z[kept] @ Z[kept].T + (1 - share) * np.eye(11)
        m = bags.members_of(b)
        expected[m] = rate + unusual[m] + share * phi[m] @ Z[kept].T @ np.linalg.solve(covariance, target[kept])
    expected = np.clip(expected, 0.005, 0.995)
    found = 1 / (1 + np.exp(-fitted.details["out_of_bag"]()))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_turning_all_labels_around_turns_all_scores_around():
    first, second = (BagProcess(features=30).fit(X, Bags.from_labels(y, IDS)).decision_function(X) for y in (Y, 1 - Y))
    np.testing.assert_allclose(first, 1 - second, atol=1e-5)


def test_before_counts_tell_otherwise_the_rarer_label_is_that_of_unusual_rows():
    distance = scaling(X).unusual(scaling(X).columns(X))
    covariance = np.linalg.inv(np.cov(scaling(X).columns(X), rowvar=False, bias=True))
    mahalanobis = np.einsum("ni,ij,nj->n", scaling(X).columns(X), covariance, scaling(X).columns(X))
    known = np.log1p(mahalanobis)
    np.testing.assert_allclose(distance, (known - known.mean()) / known.std(), atol=1e-4)
    rare = BagProcess(features=30).fit(X, Bags.from_ids(np.zeros(60, int), [12])).decision_function(X)
    np.testing.assert_allclose(np.corrcoef(rare, distance)[0, 1], 1, atol=1e-5)  # one bag has no differences to tell
    even = BagProcess(features=30).fit(X, Bags.from_ids(np.zeros(60, int), [30])).decision_function(X)
    np.testing.assert_allclose(even, 0.5, atol=1e-5)


def test_rows_that_are_all_as_unusual_are_told_apart_by_nothing():
    few = X[:4]  # as many rows as columns: every one is as far from their mean
    assert not np.any(scaling(few).unusual(scaling(few).columns(few)))


def test_kernels_are_weighted_by_their_evidence():
    bags = Bags.from_labels(Y, IDS)
    alone = [BagProcess(kernels=(kernel,), features=4).fit(X, bags) for kernel in (Kernel(), Kernel(1.0))]
    both = BagProcess(kernels=(Kernel(), Kernel(1.0)), features=4).fit(X, bags)
    logs = np.array([fitted.details["log_evidence"] for fitted in alone])
    weights = np.exp(logs - np.logaddexp(*logs))
    np.testing.assert_allclose(both.details["kernels"], weights, rtol=1e-5)
    mixed = weights @ np.array([fitted.decision_function(X) for fitted in alone])
    np.testing.assert_allclose(both.decision_function(X), mixed, rtol=1e-5)


@pytest.mark.parametrize(("kernel", "features"), KERNELS)
def test_bags_some_at_a_time_are_all_bags_and_a_fit_keeps_nothing_of_them(kernel, features, monkeypatch):
    bags, process = Bags.from_labels(Y, IDS), BagProcess(kernels=(kernel,), features=features, shares=(0.1, 0.5))
    whole = process.fit(X, bags)
    expected = whole.details["log_evidence"], whole.decision_function(X), whole.details["out_of_bag"]()
    monkeypatch.setattr(members, "ROWS", 7)  # most bags are a run of their own, and two are cut
    parts = process.fit(X, bags)
    found = parts.details["log_evidence"], parts.decision_function(X), parts.details["out_of_bag"]()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    (side,) = parts.decision_function.keywords["sides"]
    widest = max(np.size(part) for part in side if isinstance(part, np.ndarray))
    assert widest <= side.phi.width * min(side.phi.width, bags.n_bags)


def test_units_of_a_column_and_codes_of_an_indicator_do_not_matter():
    bags, process = Bags.from_labels(Y, IDS), BagProcess(features=20)
    other = X * np.array([1000.0, 1, 1, 7], np.float32) + np.array([5.0, 0, 0, 3], np.float32)
    first, second = (process.fit(x, bags).decision_function(x) for x in (X, other))
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_an_indicator_keeps_its_variance_and_a_constant_column_has_no_weight():
    x = np.array([[0.0, 3.0, 5.0], [1.0, 4.0, 5.0], [0.0, 8.0, 5.0], [0.0, 9.0, 5.0]])
    found = scaling(x).columns(x)
    np.testing.assert_allclose(found.std(axis=0), [np.sqrt(3) / 4, 1, 0], rtol=1e-6)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_waves_approach_their_kernel(power):
    scaled = scaling(X)
    phi = feature_map(scaled, Kernel(power, 1.2), 60_000, 4)(X[:9])
    turned = scaled.columns(X[:9]) @ scaled.directions * scaled.variances**power
    gaps = np.sum((turned[:, None] - turned[None]) ** 2, axis=-1)
    total = np.sum(scaled.variances ** (1 + 2 * power))
    np.testing.assert_allclose(phi @ phi.T / 30_000, np.exp(-gaps / (2 * 1.44 * total)), atol=0.02)


def test_counts_of_classes_and_a_length_of_zero_are_refused():
    with pytest.raises(ObservationError, match="known count of ones"):
        BagProcess().fit(X[:2], Bags.from_ids([0, 0], counts=[[1, 1, 0]]))
    with pytest.raises(ObservationError, match="length=0.0"):
        Kernel(0.0, 0.0)
