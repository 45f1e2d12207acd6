"""Row 25: an answer that should not be trusted says so: not ok, with findings that programs read and limits stated."""

import json
from dataclasses import asdict, replace

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, plate, sample
from lawful.inference import Limits, Result, Status, kernels
from lawful.inference.results.report.report import write_diagnostics


def funnel():
    """Neal's funnel, centred: no one step size suits its neck and its mouth."""
    v = sample("v", dist.Normal(0.0, 3.0))
    with plate("row", 9):
        sample("x", dist.Normal(0.0, jax.numpy.exp(v / 2)))


def modes():
    """Two modes of equal mass that a local walk never leaves."""
    x = sample("x", dist.Normal(0.0, 100.0))
    factor("two", jax.numpy.logaddexp(-0.5 * (x - 50.0) ** 2, -0.5 * (x + 50.0) ** 2))


def normal():
    sample("x", dist.Normal(0.0, 1.0))


def walk(program, **options):
    options = {"chains": 2, "warmup": 0, "draws": 1000, "init": {"x": np.array([0.0, 0.1])}, **options}
    return inference.mcmc(program, kernels.random_walk(2.0), **options)(jax.random.key(3))


@pytest.fixture(scope="module")
def short():
    return walk(normal, draws=60)


def found(result, code):
    return [finding for finding in result.reasons if finding.code == code]


@pytest.mark.fault(25)
def test_f25_divergences_of_a_centred_funnel():
    plan = inference.mcmc(funnel, kernels.hmc(0.7, 8), chains=4, warmup=0, draws=200, init={"v": 0.0, "x": np.ones(9)})
    result = plan(jax.random.key(2))
    (finding,) = found(result, "DIVERGENT")
    assert finding.value == int(np.sum(result.stats["diverging"])) > finding.limit == 0
    assert not result.ok and Status.DIVERGENT in result.status
    assert f"{finding.value} divergent transitions" in finding.message and "reparameterise" in finding.message
    assert found(replace(result, limits=Limits(divergences=finding.value)), "DIVERGENT") == []


def test_f25_two_separated_modes_with_one_chain_each():
    result = walk(modes, init={"x": np.array([-50.0, 50.0])})
    assert np.sign(result.posterior["x"]).std(axis=1).max() == 0  # no chain sees the other mode
    (finding,) = found(result, "HIGH_RHAT")
    assert finding.sites == ("x",) and finding.value > 1.5 > 1.05 > finding.limit >= 1.01
    assert not result.ok and Status.HIGH_RHAT in result.status
    one = walk(modes, draws=4000, init={"x": np.array([50.0, 50.5])})
    assert not found(one, "HIGH_RHAT")  # what all chains miss, no comparison of chains can find


def test_f25_a_short_run(short):
    low = found(short, "LOW_ESS")
    assert {finding.message.split()[0] for finding in low} == {"bulk", "tail"}
    for finding in low:
        assert finding.value < finding.limit == 200.0 and finding.sites == ("x",)
        assert "limit 100 a chain" in finding.message
    assert not short.ok and Status.LOW_ESS in short.status


@pytest.mark.slow
def test_f25_a_long_run_of_a_good_kernel_is_ok():
    assert walk(normal, draws=4000, chains=4, init=None).ok


def test_f25_limits_are_stated_in_the_result_and_another_one_is_another_verdict(short):
    assert asdict(short.limits) == {
        "divergences": 0,
        "r_hat": 1.01,
        "ess_per_chain": 100.0,
        "false_alarm": 0.01,
        "ess_fraction": 0.1,
        "root_share": 0.5,
        "log_evidence_sd": 1.0,
        "log_evidence_error": 0.5,
        "out_of_support": 0.0,
    }
    assert replace(short, limits=Limits(r_hat=10.0, ess_per_chain=0.5)).ok


def test_f25_findings_are_read_by_programs_also_from_a_file(short, tmp_path):
    write_diagnostics(short, tmp_path / "diagnostics.json")
    read = json.loads((tmp_path / "diagnostics.json").read_text())
    assert read["ok"] is False and "LOW_ESS" in read["status"]
    assert read["limits"]["ess_per_chain"] == 100.0
    for reason, finding in zip(read["reasons"], short.reasons, strict=True):
        assert (reason["code"], reason["sites"], reason["limit"]) == (finding.code, list(finding.sites), finding.limit)
    short.save(tmp_path / "a.zarr")
    back = Result.load(tmp_path / "a.zarr")
    assert back.status == short.status and back.limits == short.limits and back.warnings == short.warnings
