"""Every method takes every option of a run, or is refused in one place with a reason and a remedy: all cells."""

from dataclasses import MISSING, fields
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import RunOptions, kernels
from lawful.inference.plans.setting_types import read
from lawful.inference.registered import all_methods
from tests.inference.options_table import OPTIONS, cell, table
from tests.tiers import rest_slow

Y = np.array([0.4, -0.2])
ONE = jax.make_mesh((1,), ("p",), axis_types=(jax.sharding.AxisType.Auto,))
PARAMETER = {"proposal": kernels.random_walk(0.5), "sites": ["sd"]}
PATH = {"particles": 4, "kernel": kernels.mh()}
CHAINS = {"chains": 2, "warmup": 2, "draws": 4}
SMALL = {
    "importance": {"particles": 4},
    "smc": {"particles": 4},
    "tempered_smc": {**PATH, "ladder": [0.5, 1.0], "steps": 1},
    "annealed_importance": {**PATH, "ladder": 2},
    "ibis": {**PATH, "ladder": [1.0], "steps": 1},
    "smc2": {**PARAMETER, "particles": 4, "inner": 2},
    "pmmh": {**PARAMETER, **CHAINS, "particles": 2},
    "particle_gibbs": {**CHAINS, "states": "x", "kernel": kernels.mh(), "particles": 2},
    "mcmc": {**CHAINS, "kernel": kernels.mh()},
    "parallel_tempering": {**CHAINS, "powers": [0.0, 1.0]},
    "maximise": {"starts": 2, "steps": 20, "enumerate": "outlier"},
    "guide": {"paths": 2, "path_steps": 5, "particles": 4, "runs": 2, "enumerate": "outlier"},
    "bp": {"given": {"sd": 1.2, "x": np.array([0.3, -0.1])}},
}


def walk(y):
    """A walk whose observations are outliers at times: a parameter, a sequence, and finite sites to sum."""
    sd = lawful.sample("sd", dist.LogNormal(0.0, 0.3))

    def step(x, y):
        x = lawful.sample("x", dist.Normal(x, sd))
        outlier = lawful.sample("outlier", dist.Bernoulli(0.1))
        lawful.sample("y", dist.Normal(x, jnp.where(outlier == 1, 3.0, 1.0)), obs=y)
        return x, None

    return lawful.scan(step, 0.0, y)[0]


def drawn(result):
    """What a result holds: draws, or where nothing is drawn marginals and the evidence."""
    if result.certificate is not None:
        return {**result.marginals, "log_evidence": np.asarray(result.log_evidence)}
    return {name: np.asarray(x) for name, x in result.posterior.items()}


def assert_equal(result, whole):
    assert not getattr(result, "interrupted", False) and drawn(result).keys() == drawn(whole).keys()
    for name, values in drawn(whole).items():
        np.testing.assert_array_equal(drawn(result)[name], values, err_msg=name)


def assert_summed(result, whole):
    """Draws of what is summed are drawn back; sums have no marginals of it, and the evidence is that of the whole."""
    if result.certificate is not None:
        np.testing.assert_allclose(result.log_evidence, whole.log_evidence, rtol=1e-12)
        assert not result.marginals
        return None
    return result


def divided(plan, options):
    plan.run = options
    return plan(3, Y)


def resumed(plan, folder):
    divided(plan, RunOptions(chunk=1, checkpoint=folder, callbacks=lambda progress: True))
    return inference.resume(folder, walk, Y)


@pytest.mark.parametrize("name", rest_slow(SMALL, 1))
def test_a_method_takes_every_option_or_says_why_not(name, tmp_path):
    build = getattr(inference, name)
    plan = build(walk, **SMALL[name])
    whole = plan(3, Y)
    checks = {
        "chunks": lambda: assert_equal(divided(plan, RunOptions(chunk=1)), whole),
        "checkpoints": lambda: assert_equal(resumed(plan, tmp_path / "run"), whole),
        "store": lambda: assert_equal(divided(plan, RunOptions(store=tmp_path / "draws.zarr")), whole),
        "faults as flags": lambda: assert_equal(build(walk, on_fault="flag", **SMALL[name])(3, Y), whole),
        "devices": lambda: build(walk, mesh=ONE, **SMALL[name])(3, Y),
        "summed sites": lambda: assert_summed(build(walk, **{**SMALL[name], "enumerate": "outlier"})(3, Y), whole),
        "eager": lambda: build(walk, mode="eager", **SMALL[name])(3, Y),
        "one by one": lambda: build(walk, chain_method="sequential", **SMALL[name])(3, Y),
    }
    assert checks.keys() == OPTIONS.keys()
    for option, check in checks.items():
        why = cell(name, option)
        if why is not None:
            with pytest.raises((LawfulError, TypeError)) as caught:
                build(walk, **{**SMALL[name], **OPTIONS[option]})
            assert "Fix: " in why and (isinstance(caught.value, TypeError) or str(caught.value) == why)
        elif (result := check()) is not None:
            found = drawn(result)  # an eager run gives what the program returns besides
            assert {n: found[n].shape for n in drawn(whole)} == {n: x.shape for n, x in drawn(whole).items()}


def test_all_methods_are_walked_and_the_page_has_their_table():
    """73 cells work, 31 are refused: a store of 9 methods, an eager mode of 10, chains one by one of 9, 3 of sums."""
    cells = [cell(name, option) for name in SMALL for option in OPTIONS]
    assert {name for name, kind in all_methods().items() if kind.__module__.startswith("lawful.")} == SMALL.keys()
    assert (sum(why is None for why in cells), sum(why is not None for why in cells)) == (73, 31)
    assert table() in (Path(__file__).parents[2] / "docs" / "running.md").read_text()


def test_a_setting_that_is_not_given_stands_as_it_would_be_read():
    for kind in all_methods().values():
        usual = {f.name: f.default for f in fields(kind) if f.default is not MISSING and f.default is not None}
        assert all(value is usual[name] for name, value in read(kind, usual).items())


def test_filters_of_filters_take_the_schemes_of_filters():
    for scheme in ("exact", "islands", inference.Islands(2), "residual"):
        told = [
            inference.smc2(walk, **PARAMETER, particles=4, inner=2, resampling=scheme).method.told(),
            inference.smc(walk, particles=4, resampling=scheme).method.told(),
        ]
        assert told[0]["scheme"] == told[1]["scheme"] and told[0].get("islands") == told[1].get("islands")
