"""EM with the exact count factor and DLLP find the same classifier from random bags, of any size (L3)."""

import numpy as np
import pytest

from benchmarks.studies.label_proportions.baselines import DLLP, CountEM
from benchmarks.studies.label_proportions.data import load_llp
from lawful.models.llp import Bags

pytestmark = [pytest.mark.optimised, pytest.mark.slow, pytest.mark.usefixtures("single_precision")]


def area(y, z):
    order = np.argsort(z, kind="stable")
    ranks = np.empty(len(z))
    ranks[order] = np.arange(1, len(z) + 1)
    ones = int(y.sum())
    return (ranks[y == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(y) - ones))


@pytest.mark.parametrize("size", [8, 32, 128, 512, 2048])
@pytest.mark.parametrize("name", ["adult", "bank_full"])
def test_em_matches_dllp(data, name, size):
    found = load_llp(name, folder=data / "llp")
    order = np.random.default_rng(0).permutation(len(found.y))
    test, rest = np.split(order, [len(order) // 10])
    train = rest[: len(rest) // size * size]
    bags = Bags.from_labels(found.y[train], np.arange(len(train)) // size)
    areas = [
        area(found.y[test], method.fit(found.X[train], bags).decision_function(found.X[test]))
        for method in (DLLP(), CountEM())
    ]
    assert abs(areas[0] - areas[1]) <= 0.003, areas
