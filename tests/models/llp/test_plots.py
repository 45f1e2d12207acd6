"""Pictures show the numbers of the fit."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lawful.models.llp import Bags
from lawful.models.llp.labelling import Labelling
from lawful.models.llp.plots import plot_bag_fit, plot_calibration, plot_messages, plot_rounds, plot_yardstick
from lawful.models.llp.rounds import Round


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    plt.close("all")


def test_bags_are_shown_at_what_they_expect_and_report():
    bags = Bags.from_ids([0, 0, 1, 1, 2], counts=[1, 2, np.nan])
    p = np.array([0.2, 0.6, 0.8, 0.8, 0.5])
    line = plot_bag_fit(p, bags).containers[0].lines[0]
    np.testing.assert_allclose(line.get_xydata(), [[0.4, 0.5], [0.8, 1.0]])
    groups = plot_calibration(p, bags, groups=1).containers[0].lines[0]
    np.testing.assert_allclose(groups.get_xydata(), [[0.6, 0.75]])


def test_rounds_are_shown_with_their_verdicts():
    told = Labelling(np.empty(0), 0.0, "bethe", "converged", 1e-5, 30, 0.1, 0.9, (), 0.0)
    rounds = (Round(0, None, -1.0, 0.0, 0.0, 1.0, 0.1), Round(1, told, -0.9, 0.1, 0.02, 1.0, 0.1))
    messages, held = plot_rounds(rounds)
    assert [text.get_text() for text in messages.texts] == ["converged"]
    np.testing.assert_allclose(messages.lines[0].get_xydata(), [[1, 1e-5]])
    np.testing.assert_allclose(held.containers[0].lines[0].get_xydata(), [[0, -1.0], [1, -0.9]])


def test_rounds_without_held_out_bags_say_so():
    _, held = plot_rounds((Round(0, None, np.nan, np.nan, np.nan, 1.0, 0.1),))
    assert [text.get_text() for text in held.texts] == ["no bags were held out"]


def test_labels_of_all_counts_are_shown_behind_the_rounds():
    told = Labelling(np.empty(0), 0.0, "bethe", "slow", 1e-2, 100, 0.1, 0.9, (), 0.0)
    nothing = (Round(0, None, np.nan, np.nan, np.nan, 1.0, 0.1),)
    messages, _ = plot_rounds(nothing, labelling=told)
    assert [text.get_text() for text in messages.texts] == ["slow"]
    np.testing.assert_allclose(messages.lines[0].get_xydata(), [[1, 1e-2]])
    assert [tick.get_text() for tick in messages.get_xticklabels()] == ["all counts"]
    messages, _ = plot_rounds(nothing)
    assert [text.get_text() for text in messages.texts] == ["no messages were sent"]


def test_messages_are_shown_by_the_residual_of_each_sweep():
    line = plot_messages(np.array([1.0, 0.1, 0.0])).lines[0]
    np.testing.assert_allclose(line.get_xydata(), [[1, 1.0], [2, 0.1], [3, 1e-16]])


def test_the_yardstick_is_a_line_of_its_own():
    ax = plot_yardstick([8, 128], {"ours": [0.9, 0.87]}, [0.89, 0.868])
    assert [line.get_label() for line in ax.lines] == ["ours", "supervised, one label a bag"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["8", "128"]
