"""The data and the exact answers of the benchmarks are the published numbers."""

import json

import numpy as np
import pytest

from benchmarks import monad_bayes, workloads


@pytest.mark.parametrize(
    ("model", "first", "total"), [("LG", 0.1563400461, -319.4541143), ("SV", -0.0842617813, -17.2116754)]
)
def test_the_observations_of_w1_have_their_check_values(model, first, total):
    observed = workloads.observations(model)
    assert observed.shape == (1000,)
    assert observed[0] == pytest.approx(first, abs=5e-11)
    assert observed.sum() == pytest.approx(total, abs=5e-8)


@pytest.mark.parametrize(
    ("model", "log_evidence", "tolerance"),
    [("LG", -1880.5700402943, 5e-11), pytest.param("SV", -913.9721985, 5e-8, marks=pytest.mark.slow)],
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


@pytest.mark.slow
def test_the_exact_answers_of_w2_are_those_of_importance_sampling():
    """20 000 of the published 200 000 draws: the log evidence within 0.02, means and scales within 2 % of a scale."""
    log_evidence, mean, scale = workloads.regression_evidence(20_000)
    exact = workloads.exact_answers("logistic")
    assert log_evidence == pytest.approx(exact["log_evidence"], abs=0.02)
    published = np.array(workloads.REGRESSION_SCALE)
    assert np.abs((mean - [exact[f"mean_{i}"] for i in range(20)]) / published).max() < 0.05
    assert np.abs(scale / published - 1).max() < 0.05


def test_the_normal_at_the_mode_of_w2_is_near_its_posterior():
    mode, covariance = workloads.regression_laplace()
    scale = np.array(workloads.REGRESSION_SCALE)
    assert np.abs((mode - workloads.REGRESSION_MEAN) / scale).max() < 0.4
    assert np.abs(np.sqrt(np.diagonal(covariance)) / scale - 1).max() < 0.03
    root = workloads.regression_walk()
    np.testing.assert_allclose(root @ root.T, 2.38**2 / 20 * covariance, atol=1e-15)


def test_the_starts_of_w3_are_fixed_and_chains_start_apart():
    starts = workloads.regression_starts(64)
    assert starts.shape == (64, 20) and len(np.unique(starts[:, 0])) == 64
    np.testing.assert_array_equal(starts[:10], workloads.regression_starts(10))
    means, labels = workloads.mixture_starts(64)
    assert means.shape == (64, 3) and labels.shape == (64, 100)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert np.abs(np.bincount(labels.ravel()) / labels.size - 1 / 3).max() < 0.02


def test_the_data_of_w3b_have_their_check_values():
    observed = workloads.mixture()
    assert observed[0] == pytest.approx(-2.8778861907, abs=5e-11)
    assert observed.sum() == pytest.approx(35.6207428, abs=5e-8)


def test_the_exact_moments_of_w3b_are_the_published_numbers():
    """Half of the points of the published grid: sums of a smooth integrand gain nothing from more."""
    mean, scale = workloads.mixture_moments(45)
    np.testing.assert_allclose(mean, workloads.MIXTURE_MEAN, atol=6e-6)
    np.testing.assert_allclose(scale, workloads.MIXTURE_SCALE, atol=6e-6)
    assert workloads.posterior_means("mixture")["mean_1"] == workloads.MIXTURE_MEAN[1]
    assert workloads.posterior_scales("mixture")["mean_2"] == workloads.MIXTURE_SCALE[2]


def test_exchanged_means_move_the_moments_of_w3b_by_a_twentieth_of_a_scale():
    """What chains of a few thousand moves leave out: the error that the benchmark allows them holds it."""
    inner, _ = workloads.mixture_moments(60, ordered=True)
    shift = (inner - workloads.MIXTURE_MEAN) / workloads.MIXTURE_SCALE
    np.testing.assert_allclose(shift, [-0.009, -0.036, 0.043], atol=0.002)


@pytest.mark.parametrize(("length", "expected"), [(10, -13.8107473318), (800, -1168.2839027), (1000, -1455.2138675)])
def test_the_exact_evidence_of_the_hidden_markov_model_of_mb_is_the_published_number(length, expected):
    found = monad_bayes.exact_answers("HMM", length, "SMC100")["log_evidence"]
    assert found == pytest.approx(expected, abs=5e-8, rel=0)


def test_the_quadrature_of_the_line_of_mb_has_converged():
    x, label = monad_bayes.data("LR", 20)
    few, many = (monad_bayes.line_evidence(x, label, points) for points in (31, 45))
    assert few == pytest.approx(many, abs=1e-5)


def test_algorithms_without_an_evidence_have_no_exact_answer():
    assert monad_bayes.exact_answers("HMM", 10, "MH100") == monad_bayes.exact_answers("LDA", 5, "SMC100") == {}


def test_the_moments_of_w4_are_those_of_the_reference_posterior(data):
    """Mu within 5.7 standard errors of the published draws, its spread within 4 %; a coarser grid changes nothing."""
    folder = data / "posteriordb" / "eight_schools-eight_schools_noncentered"
    reference = json.loads((folder / "reference.json").read_text())["parameters"]["mu"]
    assert abs(workloads.SCHOOLS_MEAN[0] - reference["mean"]) < 5.7 * reference["mcse_mean"]
    assert workloads.SCHOOLS_SCALE[0] == pytest.approx(reference["sd"], rel=0.04)
    mean, scale = workloads.schools_moments(401)
    np.testing.assert_allclose(mean, workloads.SCHOOLS_MEAN, atol=2e-4)
    np.testing.assert_allclose(scale, workloads.SCHOOLS_SCALE, atol=2e-4)
