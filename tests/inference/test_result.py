"""Laws of results: runs pool on the natural scale, the dead are refused, verdicts state limits, ArviZ reads all."""

import math

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats
import xarray

from lawful.errors import DeadPopulationError, LawfulError
from lawful.inference.findings.evidence import kish_ess, pooled_evidence
from lawful.inference.findings.findings import Finding, Limits, Status
from lawful.inference.results.collect import from_chains, from_population

RUNS, PARTICLES, STAGES = 4, 200, 7
DIMS = {"x": ("time",), "y": ("time",)}
COORDS = {"time": [1871, 1872, 1873]}


def population(dead_at=(-1,) * RUNS, log_evidence=(-3.0, -3.1, -2.9, -3.05), shift=0.0, **fields):
    rng = np.random.default_rng(7)
    values = {"theta": rng.normal(size=(RUNS, PARTICLES)), "x": rng.normal(size=(RUNS, PARTICLES, 3))}
    values["theta"][0] += shift
    dead = np.asarray(dead_at) >= 0
    log_weight = np.where(dead[:, None], -np.inf, 0.1 * rng.normal(size=(RUNS, PARTICLES)))
    return from_population(
        values,
        log_weight,
        np.where(dead, -np.inf, log_evidence),
        draws={name: array.copy() for name, array in values.items()},
        stats={"ess": np.full((RUNS, STAGES), 150.0), "n_unique": np.full((RUNS, STAGES), 120)},
        dead_at=dead_at,
        observed={"y": np.array([0.1, 0.2, 0.3])},
        constants={"scale": np.array(2.0)},
        **{"dims": DIMS, "coords": COORDS, "run": {"particles": PARTICLES, "jit": True, "versions": {}}, **fields},
    )


def chains(n=4, draws=500, **fields):
    rng = np.random.default_rng(3)
    posterior = {"theta": rng.normal(size=(n, draws)), "x": rng.normal(size=(n, draws, 3))}
    stats = {
        "acceptance_rate": rng.random((n, draws)),
        "accepted": rng.random((n, draws)) < 0.5,
        "step_size": np.ones(n),
    }
    return from_chains(posterior, stats=fields.pop("stats", stats), **{"dims": DIMS, "coords": COORDS, **fields})


def codes(result):
    return {finding.code for finding in result.reasons}


# Evidence


def test_pooled_evidence_is_the_log_of_the_mean_and_its_error_that_of_student_where_runs_agree():
    z = 1.0 + 1e-4 * np.array([0.5, 2.0, 1.25, 0.25])
    pooled, error = pooled_evidence(np.log(z))
    assert abs(pooled - math.log(z.mean())) < 1e-12
    one_sigma = scipy.stats.t.isf(scipy.stats.norm.sf(1), 3)
    assert error == pytest.approx(one_sigma * z.std(ddof=1) / math.sqrt(4) / z.mean(), rel=1e-3)


def lognormal(rng, sd, runs):
    """Log evidences of mean exp(0) with this standard deviation."""
    return rng.normal(size=runs) * sd - sd**2 / 2


def skewed(rng, sd, runs):
    """Runs that miss a part of the mass: exponentially far below the best."""
    return math.log1p(sd) - sd * rng.exponential(size=runs)


def contaminated(rng, sd, runs):
    """One run in ten has three times the spread of the others."""
    own = sd / math.sqrt(1.8)
    scale = own * np.where(rng.random(runs) < 0.1, 3.0, 1.0)
    return scale * rng.normal(size=runs) - np.logaddexp(math.log(0.9) + own**2 / 2, math.log(0.1) + 4.5 * own**2)


WITHIN = {2: 0.83, 4: 0.90, 8: 0.93, 16: 0.95}  # stated of two errors, by the number of runs


@pytest.mark.rest_slow
@pytest.mark.parametrize("runs", WITHIN)
@pytest.mark.parametrize("sd", [0.1, 1.0, 5.0, 50.0])
def test_the_evidence_lies_within_its_error_as_often_as_is_stated(sd, runs):
    """600 sets of runs; four standard errors of a share below what is stated fail: 3e-5 each, at worst."""
    rng = np.random.default_rng(runs)
    for made, one, two in (
        (lognormal, 0.68, WITHIN[runs]),
        (skewed, 0.64, WITHIN[runs] - 0.07),
        (contaminated, 0.68, WITHIN[runs]) if sd < 1 else (contaminated, 0.36, 0.68) if sd == 1 else (lognormal, 0, 0),
    ):
        found = np.array([pooled_evidence(made(rng, sd, runs)) for _ in range(600)])
        for errors, stated in ((1, one), (2, two)):
            share = np.mean(np.abs(found[:, 0]) <= errors * found[:, 1])
            assert share >= stated - 4 * math.sqrt(stated * (1 - stated) / 600), (made.__name__, errors)


