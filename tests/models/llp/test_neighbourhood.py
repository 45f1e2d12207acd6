"""Neighbours are coupled where they agree, as strongly as was asked, and are asked what is left by unseen counts."""

from functools import partial

import numpy as np
import pytest
from scipy.special import expit

from lawful.models.llp import Bags, edge_correlation
from lawful.models.llp.neighbourhood import KAPPA, Near, Neighbourhood
from lawful.models.llp.training.fitted import Fitted

N = 2000
RANDOM = np.random.default_rng(0)
PLACES = np.repeat(RANDOM.normal(size=(N // 2, 2)), 2, axis=0)  # rows are near each other in pairs
ALIKE = np.repeat(RANDOM.random(N // 2) < 0.4, 2).astype(int)
APART = (RANDOM.random(N) < 0.4).astype(int)
IDS = RANDOM.permutation(N) // 2
PAIRED = partial(Neighbourhood, n_neighbors=1, metric="euclidean")


def fitted_by(z):
    return Fitted(lambda X: z, lambda X: z, {"out_of_bag": lambda: z})


@pytest.mark.parametrize(
    ("coupling", "labels", "kappa"),
    [("auto", ALIKE, KAPPA), ("auto", APART, None), (0.5, ALIKE, 0.5), (0.5, APART, 0.5), ("off", ALIKE, None),
     (0, ALIKE, None)],
)  # fmt: skip
def test_neighbours_are_coupled_unless_counts_tell_that_they_do_not_agree(coupling, labels, kappa):
    bags = Bags.from_labels(labels, IDS)
    near = Neighbourhood(coupling, n_neighbors=3, metric="euclidean").first(PLACES, bags)
    assert (near.coupling is None) == (kappa is None)
    if kappa is not None:
        assert near.coupling.kappa == pytest.approx(kappa, rel=1e-2)
    if coupling in ("off", 0):
        assert near == Near()
    else:
        assert near.told == edge_correlation(near.graph.edges, bags)
        assert near.told.verdict == ("neighbours agree" if labels is ALIKE else "no sign that neighbours agree")


@pytest.mark.kills("40u")
def test_what_is_left_is_that_of_log_odds_that_have_not_seen_the_counts():
    bags = Bags.from_labels(ALIKE, IDS)
    settings = PAIRED()
    near = settings.first(PLACES, bags)
    unseen, seen = np.zeros(N), 8.0 * ALIKE - 4
    after = settings.after(near, PLACES, unseen, bags, fitted_by(seen))
    left = bags.counts - np.bincount(IDS, expit(unseen))
    assert after.beyond == edge_correlation(near.graph.edges, bags, left)
    assert after.beyond.verdict == "neighbours agree" and after.coupling is near.coupling
    explained = settings.after(near, PLACES, seen, bags, fitted_by(seen))
    assert explained.coupling is None and explained.graph is near.graph
    assert settings.after(explained, PLACES, unseen, bags, fitted_by(unseen)) is explained


def test_a_number_is_not_overruled_and_log_odds_that_have_seen_the_counts_are_not_asked():
    bags = Bags.from_labels(ALIKE, IDS)
    seen = 8.0 * ALIKE - 4
    for settings, fitted in ((PAIRED(0.5), fitted_by(seen)), (PAIRED("auto"), Fitted(len, len))):
        near = settings.first(PLACES, bags)
        after = settings.after(near, PLACES, seen, bags, fitted)
        assert after.beyond is None and after.coupling is near.coupling is not None
