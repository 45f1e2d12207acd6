"""Proposals whose densities cancel: the law of the kernel stays, and broken or impossible states are not accepted."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import factor, inference, plate, sample
from lawful.inference import kernels
from lawful.inference.check import invariant
from tests.inference.kernels.transition import Transition


def coins():
    a = sample("a", dist.Bernoulli(0.3))
    b = sample("b", dist.Categorical(jnp.array([[0.2, 0.5, 0.3], [0.6, 0.0, 0.4]])[a]))
    factor("weight", -0.7 * a * b)


def both_from_the_prior(current):
    a = sample("a", dist.Bernoulli(0.3))
    sample("b", dist.Categorical(jnp.array([[0.2, 0.5, 0.3], [0.6, 0.0, 0.4]])[a]))


def one_from_the_prior(current):
    """The law of the site, at the state that it is proposed from: given a, the prior of b."""
    sample("b", dist.Categorical(jnp.array([[0.2, 0.5, 0.3], [0.6, 0.0, 0.4]])[current["a"]]))


def one_of_the_other(current):
    """Draws a, and b from its law at the old a: the densities of b do not cancel."""
    sample("a", dist.Bernoulli(0.3))
    sample("b", dist.Categorical(jnp.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])[current["a"]]))


@pytest.mark.tier0
@pytest.mark.parametrize(
    "proposal", [both_from_the_prior, one_from_the_prior, one_of_the_other], ids=lambda p: p.__name__
)
def test_a_proposal_that_repeats_the_prior_keeps_the_posterior(proposal):
    report = invariant(kernels.mh(proposal), coins, irreducible=False)
    report.raise_if_failed()
    assert report.tv < 1e-12


def level(y):
    mu = sample("mu", dist.StudentT(4.0, 0.0, 2.0))
    sd = sample("sd", dist.Gamma(2.0, 1.0))
    sample("y", dist.Normal(mu, sd), obs=y)


def symmetric(current):
    sample("mu", dist.Cauchy(current["mu"], 0.5))
    sample("sd", dist.Normal(current["sd"], 0.3))


@pytest.mark.tier0b
def test_a_symmetric_move_is_accepted_by_the_ratio_of_the_targets():
    transition = Transition(level, kernels.mh(symmetric), 0.7)

    def log_pi(mu, sd):
        terms = (
            dist.StudentT(4.0, 0.0, 2.0).log_prob(mu),
            dist.Gamma(2.0, 1.0).log_prob(sd),
            dist.Normal(mu, sd).log_prob(0.7),
        )
        return float(sum(terms))

    generator = np.random.default_rng(0)
    for _ in range(20):
        x, z = ((generator.normal(), generator.gamma(2.0)) for _ in range(2))
        given = {("~mh", "proposal", "mu"): z[0], ("~mh", "proposal", "sd"): z[1], ("~mh", "accept"): True}
        state, info = transition.step(transition.state({"mu": x[0], "sd": x[1]}), given)
        assert info["acceptance_rate"] == pytest.approx(min(1.0, np.exp(log_pi(*z) - log_pi(*x))), rel=1e-10)
        assert state[-1] == pytest.approx(log_pi(*z), abs=1e-10)


def test_a_move_out_of_the_support_is_rejected():
    """Its density is zero, not unknown, although the proposal is not scored."""

    def near(current):
        sample("x", dist.Normal(current["x"], 0.3))

    transition = Transition(lambda: sample("x", dist.Uniform(0.0, 1.0)), kernels.mh(near))
    for there, rate in ((0.2, 1.0), (-0.2, 0.0)):
        given = {("~mh", "proposal", "x"): there, ("~mh", "accept"): True}
        _, info = transition.step(transition.state({"x": 0.5}), given)
        assert info["acceptance_rate"] == rate and info["n_nonfinite"] == 0


def rooted():
    x = sample("x", dist.Normal(0.0, 1.0))
    sample("z", dist.Normal(0.0, jnp.sqrt(x)))


def with_the_prior_of_z(current):
    x = sample("x", dist.Normal(current["x"], 1.0))
    sample("z", dist.Normal(0.0, jnp.sqrt(x)))


@pytest.mark.kills("58", x=-0.5, z=0.1, broken=1)
@pytest.mark.parametrize(("x", "z", "broken"), [(-0.5, np.nan, 1), (-0.5, 0.1, 1), (0.5, np.nan, 1), (0.5, 0.1, 0)])
def test_a_density_that_is_no_number_is_told_although_it_cancels(x, z, broken):
    """The prior of z stands with both signs in the ratio; where it is no number the move is rejected, and counted."""
    transition = Transition(rooted, kernels.mh(with_the_prior_of_z))
    given = {("~mh", "proposal", "x"): x, ("~mh", "proposal", "z"): z, ("~mh", "accept"): True}
    _, info = transition.step(transition.state({"x": 0.4, "z": 0.2}), given)
    assert info["n_nonfinite"] == broken
    assert (info["acceptance_rate"] > 0) == (not broken)


def test_the_chains_of_such_a_program_say_so():
    result = inference.mcmc(rooted, kernels.mh(with_the_prior_of_z), chains=2, warmup=0, draws=100)(jax.random.key(0))
    assert "NONFINITE_DENSITY" in {finding.code for finding in result.reasons}
    assert np.isfinite(result.posterior["z"]).all() and (result.posterior["x"] > 0).all()


def test_an_impossible_state_is_neither_reached_nor_excused():
    """Both the state and the proposal have the density zero: the ratio is no number, and the move is rejected."""

    def bounded():
        x = sample("x", dist.Uniform(0.0, 1.0))
        factor("weight", 0.3 * x)

    def of_the_prior(current):
        sample("x", dist.Uniform(0.0, 1.0))

    transition = Transition(bounded, kernels.mh(of_the_prior))
    for here, there, broken in ((0.5, 0.2, 0), (2.0, 0.2, 1), (0.5, 2.0, 1), (2.0, 3.0, 1)):
        given = {("~mh", "proposal", "x"): there, ("~mh", "accept"): True}
        _, info = transition.step(transition.state({"x": here}), given)
        assert (info["acceptance_rate"] > 0, info["n_nonfinite"]) == (not broken, broken)


@pytest.mark.usefixtures("single_precision")
def test_what_cancels_leaves_no_rounding():
    """Beside the densities of a hundred thousand draws, around -1e6, a difference of weights would lose its digits."""

    def again(current):
        with plate("i", 100_000):
            sample("x", dist.StudentT(3.0, 0.0, 100.0))

    def weighed():
        with plate("i", 100_000):
            x = sample("x", dist.StudentT(3.0, 0.0, 100.0))
        factor("weight", 0.01 * jnp.tanh(x[0]))

    transition = Transition(weighed, kernels.mh(again))
    here, there = (np.random.default_rng(seed).standard_t(3.0, 100_000).astype(np.float32) for seed in range(2))
    here[0], there[0] = 0.5, -0.25
    given = {("~mh", "proposal", "x"): there, ("~mh", "accept"): True}
    _, info = transition.step(transition.state({"x": here}), given)
    assert np.log(info["acceptance_rate"]) == pytest.approx(0.01 * (np.tanh(-0.25) - np.tanh(0.5)), rel=1e-5)
