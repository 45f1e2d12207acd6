"""Agreement does not know the names of classes."""

import itertools

import numpy as np

from lawful.models.trajectories import accuracy, entropy_index, kappa


def test_accuracy_is_the_best_over_all_names_and_renaming_changes_nothing():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 3, 30), rng.integers(0, 3, 30)
        best = max(np.mean(np.array(names)[a] == b) for names in itertools.permutations(range(3)))
        assert accuracy(a, b) == best
        assert accuracy(np.array(["x", "y", "z"])[a], 7 - b) == best
        assert abs(kappa(2 - a, b) - kappa(a, b)) < 1e-12
    assert accuracy([0, 0, 1], [1, 1, 0]) == kappa([0, 0, 1], [1, 1, 0]) == 1.0


def test_entropy_is_one_for_certainty_and_unknown_for_one_class():
    assert entropy_index(np.eye(3)[[0, 1, 2, 0]]) == 1.0
    assert np.isnan(entropy_index(np.ones((4, 1))))
