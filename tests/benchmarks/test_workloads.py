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


@pytest.mark.parametrize(
    ("latents", "log_density"), [(10, -20.482058), (100, -201.419824), (500, -1005.734618), (2500, -5027.321549)]
)
def test_the_log_density_of_the_chain_of_w7_is_the_published_number(latents, log_density):
    assert workloads.chain_answers(latents)["log_density"] == pytest.approx(log_density, abs=5e-7, rel=0)


def test_the_gradient_of_the_chain_of_w7_is_that_of_its_log_density():
    y, x = workloads.chain_data(5), np.full(5, workloads.CHAIN_VALUE)

    def log_density(x):
        steps = x - 0.5 * np.concatenate([[0.0], x[:-1]])
        return -0.5 * (steps @ steps + (y - x) @ (y - x))

    slopes = [(log_density(x + e) - log_density(x - e)) / 2e-6 for e in 1e-6 * np.eye(5)]
    assert workloads.chain_answers(5)["gradient_sum"] == pytest.approx(sum(slopes), abs=1e-8)


def test_the_data_of_w2_have_their_check_values():
    covariates, labels = workloads.regression()
    assert covariates[0, 1] == pytest.approx(0.3455841921, abs=5e-11)
    assert covariates.sum() == pytest.approx(728.2762008, abs=5e-8)
    assert labels.sum() == 521
    assert (covariates[:, 0] == 1).all()


def test_the_exact_answers_of_w2_are_those_of_importance_sampling():
    """20 000 of the published 200 000 draws: the log evidence within 0.02, means and scales within 2 % of a scale."""
    log_evidence, mean, scale = workloads.regression_evidence(20_000)
    exact = workloads.exact_answers("logistic")
    assert log_evidence == pytest.approx(exact["log_evidence"], abs=0.02)
    published = np.array(workloads.REGRESSION_SCALE)
    assert np.abs((mean - [exact[f"mean_{i}"] for i in range(20)]) / published).max() < 0.05
    assert np.abs(scale / published - 1).max() < 0.05
