"""Bands are those of the delta method, and quantiles of replicates where these are given."""

import numpy as np

from lawful.models.trajectories.uncertainty.bootstrap import Bootstrap

NORMAL = 1.959963984540054


def test_a_band_of_lines_is_that_of_a_sum_of_two_estimates(two_lines):
    _, fit, _ = two_lines
    times = np.array([0.0, 1.5, 4.0])
    curve, lower, upper = np.moveaxis(fit.curves(times), -1, 0)
    cov = fit.standard_errors.covariance
    for k in range(2):
        a, b = (i for i, row in enumerate(fit.rows) if row.label == k + 1 and row.parameter in ("mueta0", "mueta1"))
        error = np.sqrt(cov[a, a] + 2 * times * cov[a, b] + times**2 * cov[b, b])
        centre = fit.values[a] + times * fit.values[b]
        np.testing.assert_allclose(lower[k], centre - NORMAL * error, rtol=1e-9)
        np.testing.assert_allclose(upper[k], centre + NORMAL * error, rtol=1e-9)
    np.testing.assert_allclose(0.5 * (lower + upper), curve, rtol=1e-9)
    told = fit.estimates()
    spread = told.parameter.isin(["psi00", "psi11", "residuals"])
    assert spread.sum() == 2 * 3  # of both factors and of the residuals
    plain, logs = told[~spread], told[spread]
    np.testing.assert_allclose(plain.estimate - plain.lower, NORMAL * fit.standard_errors.observed[~spread], rtol=1e-9)
    np.testing.assert_allclose(plain.upper - plain.estimate, NORMAL * plain.se, rtol=1e-9)
    np.testing.assert_allclose(np.log(logs.upper / logs.estimate), NORMAL * logs.se / logs.estimate, rtol=1e-9)
    np.testing.assert_allclose(np.log(logs.estimate / logs.lower), NORMAL * logs.se / logs.estimate, rtol=1e-9)


def test_a_band_of_replicates_holds_their_quantiles_knots_included(one_class):
    fit, rng = one_class, np.random.default_rng(0)
    values = fit.values + 0.1 * rng.normal(size=(50, len(fit.values)))
    made = Bootstrap(fit.rows, fit.values, values, np.zeros(50), np.ones(50, bool))
    times = np.array([0.0, 3.0])
    level, early, late, knot = values[:, :4].T
    y = level[:, None] + early[:, None] * np.minimum(times, knot[:, None])
    y = y + late[:, None] * np.maximum(times - knot[:, None], 0)
    _, lower, upper = np.moveaxis(fit.curves(times, 0.8, made), -1, 0)
    np.testing.assert_allclose([lower[0], upper[0]], np.quantile(y, [0.1, 0.9], axis=0), rtol=1e-9)
