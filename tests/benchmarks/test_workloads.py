"""The data and the exact answers of the benchmarks are the published numbers."""

import numpy as np
import pytest

from benchmarks import workloads


@pytest.mark.parametrize(
    ("model", "first", "total"), [("LG", 0.1563400461, -319.4541143), ("SV", -0.0842617813, -17.2116754)]
)
def test_the_observations_of_w1_have_their_check_values(model, first, total):
    observed = workloads.observations(model)
    assert observed.shape == (1000,)
    assert observed[0] == pytest.approx(first, abs=5e-11)
    assert observed.sum() == pytest.approx(total, abs=5e-8)


@pytest.mark.parametrize(
    ("model", "log_evidence", "tolerance"), [("LG", -1880.5700402943, 5e-11), ("SV", -913.9721985, 5e-8)]
)
def test_the_exact_evidence_of_w1_is_the_published_number(model, log_evidence, tolerance):
    assert workloads.exact_answers(model)["log_evidence"] == pytest.approx(log_evidence, abs=tolerance, rel=0)


def test_point_masses_agree_with_the_kalman_filter_where_both_are_exact():
    constants, observed = workloads.MODELS["LG"], workloads.observations("LG")[:50]
    kalman = workloads.kalman_filter(constants, observed)
    grid = workloads.point_mass_filter(constants, observed, points=400)
    assert np.allclose(grid, kalman, rtol=0, atol=1e-10)
