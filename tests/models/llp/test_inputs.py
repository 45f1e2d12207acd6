"""What is given to the classifier: nothing goes unread, and noise is remembered."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from lawful.errors import LawfulError, ObservationError
from lawful.models.llp import Bags, LabelProportionSelfTraining, Normal, Sampled, Soft, count_log_likelihood
from lawful.models.llp.inputs import counted_bags

N = 24
X = np.random.default_rng(0).normal(size=(N, 2))
IDS, COUNTS = np.arange(N) // 4, np.array([1, 2, 0, 4, 3, 1])


def classifier(**settings):
    return LabelProportionSelfTraining("ridge", **({"coupling": "off", "random_state": 0} | settings))


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        ({"counts": COUNTS}, "counts were given"), ({"proportions": COUNTS / 4}, "proportions were given"),
        ({"n_trials": 4}, "n_trials were given"), ({"count_noise": Normal(1.0)}, r"count_noise=Normal\(scale=1.0\)"),
    ],
)  # fmt: skip
def test_what_is_said_beside_bags_that_know_it_is_refused(beside, name):
    with pytest.raises(ObservationError, match=rf"fit_bags: Bags\(.*{name}.*Fix: "):
        classifier().fit_bags(X, Bags.from_ids(IDS, COUNTS), **beside)


def test_a_noise_that_is_that_of_the_bags_may_be_said_beside_them():
    bags = Bags.from_ids(IDS, COUNTS, noise=Normal(1.0))
    assert counted_bags(N, bags, None, None, Normal(1.0), "fit_bags") is bags


def test_noise_of_a_fit_is_that_of_counts_that_are_asked_about_unless_they_have_their_own():
    fitted = classifier().fit_bags(X, IDS, COUNTS + 0.25, count_noise=Normal(0.5))
    assert fitted.count_noise_ == Normal(0.5)
    z = fitted.decision_function(X)

    def truth(noise, counts):
        return np.mean(count_log_likelihood(z, Bags.from_ids(IDS, counts, noise=noise)))

    told = fitted.bag_log_likelihood(X, IDS, COUNTS + 0.25)
    np.testing.assert_allclose(told, truth(Normal(0.5), COUNTS + 0.25), rtol=1e-12)
    told = fitted.bag_log_likelihood(X, IDS, COUNTS, count_noise=Soft(2.0))
    np.testing.assert_allclose(told, truth(Soft(2.0), COUNTS), rtol=1e-12)
    told = fitted.bag_log_likelihood(X, Bags.from_ids(IDS, COUNTS))
    np.testing.assert_allclose(told, truth(None, COUNTS), rtol=1e-12)
    sums = np.bincount(IDS, fitted.transduce(X, IDS, COUNTS + 0.25))
    assert 0.01 < np.max(np.abs(sums - COUNTS)) < 1
    with pytest.raises(LawfulError, match="count_noise=2.*Fix"):
        fitted.transduce(X, IDS, COUNTS, count_noise=2)


def test_drawn_members_of_a_fit_are_those_of_counts_that_are_asked_about_if_one_number_says_it():
    fitted = classifier().fit_bags(X, IDS, np.minimum(COUNTS, 2), n_trials=2)
    one = Bags.from_ids([0, 0, 0], [2], noise=Sampled(2))
    told = fitted.bag_log_likelihood(X[:3], [0, 0, 0], [2])
    np.testing.assert_allclose(told, count_log_likelihood(fitted.decision_function(X[:3]), one)[0], rtol=1e-12)
    each = classifier().fit_bags(X, IDS, np.minimum(COUNTS, 2), n_trials=np.full(6, 2))
    with pytest.raises(LawfulError, match="transduce: the fit had a number.*Fix: give n_trials="):
        each.transduce(X[:3], [0, 0, 0], [2])
    np.testing.assert_allclose(each.bag_log_likelihood(X[:3], [0, 0, 0], [2], n_trials=2), told, rtol=1e-12)


def test_a_membership_of_rows_by_bags_is_to_be_transposed_for_labels_too():
    membership = csr_matrix((np.ones(N), (np.arange(N), IDS)))
    with pytest.raises(ObservationError, match="fit: X has 24 rows.*transpose it"):
        classifier().fit(X, np.arange(N) % 2, membership)


@pytest.mark.parametrize("given", [{"counts": COUNTS}, {"proportions": COUNTS / 4}])
def test_numbers_of_drawn_members_are_one_for_every_bag(given):
    with pytest.raises(ObservationError, match="trials.*of 2 bags, and there are 6.*Fix"):
        classifier().fit_bags(X, IDS, **given, n_trials=[3, 3])
    with pytest.raises(ObservationError, match="trials.*of 2 bags, and there are 6.*Fix"):
        Bags.from_ids(IDS, COUNTS, noise=Sampled([3, 3]))


def test_proportions_of_drawn_members_are_those_of_whole_numbers():
    shares = pd.Series(COUNTS / 4)
    bags = counted_bags(N, IDS, None, shares, None, "fit_bags", n_trials=4)
    assert bags.counts.tolist() == COUNTS.tolist()
    with pytest.raises(ObservationError, match="proportion of bag 0 is 0.2"):
        counted_bags(N, IDS, None, shares * 0.8, None, "fit_bags", n_trials=4)
    missing = counted_bags(N, IDS, None, np.where(IDS[::4] == 2, np.nan, shares), None, "fit_bags", n_trials=4)
    assert missing.known.tolist() == [True, True, False, True, True, True]


def test_counts_of_bags_that_overlap_and_contradict_each_other_are_refused_with_both_bags():
    for membership, counts, told in (
        ([[1, 1, 0], [1, 1, 1]], [2, 1], "bags 0 and 1 have 2 members in common"),
        ([[1, 0, 0], [0, 1, 1], [1, 1, 1]], [0, 0, 2], "bags 1 and 2 have 2 members in common"),
        ([[1, 1, 0], [1, 1, 1]], [[1, 0, 1], [1, 1, 1]], None),
        ([[1, 1, 0], [1, 1, 1]], [[0, 0, 2], [1, 1, 1]], "bags 0 and 1 have 2 members in common"),
        ([[1, 1, 0], [1, 1, 1]], [np.nan, 1], None),
    ):
        bags = Bags.from_membership(membership, counts)
        if told is None:
            assert counted_bags(3, bags, None, None, None, "fit_bags") is bags
        else:
            with pytest.raises(ObservationError, match=f"{told}.*Fix"):
                counted_bags(3, bags, None, None, None, "fit_bags")
    noisy = Bags.from_membership([[1, 1, 0], [1, 1, 1]], [2, 1], noise=Normal(1.0))
    assert counted_bags(3, noisy, None, None, None, "fit_bags") is noisy


def test_counts_of_two_bags_are_refused_where_no_labels_have_both_and_only_there():
    labels = np.array(np.meshgrid(*[[0, 1]] * 4)).reshape(4, -1).T
    membership = np.array([[1, 1, 1, 0], [0, 1, 1, 1]])
    possible = {tuple(sums) for sums in (labels @ membership.T).tolist()}
    for counts in np.ndindex(4, 4):
        bags = Bags.from_membership(membership, counts)
        if counts in possible:
            counted_bags(4, bags, None, None, None, "fit_bags")
        else:
            with pytest.raises(ObservationError, match="in common"):
                counted_bags(4, bags, None, None, None, "fit_bags")
    assert len(possible) < 16


NAMES = np.array(["north", "east", "south", "west", "centre", "harbour"])
CALLED = NAMES[IDS]


def arrays(bags):
    return [bags.offsets.tolist(), bags.members.tolist(), bags.counts.tolist(), bags.known.tolist()]


@pytest.mark.parametrize(
    "counts",
    [
        dict(zip(NAMES, COUNTS, strict=True)), dict(zip(NAMES[::-1], COUNTS[::-1], strict=True)),
        pd.Series(COUNTS, NAMES).sort_index(), pd.DataFrame({"no": 4 - COUNTS, "yes": COUNTS}, NAMES).sort_index(),
    ],
    ids=["dictionary", "in another order", "series", "frame"],
)  # fmt: skip
def test_counts_by_name_are_those_of_numbers_whatever_their_order(counts):
    found = counted_bags(N, CALLED, counts, None, None, "fit_bags")
    assert arrays(found) == arrays(Bags.from_ids(IDS, COUNTS))


def test_fit_and_fit_bags_call_bags_by_the_same_names():
    """Labels counted by name, as a user would, and the same labels with names: the same fit, bit by bit."""
    y, called = np.random.default_rng(1).integers(0, 2, N), np.random.default_rng(2).permutation(CALLED).astype(object)
    called[3], y[3] = -1, 0  # in no bag
    inside = called != -1
    counts = pd.Series(y[inside]).groupby(called[inside]).sum()
    fits = [classifier().fit(X, y, called), classifier().fit_bags(X, called, counts)]
    assert np.array_equal(fits[0].decision_function(X), fits[1].decision_function(X))
    assert np.array_equal(fits[0].posterior_, fits[1].posterior_)
    shares = fits[1].transduce(X, called, counts)
    np.testing.assert_allclose(pd.Series(shares[inside]).groupby(called[inside]).sum(), counts, atol=1e-6)


def test_numbers_with_gaps_and_text_of_no_bag_are_names():
    counts = dict(zip((IDS[::4] * 7 + 3).tolist(), COUNTS, strict=True))
    assert arrays(counted_bags(N, IDS * 7 + 3, counts, None, None, "fit_bags")) == arrays(Bags.from_ids(IDS, COUNTS))
    given = np.where(IDS == 2, "-1", CALLED)
    counts = {name: count for name, count in zip(NAMES, COUNTS, strict=True) if name != "south"}
    assert counted_bags(N, given, counts, None, None, "fit_bags").ids[8:12].tolist() == [-1] * 4
    of_two = [1, 2, 0, 2, 1, 1]
    shares = {name: count / 2 for name, count in zip(NAMES, of_two, strict=True)}
    drawn = counted_bags(N, CALLED, None, shares, None, "fit_bags", n_trials=dict.fromkeys(NAMES, 2))
    assert drawn.counts.tolist() == of_two and drawn.noise.trials.tolist() == [2] * 6


def test_classes_are_the_columns_of_a_frame():
    frame = pd.DataFrame({"no": 4 - COUNTS, "yes": COUNTS}, NAMES)
    assert classifier().fit_bags(X, CALLED, frame).classes_.tolist() == ["no", "yes"]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"north": 1}, "counts of bags 'east', 'south', 'west', 'centre', 'harbour' are missing.*NaN"),
        (dict(zip([*NAMES, "away"], [*COUNTS, 1], strict=True)), "counts of bags 'away' have no rows.*names"),
        (pd.Series([*COUNTS, 1], [*NAMES, "east"]), "counts of bags 'east' come twice.*Fix"),
        (dict(zip(NAMES, [1, 2, 0, 5, 3, 1], strict=True)), "bag 3 has 4 members.*Bag 3 is the one named 'west'"),
        (COUNTS, r"bags have names, and counts of shape \(6,\) have none.*Fix: give counts by name"),
    ],
)
def test_counts_that_are_not_one_for_each_name_are_refused(counts, told):
    with pytest.raises(ObservationError, match=told):
        classifier().fit_bags(X, CALLED, counts)
    with pytest.raises(ObservationError, match="n_trials are an array beside others by name"):
        classifier().fit_bags(X, CALLED, dict(zip(NAMES, COUNTS, strict=True)), n_trials=np.full(6, 4))


def test_labels_are_not_read_without_bags_unless_that_is_said():
    y = np.arange(N) % 2
    for bags, told in ((None, "no bags were given.*label of every row.*Fix: give bags="), ("row", "bags='row'.*Fix")):
        with pytest.raises(ObservationError, match=f"fit: {told}"):
            classifier().fit(X, y, bags)
    fits = [classifier().fit(X, y, bags) for bags in ("rows", np.arange(N))]
    assert np.array_equal(fits[0].decision_function(X), fits[1].decision_function(X))
