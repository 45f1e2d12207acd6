"""bp on programs and graphs: exact where it fits, marginals by site, and the plan says what is done."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, NonFiniteError
from lawful.inference.graphs import FactorGraph


def chain(y):
    def step(z, y):
        z = lawful.sample("z", dist.Categorical(jnp.array([[0.9, 0.1], [0.2, 0.8]])[z]))
        lawful.sample("y", dist.Normal(2.0 * z, 1.0), obs=y)
        return z, None

    lawful.scan(step, jnp.array(0), y)


Y = jnp.array([0.1, 1.9, 2.2, -0.3])


def test_bp_on_a_program_gives_its_marginals_and_evidence():
    found = inference.bp(chain)(0, Y)
    truth = inference.enumerate(chain)(Y)
    assert found.ok and found.certificate == "exact" and found.log_evidence_error == 0
    assert found.log_evidence_pooled == pytest.approx(truth.log_evidence, abs=1e-12)
    on = np.tensordot(truth.probabilities, truth.support["z"] == 1, axes=1)
    np.testing.assert_allclose(found.marginals["z"][:, 1], on, atol=1e-12)


def test_bp_leaves_out_what_only_holds_the_state_of_a_loop():
    def counted():
        def step(total, _):
            return total + lawful.sample("d", dist.Bernoulli(0.3)), None

        total, _ = lawful.scan(step, jnp.array(0), None, length=6)
        lawful.factor("three", jnp.where(total == 3, 0.0, -jnp.inf))

    found = inference.bp(counted).beliefs()
    assert list(found.marginals) == ["d"] and len(found.beliefs) > 1
    np.testing.assert_allclose(found.marginals["d"][:, 1], 0.5, atol=1e-12)


def test_bp_on_a_graph_takes_no_arguments():
    graph = FactorGraph()
    graph.variables("x", (2,), 3)
    assert inference.bp(graph)(0).marginals["x"].shape == inference.bp(graph).beliefs().marginals["x"].shape == (2, 3)
    with pytest.raises(LawfulError, match="a factor graph takes no arguments, got 1"):
        inference.bp(graph)(0, 1)


def test_a_plan_tells_the_method():
    assert inference.bp(chain).plan(Y).method == "exact"
    assert inference.bp(chain, method="loopy", damping=0.5).plan(Y).method == "loopy"
    plan = inference.bp(chain)
    assert str(plan) == "bp(auto)" and plan.memory(Y) == 8 * plan.plan(Y).entries
    found = inference.bp(chain, method="loopy", damping=0.5).beliefs(Y)
    assert found.certificate == "exact"  # the graph is a forest
    assert float(found.log_evidence) == pytest.approx(float(inference.bp(chain).beliefs(Y).log_evidence), abs=1e-8)


def test_sites_that_are_summed_before_are_no_variables_and_the_marginals_of_the_rest_stay():
    def noisy(y):
        z = lawful.sample("z", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
        flipped = lawful.sample("flipped", dist.Bernoulli(0.1))
        lawful.sample("y", dist.Normal(jnp.where(flipped == 1, -1.0, 1.0) * z, 1.0), obs=y)

    whole, part = (inference.bp(noisy, enumerate=sites).beliefs(1.3) for sites in (None, "flipped"))
    assert list(part.marginals) == ["z"] and part.structure.size == 1
    np.testing.assert_allclose(part.marginals["z"], whole.marginals["z"], rtol=1e-12)
    np.testing.assert_allclose(part.log_evidence, whole.log_evidence, rtol=1e-12)
    graph = FactorGraph()
    with pytest.raises(LawfulError, match="enumerate= is of programs, and a factor graph was given"):
        inference.bp(graph, enumerate="all")


def test_a_score_without_meaning_raises_or_flags():
    def broken(value):
        z = lawful.sample("z", dist.Bernoulli(0.5))
        lawful.factor("f", jnp.where(z == 1, value, 0.0))

    with pytest.raises(NonFiniteError, match="term 'f'"):
        inference.bp(broken)(0, jnp.nan)
    found = inference.bp(broken, on_fault="flag")(0, jnp.nan)
    assert not found.ok and [f.code for f in found.reasons] == ["NONFINITE_WEIGHT"]
    assert np.isnan(found.log_evidence) and not found.marginals
    assert inference.bp(broken, on_fault="flag")(0, -1.0).ok


def test_a_result_has_marginals_with_the_verdict_and_no_draws(tmp_path):
    plan = inference.bp(chain, method="loopy", max_iters=1)
    found = plan(0, Y)
    assert not found.ok and [f.code for f in found.reasons] == ["NOT_CONVERGED"] and found.certificate == "none"
    assert "loopy (flooding), verdict slow, certificate none" in repr(found) and "z (4, 2)" in repr(found)
    assert str(found.run["plan"]) == str(plan.plan(Y)) and found.run["seed"] == 0
    with pytest.raises(LawfulError, match=r"bp gives marginals, and no draws\. Fix: result\.marginals"):
        found.posterior  # noqa: B018
    with pytest.raises(LawfulError, match="bp gives marginals, and no draws"):
        found.summary()
    with pytest.raises(LawfulError, match=r"key: expected one typed key.*Fix: the key comes first"):
        plan(Y)
    np.testing.assert_array_equal(found.to_datatree()["marginals"]["z"], found.marginals["z"])
    found.save(tmp_path / "found.nc")
    again = inference.Result.load(tmp_path / "found.nc")
    assert repr(again) == repr(found) and again.certificate == "none"
    np.testing.assert_array_equal(again.marginals["z"], found.marginals["z"])
