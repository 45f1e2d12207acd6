"""A model that was published for label proportions: pairs within bags and between neighbours, far too strong to settle.

P(y) is proportional to exp(-b sum_bags (sum_i y_i - S)^2 - s sum_edges K_ij (y_i - y_j)^2), both strengths ten.

Reference: Havaldar, Sharma, Sareen, Shanmugam and Raghuveer (2024), Learning from label proportions: bootstrapping
supervised learners via belief propagation.
"""

import csv
import gzip
from itertools import combinations

import numpy as np
import pytest

from lawful.inference.graphs import FactorGraph, propagated

STRENGTH = 10.0
BAG = 8


def people(data, count):
    """Covariates and labels of some people of the census, drawn without order: numbers in units, categories as ones."""
    with gzip.open(data / "llp" / "adult.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    rows = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))[:count]]
    columns = []
    for name in rows[0]:
        if name in ("income", "split", "fnlwgt", "education"):
            continue
        told = [row[name] for row in rows]
        if all(value.isdigit() for value in told):
            number = np.log1p(np.array(told, float))
            columns.append((number - number.mean()) / max(number.std(), 1e-6))
        else:
            columns += [np.array([value == level for value in told], float) for level in sorted(set(told))]
    return np.stack(columns, axis=1), np.array([int(row["income"]) for row in rows])


def neighbours(x, k=5):
    """Pairs of which one is among the k that point most in the direction of the other, and their similarity."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    near = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    pairs = np.unique(np.sort(np.stack([np.repeat(np.arange(len(x)), k), near.reshape(-1)]), axis=0), axis=1).T
    return pairs, np.exp(-np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1))


def published(x, counts, strength=STRENGTH):
    """The model as pairs, in bags of consecutive people."""
    edges, similar = neighbours(x)
    unary = -strength * (1 - 2 * np.repeat(counts, BAG))
    np.subtract.at(unary, edges.reshape(-1), strength * np.repeat(similar, 2))
    inside = np.array(list(combinations(range(BAG), 2)))
    bags = (inside + BAG * np.arange(len(counts))[:, None, None]).reshape(-1, 2)
    graph = FactorGraph()
    y = graph.variables("y", (len(x),), 2, np.stack([np.zeros(len(x)), unary], axis=1))
    both = np.zeros((2, 2))
    both[1, 1] = 1.0
    graph.factors("alike", [y[edges[:, 0]], y[edges[:, 1]]], 2 * strength * similar[:, None, None] * both)
    graph.factors("bag", [y[bags[:, 0]], y[bags[:, 1]]], -2 * strength * both)
    return graph


def test_pairs_have_the_joint_of_squared_counts_and_differences():
    rng = np.random.default_rng(1)
    x, counts = rng.normal(size=(2 * BAG, 3)), np.array([3, 0])
    graph, (edges, similar) = published(x, counts), neighbours(x)
    for _ in range(5):
        y = rng.integers(0, 2, len(x))
        expected = -STRENGTH * ((y.reshape(2, BAG).sum(axis=1) - counts) ** 2 - counts**2).sum()
        expected -= STRENGTH * (similar * (y[edges[:, 0]] - y[edges[:, 1]]) ** 2).sum()
        assert float(graph.log_score({"y": y})) == pytest.approx(expected, rel=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("damping", [0.5, None])
def test_bp_11_the_published_strengths_are_flagged(data, damping):
    x, labels = people(data, 64 * BAG)
    graph = published(x, labels.reshape(-1, BAG).sum(axis=1))
    found = propagated(graph, damping=damping, max_iters=100)
    assert found.verdict in ("oscillating", "slow") and not found.converged
    assert found.certificate == "none" and float(found.info["residual"]) > 1e-3


def test_bp_11_weak_ones_converge(data):
    x, labels = people(data, 64 * BAG)
    found = propagated(published(x, labels.reshape(-1, BAG).sum(axis=1), 0.01), max_iters=100)
    assert found.verdict == "converged"
