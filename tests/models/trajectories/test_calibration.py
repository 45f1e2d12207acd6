"""The Bayesian fit over many data sets (slow): calibration, coverage, and the number of classes; tables are printed.

The reduced design: straight lines, 150 persons, 5 waves at times of their own. Data are drawn by a program of dense
normals that shares no code with the density.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray
from arviz_stats import ess, rhat
from scipy.optimize import linear_sum_assignment

import lawful
from lawful.inference.check import sbc
from lawful.models.trajectories import (
    Bounds,
    Design,
    Model,
    Priors,
    TrajectoryMixture,
    draw_parameters,
    panel,
    simulate_trajectories,
)
from lawful.models.trajectories.model.reports import listed, ordered
from lawful.models.trajectories.posterior.bayes import Posed, climbed_for, sampled

from . import published

N, WAVES = 150, 5
WIDE = {"y_var": "Y", "t_var": "T", "records": range(1, WAVES + 1)}
NO_KNOTS = Bounds(jnp.zeros(()), jnp.ones(()))


def covariates(seed=0, n=N):
    """Times in ranges of time, a gate covariate and a growth covariate."""
    rng = np.random.default_rng(seed)
    t = np.tile(np.linspace(0.0, 1.0, WAVES), (n, 1))
    t[:, 1:-1] += rng.uniform(-0.06, 0.06, size=(n, WAVES - 2))
    return t, rng.normal(size=(n, 1)), rng.normal(size=(n, 1))


def dense(model, t, x_gate, x_growth, priors):
    """A program that draws parameters and outcomes: a mixture of normals with J x J covariances."""

    def trajectories(y):
        at = draw_parameters(model, priors, NO_KNOTS)
        logits = jnp.concatenate([jnp.ones((len(t), 1)), x_gate], axis=1) @ at.gate.T
        loads = jnp.stack([jnp.ones_like(t), t], axis=-1)
        factors = at.mean[None] + jnp.einsum("kqp,np->nkq", at.slope, x_growth)
        mean = jnp.einsum("njq,nkq->nkj", loads, factors)
        psi = at.chol @ jnp.swapaxes(at.chol, 1, 2)
        cov = jnp.einsum("nja,kab,nib->nkji", loads, psi, loads)
        cov = cov + at.noise[None, :, None, None] * jnp.eye(WAVES)[None, None]
        parts = dist.MultivariateNormal(mean, scale_tril=jnp.linalg.cholesky(cov))
        with lawful.plate("person", len(t)):
            lawful.sample("y", dist.MixtureSameFamily(dist.Categorical(logits=logits), parts), obs=y)

    return trajectories


def names_at_random(key, draws, classes):
    """Rename the classes of each draw at random, as the posterior allows."""
    order = jax.vmap(lambda k: jax.random.permutation(k, classes))(jax.random.split(key, len(draws["mean"])))
    rows = jnp.arange(len(order))[:, None]
    moved = {name: array[rows, order] for name, array in draws.items() if name != "gate"}
    return moved | {"gate": jnp.take_along_axis(draws["gate"], order[:, None, :], axis=2)}


@pytest.mark.slow
@pytest.mark.optimised
def test_t11_posterior_draws_are_calibrated():
    """200 draws of parameters and data together; ranks of every coordinate and of sorted functionals are uniform."""
    model = Model("LIN", 2, p_gate=1, p_growth=1, joint=False)
    t, x_gate, x_growth = covariates()
    priors = jax.tree.map(jnp.asarray, Priors())

    def algorithm(form):
        del form  # the sampler has the closed form

        def infer(key, shape, y):
            del shape
            at = Posed(priors, panel(np.asarray(y), t, x_gate, x_growth), NO_KNOTS, jnp.zeros(()))
            climbed = partial(climbed_for, at, model, 8, 0)
            found = sampled(key, at, model, "smc", {"particles": 1024, "runs": 1}, climbed)
            draws = {name: jnp.asarray(array[0]) for name, array in found.posterior.items()}
            return names_at_random(jax.random.fold_in(key, 1), draws, 2)

        return infer

    functionals = {
        "larger level": lambda at: jnp.max(at["mean"][:, 0]),
        "smaller slope": lambda at: jnp.min(at["mean"][:, 1]),
        "sum of residual SDs": lambda at: jnp.sum(at["noise"]),
        "size of the gate": lambda at: jnp.sum(at["gate"] ** 2),
        "level and slope between persons": lambda at: jnp.sum(at["spread"][:, 0] * at["root"][:, 1, 0]),
        "larger effect": lambda at: jnp.max(at["effect"]),
    }
    program = dense(model, jnp.asarray(t), jnp.asarray(x_gate), jnp.asarray(x_growth), Priors())
    report = sbc(
        program, algorithm, np.zeros((N, WAVES)), n_sims=200, draws=19, bins=20, quantities=functionals, batched=False,
        alpha=0.01,
    )  # fmt: skip
    print(report)
    assert report.passed, report


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.reference
def test_t11_posterior_of_the_demonstration_data_is_about_the_estimate(demo):
    """47 parameters: means of the posterior in its standard deviations from the estimate, as Mplus and OpenMx have it.

    The bar of a quarter holds for most; variances have skew posteriors, whose means lie above their modes.
    """
    found = TrajectoryMixture(2).bayes(
        demo, "Y", "T", range(1, 11), gate=["gx1", "gx2"], growth=["ex1", "ex2"], key=0, runs=2
    )
    table, known = found.estimates(), published.table("full")
    swapped = np.argmin(table[table.parameter == "mug"]["estimate"].to_numpy()) == 1
    away, gates = [], len(table) - 3
    for i, row in enumerate(table.itertuples()):
        label = 3 - row[1] if swapped else row[1]
        estimate = known[(label, row.parameter) if i < gates else (2, f"beta{i - gates}")][0]
        away.append((row.estimate - (-estimate if swapped and i >= gates else estimate)) / row.se)
        print(f"{row[1]} {row.parameter:10} {row.estimate:9.4f} sd {row.se:7.4f} from the estimate {away[-1]:5.2f} SD")
    size = np.abs(away)
    print(f"mean {size.mean():.2f}, largest {size.max():.2f}, above a quarter {np.sum(size > 0.25)} of {len(size)}")
    draws = xarray.Dataset({"parameter": (("chain", "draw", "number"), np.asarray(found.values))})
    worst, least = float(rhat(draws).parameter.max()), float(ess(draws).parameter.min())
    print(f"largest r-hat {worst:.3f}, least bulk ESS {least:.0f}")
    assert found.ok and worst < 1.01 and least > 400
    assert size.mean() < 0.2 and np.mean(size <= 0.25) > 0.75 and size.max() < 0.6
    halved = replace(found, at=found.at._replace(width=0.5 * found.at.width))  # the same draws, weighted anew
    ratio = (halved.log_likelihood_by_person - found.log_likelihood_by_person).sum(axis=2).reshape(-1)
    values, weight = found.values.reshape(len(ratio), -1), np.exp(ratio - ratio.max())
    moved = np.abs(weight @ values / weight.sum() - values.mean(axis=0)) / values.std(axis=0)
    print(f"half the smoothing of kinks moves means by {moved.max():.3f} SD at most")
    assert moved.max() < 0.05
    assert found.occupied()[1] > 0.999 and found.names.divergence < 0.1  # no bimodal marginal: draws agree on classes


def separated(classes, seed, n=N):
    """Data of so many classes whose growth factors lie 4.4 (Mahalanobis) or more apart: so few persons tell no less."""
    rng = np.random.default_rng(1000 * classes + seed)
    t, _, _ = covariates(seed, n)
    centre = np.array([[0.0, 0.0], [4.0, 2.0], [-1.0, -4.0]])[rng.integers(classes, size=n)]
    eta = centre + rng.multivariate_normal([0, 0], [[1.0, 0.2], [0.2, 0.5]], size=n)
    y = 20 + 5 * (eta[:, :1] + eta[:, 1:] * t + 0.4 * rng.normal(size=t.shape))
    return {f"Y{j + 1}": y[:, j] for j in range(WAVES)} | {f"T{j + 1}": 8 * t[:, j] for j in range(WAVES)}


@pytest.mark.slow
@pytest.mark.optimised
def test_t13_evidence_finds_the_number_of_classes():
    """Ten data sets for one, two and three classes; and five runs of one of them agree within half a unit."""
    table, right = np.zeros((3, 4), int), np.zeros(3, int)
    for true in (1, 2, 3):
        for seed in range(10):
            found = TrajectoryMixture(1, "LIN", n_starts=8).compare_classes(
                separated(true, seed), range(1, 5), key=seed, settings={"runs": 1, "particles": 1024}, **WIDE
            )
            table[true - 1, found.best - 1] += 1
            right[true - 1] += found.best_by("bic") == true
            print(true, seed, found.table.round(2).to_string(), flush=True)
    print("rows: true classes 1 to 3; columns: classes by evidence 1 to 4\n", table, "\nright by BIC", right)
    hits = np.diagonal(table)
    assert hits.sum() >= 27 and np.all(hits >= 8)
    again = TrajectoryMixture(3, "LIN").bayes(separated(3, 0), **WIDE, key=9, runs=5)
    spread = again.log_evidence_by_run.std(ddof=1)
    print("SD of the log evidence of three classes over five runs", spread)
    assert spread < 0.5


@pytest.mark.slow
@pytest.mark.optimised
def test_t5_intervals_of_the_posterior_cover():
    """40 data sets of two classes: 95 % intervals of parameters of classes, which are matched to the truth by level."""
    truth = {"mueta0": (20.0, 40.0), "mueta1": (0.0, 1.25), "residuals": (4.0, 4.0)}
    counts = {name: [] for name in truth}
    for seed in range(40):
        found = TrajectoryMixture(2, "LIN").bayes(separated(2, seed), **WIDE, key=seed, runs=2)
        table = found.estimates().set_index(["class", "parameter"])
        level = table["estimate"].xs("mueta0", level=1).to_numpy()
        match = linear_sum_assignment(np.abs(level[:, None] - np.array(truth["mueta0"])[None]))[1]
        for name, known in truth.items():
            for label in (1, 2):
                row, value = table.loc[(label, name)], known[match[label - 1]]
                counts[name].append(row.lower <= value <= row.upper)
    shares = {name: float(np.mean(inside)) for name, inside in counts.items()}
    print("coverage of 95 % intervals, 80 each:", shares)
    assert 0.91 <= np.mean(list(shares.values())) <= 0.99  # 240 intervals, three binomial errors
    assert all(0.87 <= share for share in shares.values())


@pytest.mark.slow
@pytest.mark.optimised
def test_t13_and_t5_hold_on_a_data_set_of_full_size():
    """A spot check: 500 persons, 10 waves, covariates in gate and growth, splines with a knot, MD 1.72, two classes.

    The evidence of one to three classes is greatest at two, by more than two spreads of a run, which are four standard
    errors of four, and the 95 % intervals hold at least 40 of the 47 true parameters: a binomial count falls lower with
    probability .005.
    """
    design = Design(factors=((100.0, -5.0, -2.2), (100.0, -5.0, -3.8)))
    data, _ = simulate_trajectories(jax.random.key(72), design=design)
    words = {"y_var": "Y", "t_var": "T", "records": range(1, 11)}
    words |= {"gate": ["gx1", "gx2"], "growth": ["ex1", "ex2"]}
    found = TrajectoryMixture(1).compare_classes(
        data, range(1, 4), key=0, settings={"particles": 512, "runs": 4}, **words
    )
    print(found.table.round(2).to_string())
    table = found.table
    others = table.log_evidence.drop(2).max()
    assert found.best == 2 and table.log_evidence[2] - others > 2 * table.spread.max()
    posterior = TrajectoryMixture(2).bayes(data, **words, key=1, runs=2)
    table = posterior.estimates()
    swapped = np.argmin(table[table.parameter == "mug"]["estimate"].to_numpy()) == 1
    model, at = Model("BLS", 2, 2, 2), jax.tree.map(jnp.asarray, design.parameters)
    known = np.asarray(listed(ordered(at, (1, 0) if swapped else (0, 1)), model))
    inside = (table.lower.to_numpy() <= known) & (known <= table.upper.to_numpy())
    print(table.assign(truth=known, inside=inside).to_string())
    assert inside.sum() >= 40
