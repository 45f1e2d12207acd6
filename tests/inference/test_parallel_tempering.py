"""Parallel tempering: exact on the product of all copies; the copy at power 1 has the posterior."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, factor, inference, plate, sample, trace
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import enumerate_measure, invariant
from lawful.inference.check.exact.transition import extended_matrix
from lawful.inference.kernels.particles.replica_exchange import Tempering

module = importlib.import_module("lawful.inference.kernels.particles.replica_exchange")


def guarded():
    b = sample("b", dist.Bernoulli(0.3))
    w = cond(b == 1, lambda: sample("w", dist.Bernoulli(0.6)), lambda: 0)
    factor("f", 1.2 * w - 0.9 * b)
    sample("y", dist.Bernoulli(0.2 + 0.5 * b), obs=1)


def checked(program, powers, kernel=None):
    return invariant(Tempering(kernel or kernels.mh(), powers), program)


@pytest.mark.tier0
def test_moves_and_swaps_keep_the_product_of_all_copies_exactly():
    report = checked(guarded, (0.4, 1.0))
    report.raise_if_failed()
    assert report.tv < 1e-14


def coin():
    factor("f", 0.9 * sample("a", dist.Bernoulli(0.3)))


@pytest.mark.tier0
def test_even_and_odd_pairs_swap_in_turn():
    report = checked(coin, (0.0, 0.3, 1.0))
    report.raise_if_failed()
    assert report.tv < 1e-14


@pytest.mark.tier0
def test_a_likelihood_of_zero_is_met_at_power_zero_alone():
    def edge():
        a = sample("a", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
        factor("f", jnp.where(a == 1, -jnp.inf, 0.4 * a))

    report = checked(edge, (0.0, 1.0))
    report.raise_if_failed()
    assert report.tv < 1e-14


@pytest.mark.tier0
@pytest.mark.parametrize(
    "wrong",
    [
        lambda right: lambda self, likelihood: right(self, -likelihood),
        lambda right: lambda self, likelihood: right(self, likelihood) ** 0.5,
        lambda right: lambda self, likelihood: jnp.ones_like(right(self, likelihood)),
    ],
    ids=["inverted", "half", "always"],
)
def test_a_wrong_swap_is_seen(wrong, monkeypatch):
    monkeypatch.setattr(module.SwapChance, "__call__", wrong(module.SwapChance.__call__))
    assert checked(coin, (0.3, 1.0)).status == "failed"


@pytest.mark.tier0
def test_a_copy_that_is_not_tempered_is_seen(monkeypatch):
    """The copies are moved for the program itself, whatever their power."""
    monkeypatch.setattr(module, "_raised", lambda prior, likelihood, power: prior + likelihood)
    right = module.at_power

    def untempered(program):
        made = right(program)
        factors = [n for n in made.nodes if hasattr(n, "term")]
        assert factors
        return right(trace(lambda: factor("f", 1.8 * sample("a", dist.Bernoulli(0.3)))))

    monkeypatch.setattr(module, "at_power", untempered)
    assert checked(coin, (0.4, 1.0)).status == "failed"


@pytest.mark.tier0
@pytest.mark.parametrize("powers", [(0.4, 1.0), pytest.param((0.0, 0.4, 1.0), marks=pytest.mark.slow)])
def test_the_state_is_the_product_of_the_copies_at_their_powers(powers):
    """Copies of `guarded`, each with its likelihood by hand: of 3 states at each power, and that at 1 as enumerated."""
    _, states, pi, _ = extended_matrix(Tempering(kernels.mh(), powers).build(trace(guarded)), ())
    prior = {(0, None): 0.7, (1, 0): 0.3 * 0.4, (1, 1): 0.3 * 0.6}

    def likelihood(b, w):
        return np.exp(1.2 * (w or 0) - 0.9 * b) * (0.2 + 0.5 * b)

    measures = []
    for power in powers:
        weights = {state: mass * likelihood(*state) ** power for state, mass in prior.items()}
        measures.append({state: x / sum(weights.values()) for state, x in weights.items()})
    assert len(states) == 3 ** len(powers)
    for state, mass in zip(states, pi, strict=True):
        known = dict(state.choices)
        hot = [(("~copies", "b", i), ("~copies", "w", i)) for i in range(len(powers) - 1)]
        copies = [*hot, (("b",), ("w",))]
        found = [(int(known[b]), known.get(w)) for b, w in copies]
        found = [(b, None if w is None else int(w)) for b, w in found]
        expected = np.prod([measure[copy] for measure, copy in zip(measures, found, strict=True)])
        assert mass == pytest.approx(expected, abs=1e-14)


def modes(y):
    x = sample("x", dist.Normal(0.0, 3.0))
    shift = sample("shift", dist.Normal(0.0, 0.1))
    with plate("i", 3):
        sample("y", dist.Normal(jnp.abs(x) + shift, 0.1), obs=y)


@pytest.mark.tier3
@pytest.mark.slow
def test_a_chain_crosses_between_modes_that_its_kernel_cannot_leave():
    """Both signs of x have probability one half; without copies a chain keeps the sign of its start."""
    y = jnp.array([3.0, 3.1, 2.9])
    walk = kernels.random_walk({"x": 0.3, "shift": 0.05})
    alone = inference.mcmc(modes, kernels.repeat(walk, 2), chains=16, warmup=50, draws=200)(0, y)
    assert set((np.asarray(alone.posterior["x"]) > 0).mean(axis=1)) <= {0.0, 1.0}
    powers = [0.0, 0.001, 0.005, 0.02, 0.1, 0.35, 1.0]
    plan = inference.parallel_tempering(modes, walk, powers=powers, chains=16, warmup=200, draws=2000)
    result = plan(1, y)
    means = (np.asarray(result.posterior["x"]) > 0).mean(axis=1)
    error = means.std(ddof=1) / 4
    assert error < 0.08 and abs(means.mean() - 0.5) < 5 * error
    swaps = [float(np.mean(result.stats[f"swap_{p}_{p + 1}"])) for p in range(6)]
    assert all(0.1 < s < 1 for s in swaps), swaps
    form = trace(modes, y)
    state = {name: np.asarray(v)[3, 7] for name, v in result.posterior.items()}
    assert float(form.log_density(state, y)) == pytest.approx(float(result.stats["lp"][3, 7]), abs=1e-10)


@pytest.mark.slow
@pytest.mark.tier3
def test_the_draws_have_the_posterior_of_a_finite_program():
    result = inference.parallel_tempering(guarded, powers=[0.0, 0.5, 1.0], chains=32, warmup=10, draws=500)(3)
    exact = enumerate_measure(guarded).marginal(lambda t: dict(t.choices)[("b",)])
    means = (np.asarray(result.posterior["b"]) == 1).mean(axis=1)
    assert abs(means.mean() - exact[1] / exact.total()) < 5 * means.std(ddof=1) / 32**0.5
    assert np.isnan(np.asarray(result.posterior["w"])[np.asarray(result.posterior["b"]) == 0]).all()


@pytest.mark.slow
def test_the_plan_and_its_settings():
    plan = inference.parallel_tempering(guarded, powers=[0.25, 1.0], chains=2, warmup=3, draws=5, init={"b": 0})
    assert repr(plan) == "parallel_tempering(tempering(mh(single_site()), [0.25, 1.0]))"
    assert "at powers 0.25, 1" in plan.plan()
    result = plan(0)
    assert result.posterior["b"].shape == (2, 5) and result.warmup.posterior["b"].shape == (2, 3)
    assert result.stats["swap_0_1"].shape == (2, 5) and result.stats["lp"].shape == (2, 5)
    assert plan.sampler()(jax.random.key(0))["b"].shape == (10,)
    for powers in ([1.0], [0.5, 0.2, 1.0], [0.0, 0.9], [-0.1, 1.0]):
        with pytest.raises(LawfulError, match="two powers or more, increasing"):
            inference.parallel_tempering(guarded, powers=powers)


@pytest.mark.slow
def test_the_method_is_its_kernel_on_the_program():
    """`mcmc` with what the method composes gives the same draws, and neither shows the other copies."""
    method = inference.parallel_tempering(guarded, powers=[0.25, 1.0], chains=2, warmup=3, draws=5).method
    short = {"chains": 2, "warmup": 3, "draws": 5}
    results = [inference.parallel_tempering(guarded, powers=[0.25, 1.0], **short)(1)]
    results.append(inference.mcmc(guarded, method.compose(), **short)(1))
    assert results[0].posterior.keys() == {"b", "w"}
    for name in ("b", "w"):
        np.testing.assert_array_equal(*(result.posterior[name] for result in results))
    with pytest.raises(UnsupportedProgramError, match="cycle: a tempering kernel keeps copies"):
        inference.mcmc(guarded, kernels.cycle(method.compose(), kernels.mh()), **short)(1)


def test_all_copies_begin_where_the_chain_does():
    def level(y):
        sample("y", dist.Normal(sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    plan = inference.parallel_tempering(level, powers=[0.0, 1.0], chains=2, warmup=0, draws=1, init={"x": [0.5, -0.5]})
    prepared = plan.prepare((0.3,))
    state, _ = prepared.built._state(jax.random.key(0), prepared.inputs)
    assert np.asarray(state[0]).tolist() == [0.5, -0.5] and np.asarray(state[1]).tolist() == [[0.5], [-0.5]]


@pytest.mark.slow
def test_a_kernel_that_tunes_itself_moves_the_copies():
    """NUTS, tuned for the copy at power 1: the posterior is Normal(0.25, 1 / 2), of independent chains."""

    def level(y):
        sample("y", dist.Normal(sample("x", dist.Normal(0.2, 1.0)), 1.0), obs=y)

    plan = inference.parallel_tempering(level, kernels.nuts(), powers=[0.0, 1.0], chains=50, warmup=100, draws=40)
    result = plan(2, 0.3)
    assert np.asarray(result.run["step_size"]).shape == ()
    means = np.asarray(result.posterior["x"]).mean(axis=1)
    assert abs(means.mean() - 0.25) < 5 * means.std(ddof=1) / 50**0.5
