"""Summaries of latent classes: names of the classes, order of draws and chains change nothing; counts are exact."""

import itertools
import json

import numpy as np
import pytest
from scipy.special import logsumexp

from lawful.errors import LawfulError
from lawful.models.latent_classes import (
    ClassNumbers,
    co_membership,
    membership_interval,
    occupied_classes,
    relabelled,
)


def draws(seed=0, count=40, n=12, k=3, sharp=2.0):
    """Memberships about one truth, sharp or vague, all draws with one naming."""
    rng = np.random.default_rng(seed)
    logits = sharp * np.eye(k)[rng.integers(k, size=n)] + 0.7 * rng.normal(size=(count, n, k))
    return np.exp(logits - logsumexp(logits, axis=2, keepdims=True))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sharp", [6.0, 1.5])
def test_t12_summaries_are_invariant_to_names_and_to_the_order_of_draws(seed, sharp):
    w, rng = draws(seed, sharp=sharp), np.random.default_rng(100 + seed)
    order = np.stack([rng.permutation(3) for _ in w])
    shuffle = rng.permutation(len(w))
    moved = np.take_along_axis(w, order[:, None, :], axis=2)[shuffle]
    pivot = 7
    one, two = relabelled(w, pivot), relabelled(moved, int(np.argwhere(shuffle == pivot)[0, 0]))
    np.testing.assert_allclose(one.mean, two.mean, atol=1e-12)
    assert one.divergence == pytest.approx(two.divergence, abs=1e-12)
    np.testing.assert_allclose(membership_interval(w, one), membership_interval(moved, two), atol=1e-12)
    np.testing.assert_allclose(co_membership(w), co_membership(moved), atol=1e-12)
    np.testing.assert_allclose(occupied_classes(w), occupied_classes(moved), atol=1e-12)
    assert np.all(np.diff(one.mean.mean(axis=0)) <= 0)


def test_names_at_random_are_found_again():
    w, rng = draws(1, sharp=5.0), np.random.default_rng(0)
    order = np.stack([rng.permutation(3) for _ in w])
    moved = np.take_along_axis(w, order[:, None, :], axis=2)
    same = relabelled(w)
    assert np.all(same.order == same.order[0])  # nothing to rename
    found = relabelled(moved)
    np.testing.assert_array_equal(np.take_along_axis(order, found.order, axis=1), same.order)
    np.testing.assert_allclose(found.mean, same.mean, atol=1e-12)


def test_renamed_draws_are_a_fixed_point_and_nearest_to_their_mean():
    w = draws(3, k=4, sharp=1.0)
    found = relabelled(w)
    again = np.take_along_axis(w, found.order[:, None, :], axis=2)
    np.testing.assert_allclose(found.mean, again.mean(axis=0), atol=1e-14)
    score = [
        [np.sum(each[:, list(p)] * np.log(found.mean)) for p in itertools.permutations(range(4))] for each in again
    ]
    assert np.all(np.argmax(score, axis=1) == 0)  # the identity comes first


def test_pairs_and_counts_of_classes_are_those_of_all_labelings():
    w = draws(2, count=3, n=4, k=3, sharp=0.5)
    pairs, counts = np.zeros((4, 4)), np.zeros(3)
    for each in w:
        for z in itertools.product(range(3), repeat=4):
            p = np.prod(each[np.arange(4), list(z)]) / len(w)
            pairs += p * (np.array(z)[:, None] == np.array(z))
            counts[len(set(z)) - 1] += p
    np.testing.assert_allclose(co_membership(w), pairs, atol=1e-14)
    np.testing.assert_allclose(occupied_classes(w), counts, atol=1e-14)


@pytest.mark.reference
def test_enumerated_mixture_has_its_pairs_and_its_counts_of_classes(data):
    """Means integrated by a grid of 400 x 400: the exact posterior of mixture_enumerated.json."""
    known = json.loads((data / "exact" / "mixture_enumerated.json").read_text())
    y, grid = np.array(known["data"]["y"]), np.linspace(-9, 9, 400)
    normal = lambda x, v: -0.5 * (x**2 / v + np.log(2 * np.pi * v))
    mu = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    joint = normal(y[None, :, None] - mu[:, None, :], 0.5) - np.log(2)
    weight = normal(mu, 4.0).sum(axis=1) + logsumexp(joint, axis=2).sum(axis=1)
    evidence = logsumexp(weight) + 2 * np.log(grid[1] - grid[0])
    assert evidence == pytest.approx(known["exact"]["log_evidence"], abs=1e-9)
    keep = weight > weight.max() - 30
    share = np.exp(weight[keep] - logsumexp(weight))
    w = np.exp(joint[keep] - logsumexp(joint[keep], axis=2, keepdims=True))
    pairs = sum(p * co_membership(each[None]) for p, each in zip(share, w, strict=True))
    np.testing.assert_allclose(pairs, known["exact"]["same_cluster_probability"], atol=1e-8)


def test_more_than_one_run_gives_the_error_of_the_evidence():
    numbers = ClassNumbers({1: np.log([1.0, 3.0]), 2: np.log([4.0])}, {1: {"bic": 3.0}, 2: {"bic": 2.0}})
    table = numbers.table
    assert table.log_evidence.tolist() == pytest.approx(np.log([2.0, 4.0])) and table.error[1] > 0.5
    assert np.isnan(table.error[2]) and table.probability.tolist() == pytest.approx([1 / 3, 2 / 3])
    assert numbers.best == 2 == numbers.best_by("bic")


def test_memberships_of_one_draw_need_their_axis():
    with pytest.raises(LawfulError, match=r"shape \(12, 3\)"):
        relabelled(draws()[0])
    with pytest.raises(LawfulError, match="13 classes"):
        occupied_classes(np.full((1, 2, 13), 1 / 13))
    with pytest.raises(LawfulError, match="10001 persons.*Fix"):
        co_membership(np.ones((1, 10_001, 1)))


def test_an_evidence_that_is_not_known_is_no_best_and_an_unknown_criterion_is_refused():
    numbers = ClassNumbers({1: np.array([np.nan]), 2: np.array([-5.0]), 3: np.array([-5.0])}, {1: {"bic": 3.0}})
    assert numbers.best == 2
    np.testing.assert_allclose(numbers.table.probability, [np.nan, 0.5, 0.5])
    none = ClassNumbers({1: np.array([-np.inf]), 2: np.array([np.nan])}, {})
    assert np.isnan(none.table.probability).all()
    for each in (numbers, none):
        with pytest.raises(LawfulError, match="no criterion 'aic'; there are .*Fix"):
            each.best_by("aic")