def test_runs_that_disagree_have_an_error_of_the_size_of_what_their_mean_misses():
    log_z = np.array([-1260.0, -1274.0, -1343.0, -1529.0])
    pooled, error = pooled_evidence(log_z)
    assert abs(pooled - (-1260 - math.log(4))) < 1e-5
    assert error > log_z.var(ddof=1) / 2


@pytest.mark.parametrize("offset", [-1e4, 1e4])
def test_a_common_offset_shifts_the_pooled_evidence_and_keeps_its_error(offset):
    log_z = np.log([0.5, 2.0, 1.25])
    pooled, error = pooled_evidence(log_z)
    shifted, same = pooled_evidence(log_z + offset)
    assert abs(shifted - offset - pooled) < 1e-11
    assert abs(same - error) < 1e-11


def test_pooled_evidence_is_never_below_the_mean_of_the_logarithms():
    log_z = np.random.default_rng(1).normal(size=20)
    assert pooled_evidence(log_z)[0] > log_z.mean()


def test_equal_runs_have_error_zero_and_one_run_has_none():
    assert pooled_evidence([-5.0, -5.0]) == (-5.0, 0.0)
    pooled, error = pooled_evidence([-5.0])
    assert pooled == -5.0
    assert math.isnan(error)


def test_a_dead_run_counts_as_evidence_zero():
    pooled, error = pooled_evidence([math.log(3.0), -math.inf, math.log(3.0)])
    assert abs(pooled - math.log(2.0)) < 1e-12
    one_sigma = scipy.stats.t.isf(scipy.stats.norm.sf(1), 2)
    assert abs(error - one_sigma * math.sqrt(1 / 6)) < 1e-12  # of the log of a share 2/3 of three runs
    assert math.isnan(pooled_evidence([-1.0, -math.inf, -math.inf])[1])
    pooled, error = pooled_evidence([-math.inf, -math.inf])
    assert pooled == -math.inf
    assert math.isnan(error)


def test_kish_ess_is_scale_free_and_between_one_and_n():
    log_w = np.random.default_rng(2).normal(size=(5, 30)) * 3
    ess = kish_ess(log_w)
    w = np.exp(log_w)
    np.testing.assert_allclose(ess, w.sum(1) ** 2 / (w**2).sum(1), rtol=1e-12)
    np.testing.assert_allclose(kish_ess(log_w - 2000.0), ess, rtol=1e-10)
    assert np.all((ess >= 1) & (ess <= 30))


# The verdict


def test_good_runs_are_ok():
    for result in (population(), chains()):
        assert result.ok, result.warnings
        assert result.status == Status(0)
        assert repr(result).startswith("Result: ok")


def test_one_run_warns_that_it_has_no_error_bar_and_is_no_failure():
    x = np.random.default_rng(0).normal(size=(1, 100))
    result = from_population({"x": x}, np.zeros((1, 100)), [-1.0], draws={"x": x})
    assert result.ok
    assert "one run: no error bar" in result.warnings[0]
    assert math.isnan(result.log_evidence_error)


