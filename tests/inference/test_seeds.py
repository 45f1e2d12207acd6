"""A result tells the seed of its run, in plain types: it is enough to run again."""

import json

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray

import lawful
from lawful import inference
from lawful.inference import Result, RunOptions, kernels
from lawful.inference.plans.plan import seed_of
from tests.inference.peers import blackjax_nuts, numpyro_nuts
from tests.tiers import rest_slow

TYPED = {"key": [0, 7], "impl": "threefry2x32"}


def model(y):
    z = lawful.sample("z", dist.Bernoulli(0.4))
    lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(1.0 * z, 1.0)), 1.0), obs=y)


def smooth(y):
    lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)


CHAINS = {"chains": 2, "warmup": 2, "draws": 4}
PLANS = {
    "eager smc": lambda **how: inference.smc(model, particles=4, mode="eager", **how),
    "importance": lambda **how: inference.importance(model, particles=4, **how),
    "mcmc": lambda **how: inference.mcmc(model, kernels.mh(), **CHAINS, **how),
    "eager mcmc": lambda **how: inference.mcmc(model, mode="eager", **CHAINS, **how),
    "tempered smc": lambda **how: inference.tempered_smc(model, particles=4, ladder=[1.0], kernel=kernels.mh(), **how),
    "parallel tempering": lambda **how: inference.parallel_tempering(model, kernels.mh(), **CHAINS, **how),
    "chains summed": lambda **how: inference.mcmc(model, kernels.random_walk(1.0), enumerate=["z"], **CHAINS, **how),
    "smc summed": lambda **how: inference.smc(model, particles=4, enumerate=["z"], **how),
}


@pytest.mark.parametrize("name", rest_slow(PLANS))
def test_every_inference_tells_its_seed(name):
    for how in ({}, {"run": RunOptions()}):
        plan = PLANS[name](**how)
        for key, seed in ((7, 7), (np.int64(7), 7), (jax.random.key(7), TYPED)):
            found = plan(key, 0.3).run["seed"]
            assert found == seed and json.loads(json.dumps(found)) == seed


@pytest.mark.slow
@pytest.mark.parametrize("peer", [numpyro_nuts, blackjax_nuts])
def test_peers_tell_their_seed(peer):
    plan = peer(smooth, chains=1, warmup=5, draws=5)
    assert plan(7, 0.3).run["seed"] == 7 and plan(jax.random.key(7), 0.3).run["seed"] == TYPED


def test_keys_of_other_kinds_are_told_with_their_kind():
    key = jax.random.key(7, impl="rbg")
    told = seed_of(key)
    assert told["impl"] == "rbg" and jax.random.wrap_key_data(np.uint32(told["key"]), impl=told["impl"]) == key


def stop(**how):
    return RunOptions(chunk=2, callbacks=lambda progress: progress.phase != "warmup", **how)


@pytest.mark.slow
def test_chains_that_go_on_tell_the_seed_that_they_began_with(tmp_path):
    part = PLANS["mcmc"](run=stop(checkpoint=tmp_path / "run"))(7, 0.3)
    assert part.finished < 4 and part.run["seed"] == 7
    assert part.extend(draws=2).run["seed"] == 7
    whole = inference.resume(tmp_path / "run", model, 0.3)
    assert whole.finished == 4 and whole.run["seed"] == 7
    assert whole.extend(draws=2).extend(draws=2).run["seed"] == 7
    stored = PLANS["mcmc"](run=stop(checkpoint=tmp_path / "other", store=tmp_path / "other" / "draws"))(7, 0.3)
    assert stored.run["seed"] == inference.resume(tmp_path / "other", model, 0.3).run["seed"] == 7


@pytest.mark.parametrize(("key", "seed"), [(7, 7), (jax.random.key(7), TYPED)], ids=["integer", "typed"])
def test_populations_that_go_on_tell_the_seed_that_they_began_with(key, seed, tmp_path):
    plan = PLANS["importance"](runs=2, run=stop(checkpoint=tmp_path))
    assert len(plan(key, 0.3).log_evidence) == 1
    found = inference.resume(tmp_path, plan, 0.3)
    assert len(found.log_evidence) == 2 and found.run["seed"] == seed


@pytest.mark.rest_slow
@pytest.mark.parametrize(("key", "seed"), [(jax.random.key(7), TYPED), (7, 7)], ids=["typed", "integer"])
def test_seeds_stand_in_trees_and_files(key, seed, tmp_path):
    result = PLANS["importance"]()(key, 0.3)
    attribute = result.to_datatree().attrs["seed"]
    assert attribute == seed or json.loads(attribute) == seed
    for name in ("result.nc", "result.zarr"):
        result.save(tmp_path / name)
        assert Result.load(tmp_path / name).run["seed"] == seed
        with xarray.open_datatree(tmp_path / name, **({} if name.endswith("nc") else {"consolidated": False})) as tree:
            assert tree.attrs["seed"] == attribute


@pytest.mark.parametrize(
    ("key", "text"),
    [(7, "(7, *arguments)"), (jax.random.key(7), "wrap_key_data(numpy.uint32([0, 7]), impl='threefry2x32'), *arg")],
    ids=["integer", "typed"],
)
def test_a_report_says_with_which_seed_to_run_again(key, text, tmp_path):
    result = PLANS["importance"]()(key, 0.3)
    result.report(tmp_path / "report.html", plots=())
    page = (tmp_path / "report.html").read_text().replace("&#39;", "'")
    assert text in page and "seed" in page
    line = next(line for line in page.splitlines() if text in line)
    call = line[line.index("inference.") : line.index("  #")]
    again = eval(
        call, {**result.run, "inference": inference, "model": model, "arguments": (0.3,), "jax": jax, "numpy": np}
    )
    np.testing.assert_array_equal(again.posterior["x"], result.posterior["x"])
