"""Bags hold what was given and nothing else, and refuse what cannot be, by the number of the bag."""

import itertools
import re

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from lawful.errors import IndexRangeError, LawfulError, NonFiniteError, ObservationError
from lawful.models.llp import Bags, Geometric, Noise, Normal, Rounded, Sampled, Soft, Thinned


def test_ids_and_membership_say_the_same():
    ids = np.array([2, 0, -1, 2, 0, 2])
    matrix = csr_matrix(ids[None] == np.arange(3)[:, None], dtype=int)
    by_ids, by_matrix = Bags.from_ids(ids, [1, 0, 3]), Bags.from_membership(matrix, [1, 0, 3])
    for name in ("offsets", "members", "counts", "known", "ids", "sizes", "memberships", "groups"):
        np.testing.assert_array_equal(getattr(by_ids, name), getattr(by_matrix, name))
    assert (by_ids.membership != matrix).nnz == 0 and by_ids.ids.tolist() == ids.tolist()
    assert [by_ids.members_of(b).tolist() for b in range(3)] == [[1, 4], [], [0, 3, 5]]
    assert by_ids.padded().tolist() == [[1, 4, 6], [6, 6, 6], [0, 3, 5]]


def test_proportions_are_counts_over_sizes():
    bags = Bags.from_ids([0, 0, 0, 1, 1], proportions=[1 / 3, 0.5])
    assert bags.counts.tolist() == [1, 1] and bags.counts.dtype == np.int64
    np.testing.assert_allclose(bags.proportions, [1 / 3, 0.5])
    assert bags.base_rate == pytest.approx(0.4)


def test_a_missing_count_leaves_its_bag_free():
    bags = Bags.from_ids([0, 0, 1, 1], [np.nan, 2])
    assert bags.known.tolist() == [False, True] and bags.base_rate == 1.0
    assert bags.log_weights().tolist() == [[0, 0, 0], [-np.inf, -np.inf, 0]]
    assert np.isnan(bags.proportions[0]) and np.isnan(Bags.from_ids([0, 0]).base_rate)


def test_labels_are_counted_and_no_more_is_kept_of_them():
    rng = np.random.default_rng(0)
    ids, labels = rng.integers(-1, 4, 50), rng.integers(0, 3, 50)
    bags = Bags.from_labels(labels, ids, n_classes=3)
    assert bags.counts.tolist() == [[int(np.sum(labels[ids == b] == k)) for k in range(3)] for b in range(bags.n_bags)]
    shuffled = labels.copy()
    for b in range(bags.n_bags):
        shuffled[ids == b] = rng.permutation(labels[ids == b])
    np.testing.assert_array_equal(Bags.from_labels(shuffled, ids, 3).counts, bags.counts)
    np.testing.assert_allclose(bags.base_rate, np.bincount(labels[ids >= 0], minlength=3) / np.sum(ids >= 0))
    binary = Bags.from_labels(labels > 0, bags.membership)
    np.testing.assert_array_equal(binary.counts, bags.counts[:, 1:].sum(axis=1))


def test_bags_that_share_rows_hang_together():
    bags = Bags.from_membership([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 1, 0]], [1, 1, 0])
    assert bags.overlapping and bags.groups.tolist() == [0, 1, 0]
    with pytest.raises(ObservationError, match="row 1 is in 2 bags"):
        _ = bags.ids


def test_bags_that_are_taken_keep_their_members():
    rng = np.random.default_rng(1)
    ids = rng.integers(-1, 6, 40)
    bags = Bags.from_labels(rng.integers(0, 2, 40), ids)
    taken = bags.take([4, 1])
    assert [taken.members_of(k).tolist() for k in (0, 1)] == [np.flatnonzero(ids == b).tolist() for b in (4, 1)]
    assert taken.counts.tolist() == bags.counts[[4, 1]].tolist() and taken.n_rows == 40
    assert bags.take(np.arange(6) == 3).counts.tolist() == [bags.counts[3]]


def test_size_classes_hold_every_bag_once_and_pad_little():
    rng = np.random.default_rng(2)
    sizes = np.concatenate([rng.integers(1, 40, 3000), [5000, 700]])
    bags = Bags.from_ids(np.repeat(np.arange(len(sizes)), sizes))
    assert sorted(np.concatenate(bags.size_classes).tolist()) == list(range(len(sizes)))
    padding = sum(int(bags.padded(own).size) for own in bags.size_classes) - len(bags.members)
    assert padding <= len(bags.members) and len(bags.size_classes) <= 8
    for own in bags.size_classes:
        rows = bags.padded(own)
        assert [set(r[r < bags.n_rows]) for r in rows[:5]] == [set(bags.members_of(int(b))) for b in own[:5]]


def test_weights_of_noise_are_those_of_the_report():
    sizes, s = np.array([3, 5]), np.arange(6)
    exact = {
        Normal(2.0): lambda r: -0.5 * ((r - s) / 2) ** 2,
        Geometric(0.7): lambda r: -0.7 * np.abs(r - s),
        Soft(1.5): lambda r: -1.5 * (r - s) ** 2,
    }
    for noise, law in exact.items():
        bags = Bags.from_ids([0] * 3 + [1] * 5, [1.5, 4.0], noise=noise)
        for bag, report in enumerate([1.5, 4.0]):
            expected, inside = law(report), s <= sizes[bag]
            found = bags.log_weights()[bag]
            np.testing.assert_allclose(found[inside] - found[0], (expected - expected[0])[inside], atol=1e-12)
            assert np.all(found[~inside] == -np.inf)
    thinned = Bags.from_ids([0] * 5, [2], noise=Thinned(0.4)).log_weights()[0]
    np.testing.assert_allclose(np.exp(thinned[2]), 0.16, rtol=1e-12)
    assert np.all(np.isneginf(thinned[:2])) and isinstance(Thinned(0.4), Noise)


