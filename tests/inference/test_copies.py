"""Pickles and deep copies of results have the numbers, the verdict and the program, where it can be found by name."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import kernels

Y = np.array([0.1, 0.2, 0.4])


def level(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    with lawful.plate("i", 3):
        lawful.sample("y", dist.Normal(mu, 1.0), obs=y)


def again(result):
    return pickle.loads(pickle.dumps(result))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    walk, length = kernels.random_walk(0.5), {"chains": 2, "warmup": 2, "draws": 4}
    store = inference.RunOptions(chunk=2, store=tmp_path_factory.mktemp("store") / "draws")
    return {
        "mcmc": inference.mcmc(level, walk, **length)(0, Y),
        "mcmc in chunks": inference.mcmc(level, walk, run=inference.RunOptions(), **length)(0, Y),
        "mcmc into a store": inference.mcmc(level, walk, run=store, **length)(0, Y),
        "mcmc eager": inference.mcmc(level, mode="eager", **length)(0, Y),
        "importance": inference.importance(level, particles=4, runs=2)(0, Y),
    }


@pytest.mark.parametrize("copied", [again, copy.deepcopy, copy.copy], ids=["pickle", "deepcopy", "copy"])
@pytest.mark.parametrize("name", ["mcmc", "mcmc in chunks", "mcmc into a store", "mcmc eager", "importance"])
def test_a_copy_has_the_numbers_the_verdict_and_the_program(results, name, copied):
    result = results[name]
    found = copied(result)
    for one, other in ((result.posterior, found.posterior), (result.stats, found.stats)):
        assert list(one) == list(other)
        for key, array in one.items():
            np.testing.assert_array_equal(np.asarray(array), np.asarray(other[key]))
    assert [reason.code for reason in found.reasons] == [reason.code for reason in result.reasons]
    assert found.form is result.form and found.model is result.model
    assert {name: str(value) for name, value in found.run.items()} == {n: str(v) for n, v in result.run.items()}
    if result.log_evidence is not None:
        np.testing.assert_array_equal(found.log_evidence, result.log_evidence)
    if name in ("mcmc", "importance"):
        tree, other = result.to_datatree(log_likelihood=True), found.to_datatree(log_likelihood=True)
        np.testing.assert_array_equal(tree["log_likelihood"]["y"].values, other["log_likelihood"]["y"].values)


def test_a_deep_copy_shares_no_array(results):
    found = copy.deepcopy(results["mcmc"])
    before = np.array(results["mcmc"].posterior["mu"])
    np.asarray(found.posterior["mu"])[...] = 7.0
    np.testing.assert_array_equal(results["mcmc"].posterior["mu"], before)


def test_a_program_without_a_name_to_find_it_by_is_left_out_of_a_pickle():
    result = inference.importance(lambda y: level(y), particles=4)(0, Y)
    found = again(result)
    assert found.model is None and found.form is None
    np.testing.assert_array_equal(found.posterior["mu"], result.posterior["mu"])
    with pytest.raises(LawfulError, match="does not know its program"):
        found.to_datatree(log_likelihood=True)
    assert found.predict(level, Y, key=1)["y"].shape == (1, 4, 3)


def test_what_a_pickle_holds_says_what_the_plan_said(results):
    assert str(again(results["mcmc"]).run["plan"]) == str(results["mcmc"].run["plan"])
    assert again(results["mcmc in chunks"]).more is None


@pytest.mark.slow
def test_a_pickle_is_read_in_another_process(results, tmp_path, root):
    path = tmp_path / "result.pickle"
    path.write_bytes(pickle.dumps(results["mcmc"]))
    code = (
        f"import pickle; r = pickle.load(open({str(path)!r}, 'rb')); print(r.form is not None, r.posterior['mu'].shape)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True).stdout
    assert told.strip() == "True (2, 4)"
