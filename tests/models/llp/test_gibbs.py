"""A walk over labels has the means of the reference bags."""

import json

import jax
import numpy as np
import pytest

from lawful.inference.graphs import draws as walk
from lawful.models.llp import Bags
from lawful.models.llp.labelling import label_graph
from lawful.models.llp.neighbours.coupling import Coupling

DRAWS = 2000


@pytest.fixture(scope="module")
def reference(data):
    """Log odds of the rows of the reference file, their bags, labels that meet the counts, and exact marginals."""
    file = json.loads((data / "exact" / "llp_bags.json").read_text())
    given, truth = file["data"]["bags"], file["exact"]["bags"]
    p = np.concatenate([bag["p"] for bag in given])
    bags = Bags.from_ids(np.repeat(np.arange(len(given)), [len(b["p"]) for b in given]), [b["count"] for b in given])
    start = np.zeros(len(p), int)
    for bag in range(bags.n_bags):
        start[bags.members_of(bag)[: bags.counts[bag]]] = 1
    return np.log(p / (1 - p)), bags, start, np.concatenate([bag["marginals"] for bag in truth])


def within_four_errors(means, truth, draws=DRAWS):
    """Independent draws; a row that is hardly ever one may be so in one draw."""
    return np.abs(means - truth) <= 4 * np.sqrt(truth * (1 - truth) / draws) + 1 / draws


@pytest.mark.slow
def test_l1_the_walk_over_labels_has_the_means_of_the_reference_bags(reference):
    z, bags, start, truth = reference
    # Without neighbours a step redraws all rows at once, so steps are independent draws.
    graph = label_graph(z, bags, Coupling(np.zeros((0, 2), int), 0.0, np.full(2, 0.5), 0.0))
    found = walk(graph, jax.random.key(1), DRAWS, method="gibbs", steps=1, start={"y": start})
    draws = np.asarray(found.states["y"])
    sums = np.add.reduceat(draws, bags.offsets[:-1], axis=1)
    assert np.all(sums == bags.counts) and within_four_errors(draws.mean(axis=0), truth).all()
    assert not within_four_errors(1 / (1 + np.exp(-z)), truth).all()  # the counts have moved the rows
