"""Pictures show the numbers of the fit: curves with bands, persons, the gate, starts, and profiles."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy.special import expit, softmax

from lawful.errors import LawfulError
from lawful.models.trajectories.plots import Plots, plot_class_number, plot_shape_posterior
from lawful.models.trajectories.plots.gate import log_odds
from lawful.models.trajectories.plots.style import COLOURS, blended
from lawful.models.trajectories.uncertainty.bootstrap import Bootstrap

from .made import TRUTH, fit_at


def points(ax, label):
    """The line or marks whose label begins so."""
    lines = [*ax.get_lines(), *(bar.lines[0] for bar in ax.containers if hasattr(bar, "lines"))]
    named = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    handle = next(handle for name, handle in named.items() if name.startswith(label))
    found = handle if handle in lines else handle.lines[0]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


@pytest.mark.slow
def test_curves_are_those_of_the_fit_with_knots_on_them(fit):
    ax = fit.plot.curves(times=np.array([0.0, 1.0, 4.0]))
    for k in (1, 2):
        np.testing.assert_allclose(points(ax, f"class {k}")[1], fit.mean_curves(np.array([0.0, 1.0, 4.0]))[k - 1])
    _, lower, upper = np.moveaxis(fit.curves(np.array([0.0, 1.0, 4.0])), -1, 0)
    for k, band in enumerate(ax.collections[:2]):
        heights = band.get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [lower[k].min(), upper[k].max()])
    knots = [bar.lines[0].get_xdata()[0] for bar in ax.containers]
    np.testing.assert_allclose(knots, [2.3, 3.1], atol=1e-9)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("T", "Y")


@pytest.mark.slow
def test_a_bootstrap_gives_bands_and_intervals_where_wald_gives_none(times):
    moved = times.copy()
    moved[0, 2] = 2.3
    fit = fit_at(TRUTH, moved)
    rows = [i for i, row in enumerate(fit.rows) if row.parameter == "mug"]
    values = fit.values + np.linspace(-0.1, 0.1, 41)[:, None]
    replicates = Bootstrap(fit.rows, fit.values, values, np.zeros(41), np.ones(41, bool))
    ax = fit.plot.curves(bootstrap=replicates)
    ends = [bar.lines[2][0].get_segments()[0][:, 0] for bar in ax.containers]
    np.testing.assert_allclose(ends, fit.values[rows][:, None] + np.array([-0.095, 0.095]), atol=1e-9)
    assert "no band" not in "".join(ax.get_legend_handles_labels()[1])


@pytest.mark.slow
def test_a_knot_on_an_observed_time_is_hollow_and_has_no_interval(times):
    moved = times.copy()
    moved[0, 2] = 2.3
    ax = fit_at(TRUTH, moved).plot.curves()
    assert len(ax.containers) == 1
    assert any("kink" in text.get_text() for text in ax.get_legend().get_texts())


@pytest.mark.slow
def test_persons_have_the_colours_of_their_memberships(fit):
    ax = fit.plot.persons(most=20, seed=3)
    lines = ax.collections[0]
    assert len(lines.get_segments()) == 20 and "20 of 150 persons" in ax.get_title()
    chosen = np.random.default_rng(3).permutation(150)[:20]
    colours, sure = lines.get_colors()[:, :3], fit.predict_proba()[chosen]
    for colour, w in zip(colours, sure, strict=True):
        if w.max() > 0.9999:
            np.testing.assert_allclose(colour, to_rgb(COLOURS[w.argmax()]), atol=0.01)
    np.testing.assert_allclose(lines.get_segments()[0][:, 1], fit.data.y[chosen[0]])
    half = blended(np.array([[0.5, 0.5]]), COLOURS[:2])[0]
    assert not any(np.allclose(half, to_rgb(colour), atol=0.1) for colour in COLOURS[:2])


@pytest.mark.slow
def test_the_gate_shows_odds_for_a_standard_deviation_and_probabilities_before_any_outcome(fit):
    odds, along = fit.plot.gate()
    spread = fit.data.gate.std(ddof=1)
    np.testing.assert_allclose(points(odds, "class 2")[0], np.exp(0.8 * spread), rtol=1e-8)
    x, share = points(along, "class 2")
    np.testing.assert_allclose(share, 1 / (1 + np.exp(-0.3 - 0.8 * x)), rtol=1e-8)
    both = sum(points(along, f"class {k}")[1] for k in (1, 2))
    np.testing.assert_allclose(both, 1.0)
    with pytest.raises(LawfulError, match="expected 2"):
        fit.plot.gate(axes=plt.subplots()[1])


@pytest.mark.slow
def test_a_gate_covariate_with_two_values_is_two_groups(fit):
    two = replace(fit, data=replace(fit.data, gate=(fit.data.gate > 0) * 1.0))
    _, along = two.plot.gate()
    assert [tick for tick in along.get_xticks()] == [0.0, 1.0]
    np.testing.assert_allclose(points(along, "class 2")[1], 1 / (1 + np.exp([-0.3, -1.1])), rtol=1e-8)


@pytest.mark.slow
def test_bands_of_the_gate_are_of_walds_form_on_log_odds(fit):
    _, along = fit.plot.gate()
    covariance = fit.standard_errors.covariance[-2:, -2:]
    for k, sign in ((0, -1.0), (1, 1.0)):
        vertices = along.collections[k].get_paths()[0].vertices
        x = np.unique(vertices[:, 0])
        design = np.stack([np.ones_like(x), x], axis=1)
        error = 1.959963984540054 * np.sqrt(np.einsum("ma,ab,mb->m", design, covariance, design))
        middle = sign * (0.3 + 0.8 * x)
        for at, low, high in zip(x, expit(middle - error), expit(middle + error), strict=True):
            seen = vertices[vertices[:, 0] == at, 1]
            np.testing.assert_allclose([seen.min(), seen.max()], [low, high], rtol=1e-6)


def test_log_odds_and_their_slope_are_exact_for_three_classes_and_where_one_is_certain():
    with jax.enable_x64(True):
        logits = np.array([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0], [-3.0, 1.0, 0.5]])
        for k in range(3):
            value, slope = log_odds(logits, k)
            share = softmax(logits, axis=1)[:, k]
            np.testing.assert_allclose(value, np.log(share / (1 - share)), rtol=1e-12, atol=1e-14)
            expected = jax.vmap(jax.grad(lambda at, k=k: at[k] - jax.nn.logsumexp(jnp.delete(at, k))))(logits)
            np.testing.assert_allclose(slope, expected, rtol=1e-12)
    value, slope = log_odds(np.array([[0.0, 900.0, 0.0]]), 1)
    np.testing.assert_allclose(value, 900.0 - np.log(2.0))
    np.testing.assert_allclose(slope, [[-0.5, 1.0, -0.5]])


def test_an_arm_of_an_interval_is_no_longer_than_the_range_of_a_coefficient(fit, monkeypatch):
    unsure = fit.standard_errors._replace(observed=fit.standard_errors.observed * 1e4)
    monkeypatch.setitem(fit.__dict__, "standard_errors", unsure)
    (segment,) = fit.plot.gate()[0].containers[0].lines[2][0].get_segments()
    middle = 0.8 * fit.data.gate.std(ddof=1)
    np.testing.assert_allclose(np.log(segment[:, 0]), [middle - 20.0, middle + 20.0], rtol=1e-6)


def test_a_covariate_that_separates_the_classes_is_drawn_without_a_warning(fit, times):
    steep = 19.5 / fit.data.gate.std()
    certain = fit_at(TRUTH._replace(gate=np.array([[0.0, 0.0], [0.0, steep]])), times)
    assert any(finding.kind == "gate" for finding in certain.boundary)
    odds, along = certain.plot.gate()
    assert odds.get_xlabel().endswith("no intervals at an edge")
    share = points(along, "class 2")[1]
    assert np.isfinite(share).all() and share.max() == 1.0


def test_every_start_is_drawn_in_the_group_of_its_optimum(fit):
    ax = fit.plot.starts()
    _, labels = ax.get_legend_handles_labels()
    assert [label.split(": ")[1] for label in labels] == ["2 starts", "1 start", "1 start"]
    assert labels[-1].startswith("degenerate")
    np.testing.assert_allclose(points(ax, labels[1])[1], 6.0, rtol=1e-6)
    np.testing.assert_allclose(points(ax, "degenerate")[1], -40.0, rtol=1e-6)  # higher than the best, and means nothing
    assert ax.get_ylim()[0] < -40 and ax.get_ylim()[1] > 6
    assert sum(len(line.get_xdata()) for line in ax.get_lines()) == 4


def test_a_profile_is_zero_at_the_estimate_and_ticks_are_observed_times(fit, monkeypatch):
    knot = 2.3
    monkeypatch.setattr(
        type(fit), "profile", lambda self, label, values: self.minus2ll + 9 * (np.asarray(values) - knot) ** 2
    )
    ax = fit.plot.profile(1)
    line, estimate, level, ticks = ax.get_lines()
    np.testing.assert_allclose(line.get_ydata(), 9 * (line.get_xdata() - knot) ** 2, atol=1e-6)
    assert estimate.get_ydata()[0] == 0 and level.get_ydata()[0] == pytest.approx(3.8414588)
    assert set(ticks.get_xdata()) <= set(fit.data.t.reshape(-1))
    with pytest.raises(LawfulError, match="class 3 of 2"):
        fit.plot.profile(3)


def test_the_lowest_point_of_each_criterion_is_zero():
    table = {"classes": [1, 2, 3], "log_evidence": [-90.0, -80.0, -81.0], "error": [0.1, 0.2, np.nan],
             "bic": [200.0, 190.0, 185.0]}  # fmt: skip
    ax = plot_class_number(table)
    _, labels = ax.get_legend_handles_labels()
    assert labels == ["-2 log evidence, best at 2", "BIC, best at 3"]
    np.testing.assert_allclose(points(ax, "-2 log")[1], [20.0, 0.0, 2.0])
    np.testing.assert_allclose(points(ax, "BIC")[1], [15.0, 5.0, 0.0])
    with pytest.raises(LawfulError, match="log_evidence"):
        plot_class_number({"classes": [1]})


def test_a_posterior_of_knots_tells_median_and_interval_of_each_class():
    draws = np.stack([np.linspace(1.0, 3.0, 201), np.linspace(4.0, 4.5, 201)], axis=1)
    ax = plot_shape_posterior(draws.reshape(3, 67, 2), times=np.arange(6.0))
    _, labels = ax.get_legend_handles_labels()
    assert labels == ["class 1: 2 (1.05, 2.95)", "class 2: 4.25 (4.01, 4.49)"]


def test_pictures_are_drawn_on_the_axes_that_are_given(fit):
    _, ax = plt.subplots()
    pictures = Plots(fit)
    assert pictures.curves(ax=ax) is ax and pictures.persons(ax=ax) is ax and pictures.starts(ax=ax) is ax
