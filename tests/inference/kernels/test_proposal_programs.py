"""Proposal programs: both directions are scored, also where proposed values decide which sites run."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from lawful import cond, factor, inference, plate, sample, scan
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import invariant
from tests.inference.kernels.transition import Transition


def coin(name, p):
    return sample(name, dist.Bernoulli(p))


def switch():
    """`b` decides whether `w` runs; `v` runs in both arms, with two laws."""
    a = sample("a", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    b = coin("b", jnp.array([0.1, 0.6, 0.8])[a])
    v = cond(b == 1, lambda: coin("v", 0.2), lambda: coin("w", 0.6) + coin("v", 0.5))
    factor("weight", jnp.where(b == 1, 0.4, -0.3) * a + 0.3 * v)


def shift(current):
    table = jnp.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.1, 0.2, 0.7]])
    sample("a", dist.Categorical(table[current["a"]]))
    coin("b", jnp.array([0.3, 0.8])[current["b"]])


def guarded(current):
    """Proposes `w` only where its own `b` lets it run, given what `w` was: 0 where it did not run."""
    b = coin("b", jnp.array([0.3, 0.8])[current["b"]])
    cond(b == 1, lambda: 0, lambda: coin("w", 0.2 + 0.5 * current["w"]))


def unguarded(current):
    """Proposes `w` always; where it does not run after the move its value is drawn in vain."""
    coin("b", jnp.array([0.3, 0.8])[current["b"]])
    coin("w", 0.3)
    coin("v", 0.2 + 0.3 * current["v"])


def one_way(current):
    """Proposes `v` only from b = 1 to b = 1: the way back exists for these moves alone."""
    b = coin("b", 0.5)
    cond((b == 1) & (current["b"] == 1), lambda: coin("v", 0.4), lambda: 0)


@pytest.mark.tier0
@pytest.mark.parametrize("proposal", [shift, guarded, unguarded, one_way], ids=lambda p: p.__name__)
def test_a_proposal_program_keeps_the_posterior(proposal):
    report = invariant(kernels.mh(proposal), switch, irreducible=False)
    report.raise_if_failed()
    assert report.tv < 1e-12


@pytest.mark.slow
def test_values_outside_the_support_are_rejected():
    def wild(current):
        sample("a", dist.Poisson(3.0))

    result = inference.mcmc(switch, kernels.mh(wild), chains=2, warmup=0, draws=200)(jax.random.key(0))
    assert set(np.unique(result.posterior["a"])) <= {0, 1, 2}
    assert result.ok or not [f for f in result.reasons if f.code == "NONFINITE_DENSITY"]


def level(y):
    mu = sample("mu", dist.Normal(0.0, 2.0))
    sd = sample("sd", dist.Gamma(2.0, 1.0))
    sample("y", dist.Normal(mu, sd), obs=y)


def skewed(current, y):
    """Not symmetric: pulled to the datum, and of a scale that depends on where it is."""
    mu = sample("mu", dist.Normal(0.5 * current["mu"] + 0.3 * y, 0.2 + jnp.abs(current["mu"])))
    sample("sd", dist.Gamma(3.0, 1.0 / (0.1 + current["sd"] / (1 + mu**2))))


@pytest.mark.tier0b
def test_the_joint_density_of_a_continuous_move_is_symmetric():
    y = 0.7

    def log_pi(mu, sd):
        return stats.norm.logpdf(mu, 0, 2) + stats.gamma.logpdf(sd, 2) + stats.norm.logpdf(y, mu, sd)

    def log_q(here, there):
        rate = 1 / (0.1 + here[1] / (1 + there[0] ** 2))
        first = stats.norm.logpdf(there[0], 0.5 * here[0] + 0.3 * y, 0.2 + abs(here[0]))
        return first + stats.gamma.logpdf(there[1], 3, scale=1 / rate)

    transition = Transition(level, kernels.mh(skewed), y)
    generator = np.random.default_rng(3)
    for _ in range(20):
        x, z = ((generator.normal(), generator.gamma(2.0)) for _ in range(2))
        rates = []
        for here, there in ((x, z), (z, x)):
            given = {("~mh", "proposal", "mu"): there[0], ("~mh", "proposal", "sd"): there[1], ("~mh", "accept"): True}
            state, info = transition.step(transition.state({"mu": here[0], "sd": here[1]}), given)
            assert state[-1] == pytest.approx(log_pi(*there), abs=1e-10)
            rates.append(np.log(info["acceptance_rate"]))
        forth = log_pi(*x) + log_q(x, z) + rates[0]
        assert forth == pytest.approx(log_pi(*z) + log_q(z, x) + rates[1], abs=1e-10)


def test_an_independence_proposal_reads_the_data_and_not_the_state():
    """The posterior of a normal mean as the proposal: every move is accepted."""
    y = 1.2

    def model(y):
        sample("y", dist.Normal(sample("mu", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    def posterior(y):
        sample("mu", dist.Normal(y / 2, jnp.sqrt(0.5)))

    kernel = kernels.mh(kernels.independence(posterior))
    result = inference.mcmc(model, kernel, chains=2, warmup=0, draws=100)(jax.random.key(0), y)
    np.testing.assert_allclose(result.stats["acceptance_rate"], 1.0, rtol=1e-5)
    assert len(np.unique(result.posterior["mu"])) == 200
    assert kernel.plan(inference.mcmc(model, kernel).prepare((y,)).form) == [
        "mu: proposed by independence(posterior) from Normal"
    ]


def test_a_proposal_moves_all_steps_of_a_loop_at_once():
    def walk(y):
        scan(lambda x, y: (sample("x", dist.Normal(x, 1.0)), sample("y", dist.Normal(x, 1.0), obs=y)), 0.0, y)

    def near(current):
        with plate("step", 4):
            sample("x", dist.Normal(current["x"], 0.3))

    result = inference.mcmc(walk, kernels.mh(near), chains=2, warmup=0, draws=30)(jax.random.key(0), jnp.zeros(4))
    moved = np.diff(result.posterior["x"], axis=1) != 0
    assert (moved.all(axis=-1) | ~moved.any(axis=-1)).all()
    assert 0 < result.stats["accepted"].mean() < 1


@pytest.mark.parametrize(
    ("proposal", "kind", "words"),
    [
        (lambda current: coin("aux", 0.5), LawfulError, "samples 'aux'.*no choice of the program; these are: a, b"),
        (lambda current: factor("f", 0.0), LawfulError, "observes or weighs"),
        (lambda current: None, LawfulError, "samples nothing"),
        (lambda current: sample("a", dist.Bernoulli(0.5).expand([2])), LawfulError, r"has shape \(2,\)"),
        (lambda current: sample("a", dist.Normal(0.0, 1.0)), LawfulError, "type float.*int"),
        (lambda current: coin("b", 0.1 + 0.5 * coin("w", 0.5)), UnsupportedProgramError, "others depend on it"),
    ],
    ids=["unknown", "weight", "nothing", "shape", "type", "in vain"],
)
def test_a_wrong_proposal_is_named_with_a_remedy(proposal, kind, words):
    with pytest.raises(kind, match=words) as caught:
        inference.mcmc(switch, kernels.mh(proposal)).prepare(())
    assert "Fix" in str(caught.value) or "program's site" in str(caught.value)


def test_what_is_no_proposal_is_refused():
    with pytest.raises(LawfulError, match="mh: expected a proposal or a program"):
        kernels.mh(0.5)
