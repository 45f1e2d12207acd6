"""W5d: the published data, an exact recursion that agrees with listing, and contestants that give its messages."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import workloads
from benchmarks.contestants.w5d import floor
from benchmarks.harness import report
from benchmarks.harness.catalogue import WORKLOADS
from lawful.inference.graphs import counts

pytestmark = pytest.mark.usefixtures("single_precision")


def test_the_data_of_w5d_have_their_check_values():
    h, k = workloads.bags(2048, 0.8)
    assert h.shape == (30, 2048) and h.dtype == k.dtype == np.float32
    assert h[0, 0] == pytest.approx(-1.2028971379, abs=1e-7)
    assert k[:3].tolist() == [832, 836, 823]


@pytest.mark.parametrize("share", [0.8, 0.4])
def test_the_exact_messages_are_those_of_listing_all_assignments(share):
    h, k = workloads.bags(8, share)
    y = np.array(list(itertools.product((0, 1), repeat=8)))
    for row, told in enumerate(workloads.count_messages(8, share)):
        weight = np.exp(-((y.sum(axis=1) - float(k[row])) ** 2) + y @ h[row].astype(float))
        odds = [np.log(weight[y[:, i] == 1].sum() / weight[y[:, i] == 0].sum()) for i in range(8)]
        np.testing.assert_allclose(told, np.array(odds) - h[row], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.8, 0.4])
def test_the_floor_gives_the_messages(share):
    settings = {"members": 64, "share": share}
    run = floor.build(settings)
    assert run.told(run(0))["message_error"] < 1e-6


def test_a_message_that_is_not_finite_is_an_infinite_error_wherever_it_is():
    found = np.zeros(workloads.bags(8, 0.8)[0].shape)
    found[70, 3] = np.nan
    assert floor.build({"members": 8, "share": 0.8}).told(found)["message_error"] == np.inf


def test_ours_gives_the_messages_of_its_own_bags():
    """A few of the bags: what is timed is the same function on all of them."""
    h, k = workloads.bags(8, 0.8)
    found = counts.messages(jnp.asarray(h[:3]), jnp.asarray(workloads.count_potentials(8, k[:3])))
    np.testing.assert_allclose(found, workloads.count_messages(8, 0.8), atol=1e-6)


def test_the_bars_are_twice_the_recursion_by_hand_and_a_row_fails_by_its_error():
    variants = WORKLOADS["W5d"].variants
    assert [v.limit_s / v.work_units * 1e6 for v in variants[::2]] == pytest.approx([0.66, 9.0, 152.0, 1500.0])
    wrong = {"message_error": {"error": float("inf"), "passed": False}}
    shown = {"contestant": "floor", "failure": None, "accuracy": wrong, "peak_mb": 1.0, "above_bare_mb": 1.0}
    assert report.row(shown | {"bar": None})[1] == "no time: wrong value"
