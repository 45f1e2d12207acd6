"""Annealed top-K gates: soft weights tend to the gate's own, and fits find the optimum that brute force finds."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lawful.models.gaussian_moe import Gate, Mixture, Settings, fit_from, fit_top_one
from lawful.models.gaussian_moe.annealing import annealed_fit, soft_log_weights
from lawful.models.gaussian_moe.parameters import permuted, rescaled, shifted
from lawful.models.gaussian_moe.starts import random_start
from tests.models.gaussian_moe.cases import TRUTH, random_case

TOP_1 = Gate("topk", top_k=1)
seeds = given(st.integers(0, 10**6))


@partial(jax.jit, static_argnums=0)
def soft(gate, p, X, temperature):
    return jnp.exp(soft_log_weights(gate, p, X.T, temperature)).T


def by_hand(gate, p, X, temperature):
    """Choose a subset, then an expert of it, row by row, in units of the spread of the rankings."""
    s = X @ np.asarray(p.beta1).T + np.asarray(p.beta0)
    ranked = X @ np.asarray(p.beta1).T if gate.selection == "slope" else s
    rows = np.column_stack([p.beta1, p.beta0]) if gate.selection == "full" else np.asarray(p.beta1)
    spread = np.sqrt(((rows - rows.mean(0)) ** 2).sum() / len(rows))
    found = np.zeros_like(s)
    for n in range(len(X)):
        subsets = list(itertools.combinations(range(3), gate.top_k))
        chance = np.exp([sum(ranked[n, i] for i in S) / (spread * temperature) for S in subsets])
        for S, share in zip(subsets, chance / chance.sum()):
            inside = np.exp(s[n, list(S)])
            found[n, list(S)] += share * inside / inside.sum()
    return found


@pytest.mark.parametrize("gate", [TOP_1, Gate("topk", top_k=2), Gate("topk", top_k=2, selection="slope")])
@settings(max_examples=10)
@seeds
def test_soft_weights_are_a_choice_of_a_subset_and_tend_to_the_gate(gate, seed):
    p, X, _, rng = random_case(seed)
    temperature = float(rng.uniform(0.2, 2.0))
    found = soft(gate, p, X, temperature)
    np.testing.assert_allclose(found, by_hand(gate, p, X, temperature), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
    s = np.sort(X @ np.asarray(p.beta1).T + (np.asarray(p.beta0) if gate.selection == "full" else 0))
    clear = (np.diff(s) > 1e-3).all(1)  # rows where no two experts nearly tie
    np.testing.assert_allclose(soft(gate, p, X, 1e-6)[clear], Mixture(gate, p).weights(X)[clear], atol=1e-12)


@settings(max_examples=10)
@seeds
def test_soft_weights_have_the_invariances_of_the_gate(seed):
    p, X, _, rng = random_case(seed)
    order = rng.permutation(3)
    for gate in (TOP_1, Gate("topk", top_k=2)):
        found = soft(gate, p, X, 0.5)
        np.testing.assert_allclose(soft(gate, permuted(p, order), X, 0.5), found[:, order], rtol=1e-9, atol=1e-14)
        moved = shifted(p, rng.normal(size=2), rng.normal())
        np.testing.assert_allclose(soft(gate, moved, X, 0.5), found, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(soft(TOP_1, rescaled(p, 7.0), X, 0.5), soft(TOP_1, p, X, 0.5), rtol=1e-9, atol=1e-14)
    everyone = soft(Gate("topk", top_k=3), p, X, 0.5)
    np.testing.assert_allclose(everyone, Mixture(Gate(), p).weights(X), rtol=1e-12)


def data(n, seed):
    places, answers = jax.random.split(jax.random.key(seed))
    x = jax.random.uniform(places, (n, 1))
    return x, Mixture(TOP_1, TRUTH).sample(answers, x)


@partial(jax.jit, static_argnums=(0, 1))
def from_anywhere(gate, k, keys, x, y, limits):
    def one(key):
        start = random_start(key, x, y, k)
        hard = fit_from(gate, start, x, y, limits)
        return annealed_fit(gate, start, x, y, limits), hard.log_likelihood

    return jax.lax.map(one, keys)


@pytest.mark.slow
def test_annealing_finds_the_optimum_of_the_exact_solver():
    """Two experts, one covariate, four random starts; hard assignment alone seldom does."""
    limits = Settings(floor=1e-3)
    for seed in range(3):
        x, y = data(80, seed)
        found, hard = from_anywhere(TOP_1, 2, jax.random.split(jax.random.key(seed), 4), x, y, limits)
        exact = float(fit_top_one(x[:, 0], y, 1e-3)[1])
        assert float(found.log_likelihood.max()) == pytest.approx(exact, rel=1e-8)
        assert np.all(found.log_likelihood >= hard - 1e-9) and float(jnp.median(hard)) < exact - 1
        best = jax.tree.map(lambda v: v[jnp.argmax(found.log_likelihood)], found)
        told = jnp.sum(Mixture(TOP_1, best.parameters).log_density(x, y))
        assert float(best.log_likelihood) == pytest.approx(float(told), rel=1e-10)
        assert best.steps > 0 and np.isnan(best.slope)


def likelihood_of(part, X, y, floor):
    Z = np.column_stack([X[part], np.ones(part.sum())])
    square = (y[part] - Z @ np.linalg.lstsq(Z, y[part], rcond=None)[0]) ** 2
    nu = max(square.mean(), floor)
    return -0.5 * (np.log(2 * np.pi * nu) + square / nu).sum()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_annealing_finds_the_best_half_plane(seed):
    """Two covariates: against both sides of every line through two rows, these rows on either side each."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(40, 2))
    y = np.where(X @ [1.0, 0.7] > 0.1, 2 * X[:, 0], 3 - X[:, 1]) + 0.3 * rng.normal(size=40)
    floor, best = 0.02 * y.var(), -np.inf
    for i, j in itertools.combinations(range(40), 2):
        normal = np.array([X[j, 1] - X[i, 1], X[i, 0] - X[j, 0]])
        for one, other in itertools.product([False, True], repeat=2):
            part = (X - X[i]) @ normal > 0
            part[i], part[j] = one, other
            if 4 <= part.sum() <= 36:
                best = max(best, likelihood_of(part, X, y, floor) + likelihood_of(~part, X, y, floor))
    X, y = jnp.asarray(X), jnp.asarray(y)
    found, _ = from_anywhere(TOP_1, 2, jax.random.split(jax.random.key(seed), 20), X, y, Settings(floor=0.02))
    assert float(found.log_likelihood.max()) == pytest.approx(best, rel=1e-8)


@pytest.mark.slow
def test_an_overspecified_top_2_fit_is_not_below_that_of_hard_assignment():
    x, y = data(120, 5)
    gate = Gate("topk", top_k=2)
    found, hard = from_anywhere(gate, 3, jax.random.split(jax.random.key(0), 3), x, y, Settings(floor=1e-3))
    gain = np.asarray(found.log_likelihood - hard)
    assert gain.min() >= -1e-9 and gain.max() > 1
