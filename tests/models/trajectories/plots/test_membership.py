"""Memberships in pictures: classes are matched whatever their names, and calibrated ones lie on the diagonal."""

import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.models.trajectories.plots import plot_membership, plot_reliability, reliability


@pytest.fixture
def told():
    """Memberships of 20,000 persons, and classes drawn from them."""
    rng = np.random.default_rng(4)
    w = rng.dirichlet([0.6, 0.5, 0.4], size=20_000)
    return w, (rng.uniform(size=(len(w), 1)) > np.cumsum(w, axis=1)).sum(axis=1)


def test_calibrated_memberships_lie_on_the_diagonal_under_any_names_and_overconfident_ones_do_not(told):
    w, labels = told
    for given, names in ((w, labels), (w[:, [2, 0, 1]], np.array(["c", "a", "b"])[labels])):
        found = reliability(given, names)
        assert np.all(np.abs(found.right - found.told) < 4.5 * found.error)  # 10 groups: false alarm below 1e-4
        assert found.number.sum() == w.size
    sharper = w**2 / np.sum(w**2, axis=1, keepdims=True)
    wrong = reliability(sharper, labels)
    assert np.max(np.abs(wrong.right - wrong.told) / wrong.error) > 10


def test_the_score_of_brier_is_told_for_each_way(told):
    w, labels = told[0][:200], told[1][:200]
    ax = plot_reliability({"plug-in": w, "flat": np.full_like(w, 1 / 3)}, labels)
    _, names = ax.get_legend_handles_labels()
    expected = np.mean(np.sum((w - np.eye(3)[labels]) ** 2, axis=1))
    assert names == [f"plug-in: Brier score {expected:.4f}", "flat: Brier score 0.6667"]


def test_a_posterior_under_other_names_gives_the_same_picture(told):
    w, mean = told[0][:50], 0.9 * told[0][:50] + 0.1 / 3
    first, second = (
        plot_membership(w, mean[:, order], mean[:, order] - 0.05, mean[:, order] + 0.05, label=2)
        for order in ([0, 1, 2], [2, 0, 1])
    )
    for ax in (first, second):
        np.testing.assert_allclose(ax.get_lines()[0].get_xydata(), np.stack([w[:, 1], mean[:, 1]], axis=1))
    with pytest.raises(LawfulError, match="same persons"):
        plot_membership(w, mean[:, :2])


def test_errors_of_small_groups_do_not_stretch_the_axes_beyond_shares():
    ax = plot_reliability({"plug-in": [[0.9, 0.1], [0.2, 0.8]]}, [1, 2])
    assert ax.get_ylim() == ax.get_xlim() == pytest.approx((-0.03, 1.03))
