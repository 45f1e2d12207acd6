"""Laws of files: what was saved comes back bit for bit with its verdict; a damaged file says so; nothing is run."""

import functools

import jax
import jax.numpy as jnp
import netCDF4
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray

from lawful import cond, inference, plate, sample, scan
from lawful.errors import DeadPopulationError, LawfulError, ResultFileError
from lawful.inference import Result
from lawful.inference.findings.findings import Finding, Limits
from lawful.inference.results.collect import from_chains, from_population
from tests.tiers import rest_slow

KEY = jax.random.key(5)
FORMATS = [".nc", ".zarr"]


def everything(y):
    """Conditional choices, integers, a loop, a plate."""

    def step(x, y):
        jump = sample("jump", dist.Bernoulli(0.3))
        x = x + cond(jump == 1, lambda: sample("size", dist.Normal(0.0, 3.0)), lambda: 0.0)
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    with plate("unit", 2):
        sample("k", dist.Binomial(3, 0.4))
    return scan(step, 0.0, y)[1]


Y = np.array([0.1, 3.0, 2.5])


@functools.cache
def made(name):
    if name == "smc":
        return inference.smc(everything, particles=30, runs=3)(KEY, Y)
    if name == "mcmc":
        return inference.mcmc(everything, chains=2, warmup=5, draws=20)(KEY, Y)
    odd = {"x": np.array([[0.0, -0.0, np.nan, -np.nan, 1e-310]]), "b": np.array([[True, False, True, True, False]])}
    odd["i"] = np.array([[1, 2, 3, 4, 2**62]])
    odd["f"] = np.zeros((1, 5, 0), np.float32)
    fields = {
        "found": (Finding("CLIPPED", "a floor was active.", ("x",), 0.5, 0.1),),
        "limits": Limits(r_hat=2.0),
    }
    state = [jnp.arange(3), jax.random.key(3), np.float32(2.0)]
    return from_chains(odd, state=state, coords={"chain": [7]}, run={"scheme": object(), "n": 3}, **fields)


CASES = ("smc", "mcmc", "odd")


def same(one, two):
    one, two = np.asarray(one), np.asarray(two)
    assert (one.dtype, one.shape) == (two.dtype, two.shape)
    assert one.tobytes() == two.tobytes()


def arrays(result):
    yield from (("posterior", name, a) for name, a in result._posterior.items())
    yield from (("stats", name, a) for name, a in result.stats.items())
    if result._weighted is not None:
        yield from (("weighted", name, a) for name, a in result._weighted.values.items())
        yield "weighted", "log_weight", result._weighted.log_weight
        yield "", "log_evidence", result.log_evidence
    for part in result.warmup or ():
        yield from (("warmup", name, a) for name, a in part.items())


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", rest_slow(CASES))
def test_every_array_comes_back_bit_for_bit(name, suffix, tmp_path):
    result = made(name)
    path = tmp_path / f"result{suffix}"
    result.save(path)
    back = Result.load(path)
    before, after = list(arrays(result)), list(arrays(back))
    assert [entry[:2] for entry in before] == [entry[:2] for entry in after]
    for one, two in zip(before, after, strict=True):
        same(one[2], two[2])
    assert repr(back.reasons) == repr(result.reasons) and back.ok == result.ok and back.status == result.status
    assert back.warnings == result.warnings and back.limits == result.limits
    assert (back.sampler, back.finished, back.runs) == (result.sampler, result.finished, result.runs)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_file_that_was_loaded_saves_and_converts_to_the_same(tmp_path):
    result = made("smc")
    result.save(tmp_path / "a.nc", predictive=True)
    back = Result.load(tmp_path / "a.nc")
    back.save(tmp_path / "b.nc")
    again = Result.load(tmp_path / "b.nc")
    for one, two in zip(arrays(back), arrays(again), strict=True):
        same(one[2], two[2])
    tree, whole = back.to_datatree(), result.to_datatree(predictive=True)
    assert set(tree.children) == set(whole.children)
    for name in whole.children:
        for variable in whole[name].data_vars:
            if name not in ("prior", "prior_predictive", "posterior_predictive"):
                np.testing.assert_array_equal(tree[name][variable].values, whole[name][variable].values)
            assert tree[name][variable].dims == whole[name][variable].dims
    assert back.loo("y").elpd == result.loo("y").elpd


