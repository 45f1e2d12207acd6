"""Row 35: a chain in a set that no move can leave is flagged, with acceptance rate 0 and the sites never accepted."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, factor, inference, plate, sample
from lawful.errors import NoFiniteStartError
from lawful.inference import kernels
from lawful.inference.findings.findings import Status


def correlated():
    """Two coins that always agree: no move of one of them can leave."""
    a, b = sample("a", dist.Bernoulli(0.5)), sample("b", dist.Bernoulli(0.5))
    factor("agree", jnp.where(a == b, 0.0, -jnp.inf))


def needle():
    """A hard constraint around the start that hardly any draw from the prior meets."""
    x = sample("x", dist.Normal(0.0, 1e6))
    factor("inside", jnp.where(jnp.abs(x - 1.0) < 1e-3, 0.0, -jnp.inf))


def joint(current):
    side = sample("a", dist.Bernoulli(0.5))
    sample("b", dist.Bernoulli(0.0 + side))


@pytest.mark.fault(35)
@pytest.mark.regression("15.7e")
@pytest.mark.parametrize(
    ("program", "start", "sites"), [(correlated, {"a": 1, "b": 1}, ("a", "b")), (needle, {"x": 1.0}, ("x",))]
)
def test_f35_a_chain_that_never_moves_is_flagged(program, start, sites):
    result = inference.mcmc(program, kernels.mh(), chains=3, warmup=5, draws=40, init=start)(jax.random.key(0))
    assert not result.ok and Status.NOT_CONVERGED in result.status
    (finding,) = [f for f in result.reasons if f.code == "NEVER_MOVED"]
    assert finding.sites == sites
    assert finding.value == len(sites)
    assert f"{len(sites)} of {len(sites)} sites never accepted another value" in finding.message
    assert "acceptance rate 0" in finding.message and "chains 0, 1, 2 never moved in 45 steps" in finding.message
    assert any("Fix:" in text for text in result.warnings)


def test_f35_the_default_draws_coins_that_agree_together():
    result = inference.mcmc(correlated, chains=3, warmup=0, draws=400, init={"a": 1, "b": 1})(jax.random.key(0))
    assert result.ok, result.warnings
    np.testing.assert_array_equal(result.posterior["a"], result.posterior["b"])


def test_f35_a_walk_that_is_too_wide_for_a_hard_constraint_has_acceptance_zero():
    result = inference.mcmc(needle, kernels.random_walk(1e5), chains=2, warmup=0, draws=50, init={"x": 1.0})(
        jax.random.key(1)
    )
    (finding,) = [f for f in result.reasons if f.code == "NEVER_MOVED"]
    assert (result.stats["acceptance_rate"] == 0).all()
    assert finding.value == 1


@pytest.mark.regression("15.7e")
def test_f35_a_start_without_density_is_row_6():
    with pytest.raises(NoFiniteStartError, match="'inside'"):
        inference.mcmc(needle, chains=2, warmup=0, draws=5, init={"x": 3.0})(jax.random.key(0))


def test_f35_a_joint_proposal_moves_what_single_sites_cannot():
    result = inference.mcmc(correlated, kernels.mh(joint), chains=3, warmup=0, draws=40, init={"a": 1, "b": 1})(
        jax.random.key(0)
    )
    assert not [f for f in result.reasons if f.code == "NEVER_MOVED"]
    assert (result.posterior["a"] == result.posterior["b"]).all()
    assert result.stats["accepted"].all()


def correlated_beside_one_that_moves():
    sample("free", dist.Normal(0.0, 1.0))
    correlated()


def test_f35_sites_that_stand_still_beside_others_are_named():
    """Chains move, so r-hat and effective sizes of what moves are fine; two coins were never seen on the other side."""
    both = kernels.cycle(kernels.on("free", kernels.mh(kernels.random_walk(1.0))), kernels.on(["a", "b"], kernels.mh()))
    result = inference.mcmc(
        correlated_beside_one_that_moves, both, chains=2, warmup=0, draws=60, init={"free": 0.0, "a": 1, "b": 1}
    )(jax.random.key(0))
    (finding,) = [f for f in result.reasons if f.code == "UNMOVED_SITE"]
    assert finding.sites == ("a", "b") and finding.value == 2
    assert "2 of 3 sites had one value in all of 60 steps in each chain" in finding.message
    assert any("Fix: move sites that determine each other together" in text for text in result.warnings)


def test_f35_a_chain_that_stands_still_is_told_beside_a_site_that_does():
    def program():
        sample("held", dist.Normal(0.0, 1.0))
        needle()

    walk = kernels.on("x", kernels.mh(kernels.random_walk(1e5)))
    result = inference.mcmc(program, walk, chains=2, warmup=0, draws=60, init={"held": 0.0, "x": 1.0})(
        jax.random.key(0)
    )
    assert [f.sites for f in result.reasons if f.code == "NEVER_MOVED"] == [("held", "x")]


@pytest.mark.slow
def test_f35_what_need_not_move_is_not_said_to_stand_still():
    """A site of an arm that never runs and one without elements are no values at all."""

    def program():
        k = sample("k", dist.Bernoulli(0.5))
        factor("sure", jnp.where(k == 0, 0.0, -jnp.inf))
        cond(k == 1, lambda: sample("arm", dist.Normal(0.0, 1.0)), lambda: 0.0)
        with plate("none", 0):
            sample("nobody", dist.Normal(0.0, 1.0))
        sample("free", dist.Normal(0.0, 1.0))

    result = inference.mcmc(program, chains=2, warmup=0, draws=60, init={"k": 0, "free": 0.0})(jax.random.key(0))
    assert [f.sites for f in result.reasons if f.code == "UNMOVED_SITE"] == [("k",)]
    assert not [f for f in result.reasons if f.code == "NEVER_MOVED"]
