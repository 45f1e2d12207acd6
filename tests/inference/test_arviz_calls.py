"""What ArviZ is asked about a tree of ours, and stays able to answer: every call runs, on chains and on populations."""

import warnings

import arviz as az
import jax
import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference, plate, sample
from lawful.inference import Result, kernels
from lawful.inference.results.collect import from_chains

Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SD = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
VARIABLES = {"var_names": ["mu", "tau"]}


def schools(y, sd):
    mu = sample("mu", dist.Normal(0.0, 5.0))
    tau = sample("tau", dist.HalfNormal(5.0))
    with plate("school", 8):
        theta = sample("theta", dist.Normal(mu, tau))
        sample("y", dist.Normal(theta, sd), obs=y)


@pytest.fixture(scope="module")
def tree():
    """Draws near the posterior and numbers of a sampler: what the calls need, without the time of a run."""
    rng = np.random.default_rng(8)
    mu, tau = 4.5 + 3 * rng.normal(size=(4, 500)), np.abs(4 * rng.normal(size=(4, 500))) + 0.1
    theta = mu[..., None] + tau[..., None] * rng.normal(size=(4, 500, 8))
    stats = {
        "lp": rng.normal(size=(4, 500)),
        "energy": 10 + rng.normal(size=(4, 500)),
        "diverging": rng.random((4, 500)) < 0.002,
        "acceptance_rate": rng.random((4, 500)),
        "tree_depth": rng.integers(1, 5, (4, 500)),
        "reached_max_treedepth": np.zeros((4, 500), bool),
    }
    form = lawful.trace(schools, Y, SD)
    known = {"form": form, "model": schools, "args": (Y, SD), "observed": {"y": Y}, "dims": {"theta": ("school",)}}
    return from_chains({"mu": mu, "tau": tau, "theta": theta}, stats=stats, **known).to_datatree(predictive=True)


# What every tree of draws can be asked, and what needs the groups of chains.
TABLES = {
    "summary": lambda dt: az.summary(dt, **VARIABLES),
    "ess": lambda dt: az.ess(dt, **VARIABLES),
    "psense_summary": lambda dt: az.psense_summary(dt, **VARIABLES),
    "loo": lambda dt: az.loo(dt, pointwise=True),
    "compare": lambda dt: az.compare({"a": dt, "b": dt}),
}
CHAINS_ONLY = {"diagnose": lambda dt: az.diagnose(dt)}
PLOTS = {
    name: (lambda dt, name=name: getattr(az, name)(dt, backend="matplotlib", **VARIABLES))
    for name in (
        "plot_trace", "plot_trace_dist", "plot_forest", "plot_rank", "plot_rank_dist", "plot_ess", "plot_ess_evolution",
        "plot_prior_posterior", "plot_psense_dist", "plot_mcse", "plot_autocorr", "plot_convergence_dist", "plot_dist",
        "plot_dgof",
    )
} | {
    name: (lambda dt, name=name: getattr(az, name)(dt, backend="matplotlib"))
    for name in ("plot_ppc_dist", "plot_ppc_pit", "plot_ppc_tstat", "plot_loo_pit")
} | {"plot_khat": lambda dt: az.plot_khat(az.loo(dt, pointwise=True), backend="matplotlib")}  # fmt: skip
PLOTS_OF_CHAINS = {"plot_energy": lambda dt: az.plot_energy(dt, backend="matplotlib")}


def asked(call, dt):
    """Call, with ArviZ's own advice about the draws left aside; an error is one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = call(dt)
    plt.close("all")
    assert answer is not None


@pytest.mark.parametrize("name", [*TABLES, *CHAINS_ONLY])
def test_arviz_tabulates_a_tree_of_chains(name, tree):
    asked((TABLES | CHAINS_ONLY)[name], tree)


def test_every_group_of_chains_says_which_dims_are_of_samples(tree):
    for name in ("posterior", "sample_stats", "log_likelihood", "log_prior", "prior", "posterior_predictive"):
        assert tree[name].attrs["sample_dims"] == ["chain", "draw"], name


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PLOTS, *PLOTS_OF_CHAINS])
def test_arviz_draws_a_tree_of_chains(name, tree):
    asked((PLOTS | PLOTS_OF_CHAINS)[name], tree)


METHODS = {
    "mcmc": lambda: inference.mcmc(schools, chains=2, warmup=50, draws=100),
    "nuts": lambda: inference.mcmc(schools, kernels.nuts(), chains=2, warmup=50, draws=100),
    "cycle": lambda: inference.mcmc(
        schools, kernels.cycle(kernels.mh(), kernels.random_walk(0.5)), chains=2, warmup=20, draws=100
    ),
    "parallel_tempering": lambda: inference.parallel_tempering(
        schools, kernels.random_walk(0.5), powers=(0.0, 0.5, 1.0), chains=2, warmup=20, draws=100
    ),
    "importance": lambda: inference.importance(schools, particles=200, runs=2),
    "smc": lambda: inference.smc(schools, particles=200, runs=2),
    "tempered_smc": lambda: inference.tempered_smc(schools, particles=200, runs=2),
    "annealed_importance": lambda: inference.annealed_importance(schools, particles=200, ladder=10, runs=2),
    "ibis": lambda: inference.ibis(schools, particles=200, block=4, runs=2),
    "pmmh": lambda: inference.pmmh(series, WALK, ["mu", "tau"], particles=10, chains=2, warmup=20, draws=100),
    "particle_gibbs": lambda: inference.particle_gibbs(
        series, "x", kernels.on(["mu", "tau"], WALK), particles=10, chains=2, warmup=20, draws=100
    ),
    "smc with moves": lambda: inference.smc(
        series, particles=200, runs=2, move=kernels.random_walk(0.5, sites=["mu", "tau"])
    ),
    "pmmh, correlated": lambda: inference.pmmh(
        series, WALK, ["mu", "tau"], particles=10, correlation=0.9, chains=2, warmup=20, draws=100
    ),
    "smc2": lambda: inference.smc2(series, WALK, ["mu", "tau"], particles=100, inner=10, runs=2),
}
WALK = kernels.random_walk(0.5)


def series(y, sd):
    """A sequence with the names of the parameters above."""
    mu, tau = sample("mu", dist.Normal(0.0, 5.0)), sample("tau", dist.HalfNormal(5.0))

    def step(x, row):
        y, sd = row
        x = sample("x", dist.Normal(0.5 * x + mu, tau))
        sample("y", dist.Normal(x, sd), obs=y)
        return x, None

    lawful.scan(step, 0.0, (y, sd))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_result_of_every_method_converts_saves_loads_and_answers(name, tmp_path):
    result = METHODS[name]()(jax.random.key(4), Y, SD)
    tree = result.to_datatree(predictive=True, save_warmup=True, unconstrained=True)
    assert {"log_likelihood", "log_prior", "posterior_predictive", "unconstrained_posterior"} <= set(tree.children)
    for suffix in (".nc", ".zarr"):
        result.save(tmp_path / f"a{suffix}", predictive=True)
        back = Result.load(tmp_path / f"a{suffix}").to_datatree()
        for call in TABLES.values():
            asked(call, back)
    for call in PLOTS.values():
        asked(call, tree)
    if "sample_stats" in tree.children:
        asked(CHAINS_ONLY["diagnose"], tree)