@pytest.mark.parametrize(
    ("result", "code", "bit"),
    [
        (population(log_evidence=(-3.0, -5.0, -1.0, 0.0)), "EVIDENCE_SPREAD", Status.NOT_CONVERGED),
        (population(log_evidence=(-3.0, -4.0, -2.5, -2.5)), "EVIDENCE_SPREAD", Status.NOT_CONVERGED),
        (population(limits=Limits(ess_fraction=1.0)), "LOW_ESS", Status.LOW_ESS),
        (population(roots=np.zeros((RUNS, PARTICLES), int)), "ONE_ANCESTOR", Status.LOW_ESS),
        (population(interrupted=True, finished=3), "INTERRUPTED", Status.INTERRUPTED),
        (population(shift=1.0), "HIGH_RHAT", Status.HIGH_RHAT),
        (chains(stats={"diverging": np.eye(4, 500, dtype=bool)}), "DIVERGENT", Status.DIVERGENT),
        (chains(stats={"n_nonfinite": np.array([0, 2, 0, 0])}), "NONFINITE_DENSITY", Status.NONFINITE_DENSITY),
        (chains(draws=60), "LOW_ESS", Status.LOW_ESS),
        (chains(draws=2), "HIGH_RHAT", Status.HIGH_RHAT),
        (chains(n=1, found=(Finding("CLIPPED", "a floor was active."),)), "CLIPPED", Status.CLIPPED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_sets_its_bit_and_names_its_limit(result, code, bit):
    assert not result.ok
    assert bit in result.status
    (finding, *_) = [finding for finding in result.reasons if finding.code == code]
    assert any(finding.message in text for text in result.warnings)


def test_separated_chains_are_found_with_the_variable_that_shows_it():
    draws = np.random.default_rng(5).normal(size=(4, 500, 2))
    draws[0, :, 1] += 10
    result = from_chains({"constant": np.ones((4, 500)), "x": draws})
    (finding,) = [finding for finding in result.reasons if finding.code == "HIGH_RHAT"]
    assert finding.message.startswith("r-hat of 'x[1]'")
    assert finding.sites == ("x",)
    assert finding.value > finding.limit == 1.01


def test_a_chain_that_never_moved_is_found_although_it_differs_from_the_others():
    draws = np.random.default_rng(5).normal(size=(4, 500))
    draws[2] = 0.3
    result = from_chains({"x": draws, "constant": np.ones((4, 500))})
    assert "NEVER_MOVED" in codes(result)
    assert "chains 2 never moved" in "".join(result.warnings)


def test_a_value_that_exists_in_one_arm_only_is_not_diagnosed_by_chains():
    rng = np.random.default_rng(5)
    arm = np.where(rng.random((4, 500)) < 0.5, rng.normal(size=(4, 500)), np.nan)
    assert from_chains({"x": rng.normal(size=(4, 500)), "arm": arm}).ok
    stuck = from_chains({"x": np.zeros((2, 9)), "arm": np.full((2, 9), np.nan)})
    assert "NEVER_MOVED" in codes(stuck)


def test_the_ancestry_of_the_particles_is_counted():
    roots = np.repeat(np.arange(PARTICLES // 2), 2)[None, :].repeat(RUNS, 0)
    stats = population(roots=roots).stats
    assert stats["n_roots"].tolist() == [PARTICLES // 2] * RUNS
    np.testing.assert_allclose(stats["root_share"], 2 / PARTICLES)


def test_an_unknown_code_is_an_error():
    with pytest.raises(LawfulError, match="TOO_SLOW"):
        Finding("TOO_SLOW", "...")


def test_the_text_form_has_at_most_twelve_lines_and_the_verdict_first():
    worst = population(dead_at=(0, 2, 3, -1), interrupted=True, limits=Limits(ess_fraction=1.0))
    lines = repr(worst).splitlines()
    assert lines[0].startswith("Result: NOT OK: DEAD, INTERRUPTED, LOW_ESS")
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 120


# Dead populations


def test_samples_of_a_dead_population_are_refused_and_its_evidence_is_readable():
    result = population(dead_at=(-1, 5, -1, -1))
    assert result.log_evidence[1] == -np.inf
    assert Status.DEAD in result.status
    for refused in (lambda: result.posterior, lambda: result.weighted, result.to_datatree, result.summary):
        with pytest.raises(DeadPopulationError, match="run 1 at stage 5") as caught:
            refused()
        assert caught.value.dead_at == {1: 5}


def test_the_stage_of_death_defaults_to_the_last_one():
    result = from_population(
        {"x": np.ones((1, 2))},
        np.full((1, 2), -np.inf),
        [-np.inf],
        draws={"x": np.ones((1, 2))},
        stats={"ess": np.ones((1, STAGES))},
    )
    assert result.reasons[0].value == STAGES - 1
    assert result.log_evidence_pooled == -np.inf
    with pytest.raises(DeadPopulationError):
        result.surviving()


def test_the_surviving_runs_keep_their_bits_and_the_evidence_of_all_runs():
    whole, partly = population(), population(dead_at=(-1, 5, -1, -1))
    rest = partly.surviving()
    for name, draws in whole.posterior.items():
        np.testing.assert_array_equal(rest.posterior[name], draws[[0, 2, 3]])
    assert rest.log_evidence_pooled == partly.log_evidence_pooled
    assert not rest.ok
    tree = rest.to_datatree()
    assert tree["posterior"].chain.values.tolist() == [0, 2, 3]
    assert tree["weighted_posterior"].chain.values.tolist() == [0, 2, 3]
    assert tree["sample_stats_smc"].log_evidence.shape == (4,)


# Construction


def test_draws_are_put_in_one_random_order_for_all_variables():
    x = np.arange(RUNS * 50.0).reshape(RUNS, 50)
    draws = {"x": x, "twice": 2 * x}
    result = from_population({}, np.zeros((RUNS, 50)), np.zeros(RUNS), draws=draws)
    np.testing.assert_array_equal(np.sort(result.posterior["x"], axis=1), x)
    np.testing.assert_array_equal(result.posterior["twice"], 2 * result.posterior["x"])
    assert np.any(result.posterior["x"] != x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: from_chains({"x": np.zeros((2, 5)), "z": np.zeros((2, 4))}),
        lambda: from_population({"z": np.zeros((2, 4))}, np.zeros((2, 5)), np.zeros(2), draws={}),
        lambda: from_population({}, np.zeros((2, 5)), np.zeros(2), draws={"x": np.zeros((2, 5)), "z": np.zeros(2)}),
    ],
)
def test_leading_axes_that_differ_are_an_error_naming_the_variable(make):
    with pytest.raises(LawfulError, match="'z'"):
        make()


# ArviZ


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