def test_a_loaded_result_predicts_and_knows_its_arguments(tmp_path):
    made("smc").save(tmp_path / "a.nc")
    back = Result.load(tmp_path / "a.nc")
    assert inference.predictive(back, everything, Y).kind == "posterior"
    assert inference.predictive(back, everything, Y + 1).kind == "predictions"
    same(inference.predictive(back, everything, Y)["y"], inference.predictive(made("smc"), everything, Y)["y"])
    assert "jump" in back.run["form"] and len(back.run["fingerprint"]) == 64
    assert back.run["scheme"] == str(made("smc").run["scheme"])


@pytest.mark.slow
def test_a_state_comes_back_with_its_keys(tmp_path):
    made("odd").save(tmp_path / "a.nc")
    first, key, last = Result.load(tmp_path / "a.nc").state
    assert first.tolist() == [0, 1, 2] and last == 2 and last.dtype == np.float32
    assert jax.random.uniform(key) == jax.random.uniform(jax.random.key(3))
    state = Result.load(_saved(made("mcmc"), tmp_path)).state
    for one, two in zip(state, made("mcmc").state, strict=True):
        same(one, two)


def _saved(result, folder, name="saved.nc"):
    result.save(folder / name)
    return folder / name


@pytest.mark.slow
def test_arviz_reads_the_file_as_it_is(tmp_path):
    with xarray.open_datatree(_saved(made("mcmc"), tmp_path), engine="netcdf4") as tree:
        assert {"posterior", "sample_stats", "observed_data", "log_likelihood", "log_prior"} <= set(tree.children)
        assert tree["posterior"].k.dims == ("chain", "draw", "unit")


def test_a_dead_run_is_stored_and_stays_refused(tmp_path):
    x = np.ones((2, 3))
    result = from_population({"x": x}, np.array([[0.0] * 3, [-np.inf] * 3]), [0.0, -np.inf], draws={"x": x})
    back = Result.load(_saved(result, tmp_path))
    with pytest.raises(DeadPopulationError, match="run 1"):
        _ = back.posterior
    assert back.surviving().posterior["x"].shape == (1, 3)
    assert back.log_evidence_pooled == result.log_evidence_pooled


# Files that are no results


def test_damage_is_found_in_header_and_arrays(tmp_path):
    path = _saved(made("smc"), tmp_path)
    for group, name in (
        ("posterior", "jump"),
        ("lawful", "header"),
        ("sample_stats_smc", "ess"),
        ("observed_data", "y"),
    ):
        copy = tmp_path / f"{name}.nc"
        copy.write_bytes(path.read_bytes())
        with netCDF4.Dataset(copy, "a") as file:
            variable = file[group][name]
            flat = variable[:]
            flat.reshape(-1)[-1] += 1
            variable[:] = flat
        with pytest.raises(ResultFileError, match="damaged"):
            Result.load(copy)


def test_a_truncated_file_and_a_foreign_one_are_refused(tmp_path):
    path = _saved(made("odd"), tmp_path)
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 64):
        path.write_bytes(whole[:length])
        with pytest.raises(ResultFileError):
            Result.load(path)
    xarray.Dataset({"x": ("a", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="netcdf4")
    with pytest.raises(ResultFileError, match="holds no result"):
        Result.load(tmp_path / "other.nc")
    with pytest.raises(ResultFileError, match="no such file"):
        Result.load(tmp_path / "nowhere.nc")


@pytest.mark.slow
def test_another_ending_is_refused_and_an_older_file_is_kept_where_saving_fails(tmp_path, monkeypatch):
    with pytest.raises(LawfulError, match=r"ends in \.nc .* or \.zarr"):
        made("odd").save(tmp_path / "result.pkl")
    path = _saved(made("odd"), tmp_path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(xarray.DataTree, "to_netcdf", fail)
    with pytest.raises(OSError, match="disk full"):
        made("mcmc").save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
