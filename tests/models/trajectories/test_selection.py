"""Selection by shrinkage: scales are those of the regularised horseshoe, and true covariates are told from noise."""

import jax
import numpy as np
import pytest
from scipy import stats

from lawful import handlers
from lawful.errors import LawfulError
from lawful.models.trajectories import Bounds, Model, Priors, TrajectoryMixture, draw_parameters, parameters_of
from lawful.models.trajectories.posterior.selection import draw_scales, inclusion_weights, scales_of

KNOTS = Bounds(0.1, 0.9)
MODEL = Model("LIN", 2, p_gate=3, p_growth=2, joint=False)


def test_scales_have_the_laws_of_the_horseshoe_and_end_at_the_slab():
    run = jax.jit(jax.vmap(lambda key: handlers.seed(draw_scales, key)("gate", 5, 400, 1.0, 1.5)))
    at = jax.tree.map(np.asarray, run(jax.random.split(jax.random.key(0), 3000)))
    laws = {
        "gate_local": stats.halfcauchy(), "gate_global": stats.halfcauchy(0, 1 / 4 * 2 / 20),
        "gate_slab": stats.invgamma(2.0, scale=2.0 * 1.5**2),
    }  # fmt: skip
    for name, law in laws.items():
        assert stats.kstest(at[name].reshape(len(at[name]), -1)[:, -1], law.cdf).pvalue > 1e-8, name
    scales = np.asarray(scales_of(at, "gate"))
    raw, slab = at["gate_global"][:, None] * at["gate_local"], at["gate_slab"][:, None] ** 0.5
    np.testing.assert_allclose(scales, slab * raw / np.sqrt(slab**2 + raw**2), rtol=1e-10)
    assert np.all(scales <= slab) and scales_of({**at, "gate_local": 1e200 * at["gate_local"][:1]}, "gate").shape
    assert inclusion_weights(scales, 400).shape == (5,)


@pytest.mark.slow
def test_a_selected_covariate_has_one_scale_for_all_its_coefficients():
    record = handlers.trace(handlers.seed(draw_parameters, jax.random.key(1)))
    sites = jax.jit(lambda: {a[-1]: v for a, v in record(MODEL, Priors(), KNOTS, 100).choices.items()})()
    plain = {name: value for name, value in sites.items() if not name.endswith("_local")}
    one, two = parameters_of(sites, MODEL, KNOTS), parameters_of(plain, MODEL, KNOTS)
    gate, effect = scales_of(sites, "gate"), scales_of(sites, "effect")
    np.testing.assert_allclose(one.gate[:, 1:], two.gate[:, 1:] * gate[None], rtol=1e-12)
    np.testing.assert_allclose(one.gate[:, 0], two.gate[:, 0], rtol=1e-12)  # an intercept is not shrunk
    np.testing.assert_allclose(one.slope, two.slope * effect[None, None], rtol=1e-12)
    np.testing.assert_allclose(one.mean, two.mean)


def candidates(seed, n=300, p=20, waves=5):
    """Two classes of lines; of 20 candidates the first two decide the class, the third and the fourth the factors."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    label = (rng.uniform(size=n) < 1 / (1 + np.exp(-(1.2 * x[:, 0] - 1.2 * x[:, 1])))).astype(int)
    t = np.tile(np.arange(float(waves)), (n, 1))
    t[:, 1:-1] += rng.uniform(-0.2, 0.2, size=(n, waves - 2))
    centre = np.array([[0.0, 0.0], [3.0, 0.8]])[label]
    moved = np.stack([0.6 * x[:, 2] + 0.6 * x[:, 3], 0.2 * x[:, 2] - 0.2 * x[:, 3]], axis=1)
    eta = centre + moved + rng.normal(size=(n, 2)) * [1.0, 0.3]
    y = 10 + 2 * (eta[:, :1] + eta[:, 1:] * t + 0.4 * rng.normal(size=t.shape))
    data = {f"Y{j + 1}": y[:, j] for j in range(waves)} | {f"T{j + 1}": t[:, j] for j in range(waves)}
    return data | {f"x{j}": x[:, j] for j in range(p)}


def forest_then_fit(data, p):
    """The route of the paper: a forest on the factor scores of one class, then a fit with what it takes for important.

    Important is what stands above the mean; in the fit a part keeps a covariate by Wald tests at 5 %, Bonferroni's.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.feature_selection import SelectFromModel

    columns = {"y_var": "Y", "t_var": "T", "records": range(1, 6)}
    scores = TrajectoryMixture(1, "LIN", n_starts=4).fit(data, **columns).factor_scores()[0][:, 0]
    x = np.stack([data[f"x{j}"] for j in range(p)], axis=1)
    forest = RandomForestRegressor(300, random_state=0).fit(x, (scores - scores.mean(axis=0)) / scores.std(axis=0))
    chosen = np.flatnonzero(SelectFromModel(forest, prefit=True).get_support())
    names = [f"x{j}" for j in chosen]
    fit = TrajectoryMixture(2, "LIN", covariate_density="conditional", n_starts=8).fit(
        data, **columns, gate=names, growth=names
    )
    z = {row.parameter + str(row[1]): abs(row.estimate / row.se) for row in fit.estimates().itertuples()}
    kept = {("gate", int(j)) for i, j in enumerate(chosen) if z[f"beta{i + 1}2"] > stats.norm.isf(0.025)}
    four = [(i, j, f, k) for i, j in enumerate(chosen) for f in (0, 1) for k in (1, 2)]
    return kept | {("growth", int(j)) for i, j, f, k in four if z[f"beta{i + 1}{f}{k}"] > stats.norm.isf(0.025 / 4)}


@pytest.mark.slow
@pytest.mark.optimised
def test_t14_true_covariates_are_selected_and_noise_is_not():
    """Ten data sets: at least 95 % of the true ones, at most 5 % of the others, and an F1 above the forest's."""
    names, true = [f"x{j}" for j in range(20)], {("gate", 0), ("gate", 1), ("growth", 2), ("growth", 3)}
    ours, rival = [], []
    for seed in range(10):
        data = candidates(seed)
        found = TrajectoryMixture(2, "LIN", covariate_density="conditional").bayes(
            data, "Y", "T", range(1, 6), gate=names, growth=names, key=seed, select="horseshoe", runs=1,
            particles=2048,
        )  # fmt: skip
        table = found.inclusion()
        ours.append({(row.part, int(row.covariate[1:])) for row in table.itertuples() if row.weight > 0.5})
        rival.append(forest_then_fit(data, 20))
        print(seed, table.pivot(index="covariate", columns="part", values="weight").round(2).T.to_string(), rival[-1])
    hits, size = sum(len(own & true) for own in ours), sum(len(own) for own in ours)
    right, all_of = sum(len(own & true) for own in rival), sum(len(own) for own in rival)
    f1, other = 2 * hits / (size + 40), 2 * right / (all_of + 40)
    print("true positives", hits / 40, "false positives", (size - hits) / 360, "F1", f1, "forest, then fit", other)
    assert hits >= 0.95 * 40 and size - hits <= 0.05 * 360 and f1 > other


def test_a_word_that_names_no_rule_is_refused():
    with pytest.raises(LawfulError, match="select='lasso'"):
        TrajectoryMixture(1, "LIN").bayes({}, "Y", "T", [1], key=0, select="lasso")
