"""Trees of results: ArviZ reads them, files give back every number, and tables take their errors from the runs."""

import math

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray

from lawful.inference.results.collect import from_chains, from_population
from tests.inference.results.small_results import COORDS, PARTICLES, RUNS, chains, population


@pytest.mark.rest_slow
@pytest.mark.parametrize("result", [population(), chains()], ids=["smc", "mcmc"])
def test_arviz_reads_the_tree(result):
    tree = result.to_datatree()
    assert tree["posterior"].x.dims == ("chain", "draw", "time")
    assert tree["posterior"].time.values.tolist() == COORDS["time"]
    assert az.summary(tree).index.tolist()[0] == "theta"
    for plot in (az.plot_trace_dist, az.plot_rank, az.plot_forest, az.plot_trace, az.plot_dist):
        plot(tree, var_names=["theta", "x"], backend="matplotlib")
        plt.close("all")


def test_dimensions_are_named_when_the_tree_is_made():
    result = from_chains({"level": np.zeros((2, 5, 3))})
    tree = result.to_datatree(dims={"level": ["year"]}, coords={"year": COORDS["time"]})
    assert tree["posterior"]["level"].dims == ("chain", "draw", "year")
    assert tree["posterior"].year.values.tolist() == COORDS["time"]
    assert result.dims == {}


def test_the_tree_of_a_population_holds_weights_stages_and_evidence():
    result = population()
    tree = result.to_datatree()
    assert tree.attrs["sampler"] == "smc"
    assert tree.attrs["particles"] == PARTICLES
    assert tree["observed_data"].y.dims == ("time",)
    assert float(tree["constant_data"].scale) == 2.0
    stats = tree["sample_stats_smc"]
    assert stats.ess.dims == ("chain", "stage")
    assert stats.log_evidence.dims == ("chain",)
    assert float(stats.log_evidence_pooled) == result.log_evidence_pooled
    assert float(stats.log_evidence_pooled_se) == result.log_evidence_error
    particles = tree["weighted_posterior"]
    assert particles.x.dims == ("chain", "particle", "time")
    weight = np.exp(particles.log_weight - particles.log_weight.max())
    w = np.exp(np.asarray(result.weighted.log_weight))
    expected = (w * result.weighted.values["theta"]).sum() / w.sum()
    assert abs(float(particles.theta.weighted(weight).mean()) - expected) < 1e-12


def test_stages_that_were_not_used_are_nan_in_numeric_arrays():
    stats = {"n_unique": np.arange(8).reshape(2, 4), "n_stages": np.array([4, 2])}
    x = np.ones((2, 3))
    tree = from_population({"x": x}, np.zeros((2, 3)), [0.0, 0.0], draws={"x": x}, stats=stats).to_datatree()
    unique = tree["sample_stats_smc"].n_unique.values
    assert unique.dtype == float
    assert np.isnan(unique).sum() == 2
    assert np.all(np.isnan(unique[1, 2:]))


@pytest.mark.parametrize("sampler", ["importance", "annealed_importance"])
def test_weights_of_independent_particles_get_their_pareto_k(sampler):
    tree = population(sampler=sampler).to_datatree()
    assert tree["sample_stats_smc"].pareto_k.dims == ("chain",)
    assert np.all(np.isfinite(tree["sample_stats_smc"].pareto_k))
    assert "pareto_k" not in population(sampler="smc").to_datatree()["sample_stats_smc"]


def test_the_pareto_k_is_that_of_the_large_weights():
    """A weight e^(k E) has a Pareto tail of shape k: of 10 000 it is found within 0.2, and bounded ones have none."""
    steps = np.random.default_rng(0).exponential(size=(3, 10_000))
    log_weight = np.array([[0.3], [0.9], [-2.0]]) * steps
    x = {"x": np.zeros(log_weight.shape)}
    result = from_population(x, log_weight, [0.0] * 3, draws=x, sampler="importance")
    told = result.to_datatree()["sample_stats_smc"].pareto_k.values
    assert told[:2] == pytest.approx([0.3, 0.9], abs=0.2) and told[2] < 0


def test_warmup_is_written_only_when_asked_for():
    warmup = ({"theta": np.zeros((4, 10))}, {"accepted": np.zeros((4, 10), bool)})
    result = chains(warmup=warmup, log_likelihood={"y": np.zeros((4, 500, 3))})
    assert not any("warmup" in name for name in result.to_datatree().groups)
    tree = result.to_datatree(save_warmup=True)
    assert tree["warmup_posterior"].theta.shape == (4, 10)
    assert tree["warmup_sample_stats"].accepted.dims == ("chain", "draw")
    assert tree["log_likelihood"].y.dims == ("chain", "draw", "time")
    assert tree["sample_stats"].step_size.dims == ("chain",)


@pytest.mark.parametrize("result", [population(), chains()], ids=["smc", "mcmc"])
def test_netcdf_gives_back_every_number(result, tmp_path):
    tree = result.to_datatree()
    tree.to_netcdf(tmp_path / "tree.nc", engine="netcdf4")
    with xarray.open_datatree(tmp_path / "tree.nc", engine="netcdf4") as back:
        assert set(back.groups) == set(tree.groups)
        for name in tree.groups:
            xarray.testing.assert_equal(back[name].to_dataset().load(), tree[name].to_dataset())


def test_the_table_of_a_population_takes_its_error_from_the_runs():
    result = population()
    table = result.summary(round_to="none")
    assert not any(name.startswith("ess_") for name in table.columns)
    error = result.posterior["theta"].mean(axis=1).std(ddof=1) / math.sqrt(RUNS)
    assert abs(table.loc["theta", "mcse_runs"] - error) < 1e-12
    assert result.summary(var_names=["x"]).index.tolist() == ["x[1871]", "x[1872]", "x[1873]"]
    assert "ess_bulk" in chains().summary().columns