def test_counts_of_a_sample_have_the_law_of_all_samples():
    for size, drawn in ((5, 3), (4, 4), (3, 1)):
        bags = Bags.from_ids([0] * size + [1] * 2, [1, 2], noise=Sampled([drawn, 2]))
        samples = list(itertools.combinations(range(size), drawn))
        truth = [np.mean([sum(i < ones for i in sample) == 1 for sample in samples]) for ones in range(size + 1)]
        np.testing.assert_allclose(np.exp(bags.log_weights()[0][: size + 1]), truth, atol=1e-12)
        exact = bags.take([1])  # where all were drawn the count is exact
        assert np.exp(exact.log_weights()[0]).round(12).tolist() == [0, 0, 1]
    assert Bags.from_ids([0] * 8, [1], noise=Sampled(4)).base_rate == 0.25


@pytest.mark.parametrize("size", [7, 40, 300])
def test_a_rounded_proportion_keeps_the_counts_that_round_to_it(size):
    for count in (0, 1, size // 3, size):
        published = round(count / size, 2)
        bags = Bags.from_ids([0] * size, proportions=[published], noise=Rounded(2))
        kept = np.flatnonzero(bags.log_weights()[0] == 0)
        assert kept.tolist() == [s for s in range(size + 1) if abs(s / size - published) <= 0.005 + 1e-9]
        assert count in kept


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Bags.from_ids([0, 0, 1], [2, 2]), ObservationError, "bag 1 has 1 members and the count 2"),
        (lambda: Bags.from_ids([0, 0, 1], [-1, 0]), ObservationError, "bag 0 .*count -1"),
        (lambda: Bags.from_ids([0, 0], [0, 1]), ObservationError, "bag 1 has 0 members"),
        (lambda: Bags.from_ids([0, 0, 1], [[1, 1], [1, 1]]), ObservationError, "bag 1 .*add up"),
        (lambda: Bags.from_ids([0, 0, 0], [5], noise=Thinned(0.5)), ObservationError, "bag 0 .*noise"),
        (lambda: Bags.from_ids([0, 1], [0.5, 1]), ObservationError, "count of bag 0 is 0.5"),
        (lambda: Bags.from_ids([0, 0, 0], proportions=[0.3]), ObservationError, "bag 0 .*Rounded"),
        (lambda: Bags.from_ids([0, 0], proportions=[1.5]), ObservationError, "proportion of bag 0"),
        (lambda: Bags.from_ids([0, 1], [0, np.inf]), NonFiniteError, "bag 1"),
        (lambda: Bags.from_ids([0, 1], [[np.nan, 1], [0, 1]]), NonFiniteError, "bag 0"),
        (lambda: Bags.from_ids([0, 3], [0, 1]), IndexRangeError, "row 1 is in bag 3"),
        (lambda: Bags.from_ids([0, -2], [0]), IndexRangeError, "row 1 is in bag -2"),
        (lambda: Bags.from_ids([0.0, 1.0], [0, 1]), ObservationError, "whole numbers"),
        (lambda: Bags.from_ids([0], [1], proportions=[1.0]), ObservationError, "one of them"),
        (lambda: Bags.from_ids([0, 1], 1), ObservationError, "shape"),
        (lambda: Bags.from_membership([[1, 0], [2, 0]], [0, 1]), ObservationError, "bag 1 has an entry 2"),
        (lambda: Bags.from_membership([[1, 0]], [0, 1]), ObservationError, "expected 1"),
        (lambda: Bags.from_labels([0, 2], [0, 0]), ObservationError, "classes 0 to 1"),
        (lambda: Bags.from_labels([0], [0, 0]), ObservationError, "labels of shape"),
        (lambda: Bags.from_ids([0, 0], [1], noise=Normal(0.0)), ObservationError, "scale"),
        (lambda: Bags.from_ids([0, 0, 1], [0, 1], noise=Sampled([2, 2])), ObservationError, "bag 1 .*noise"),
        (lambda: Bags.from_ids([0, 0], [2], noise=Sampled(1)), ObservationError, "bag 0 .*noise"),
        (lambda: Bags.from_ids([0, 0], [1], noise=Sampled(1.5)), ObservationError, "trials"),
    ],
)
def test_l11_what_cannot_be_is_refused_by_the_number_of_its_bag(make, error, said):
    with pytest.raises(error, match=said) as caught:
        make()
    assert isinstance(caught.value, LawfulError)


@pytest.mark.parametrize("wrong", ["2", None, [2], -1, True, np.nan])
@pytest.mark.parametrize("law", [Normal, Thinned, Geometric, Soft, Rounded])
def test_a_noise_of_no_number_is_refused_by_its_name(law, wrong):
    with pytest.raises(ObservationError, match=rf"{law.__name__}: \w+={re.escape(repr(wrong))}\. Fix: give a"):
        law(wrong)


def test_what_is_no_noise_and_decimals_that_are_not_whole_are_refused():
    for wrong in (2.0, "normal", Normal):
        with pytest.raises(ObservationError, match="bags: noise=.*Fix: give a noise as Normal"):
            Bags.from_ids([0, 0], [1], noise=wrong)
    with pytest.raises(ObservationError, match=r"decimals=2\.0\. Fix: give a whole number"):
        Rounded(2.0)
    assert Rounded(np.int64(2)).decimals == 2 and Normal(np.float32(0.5)).scale == 0.5


def test_every_count_that_labels_can_have_is_accepted():
    for labels in itertools.product([0, 1], repeat=4):
        assert Bags.from_labels(labels, [0, 0, 0, 1]).counts.tolist() == [sum(labels[:3]), labels[3]]
