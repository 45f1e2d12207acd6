"""Marginals of partial states: exact sums beside a table of all states, and the law of draws that a guess guides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lawful
from lawful import inference
from lawful.errors import WidthError
from lawful.inference import graphs
from lawful.models.papers.partial_states import guided, log_density, log_marginal, next_value, patch, torus

STATES = (np.arange(512)[:, None] >> np.arange(9)) & 1
WEIGHT = np.random.default_rng(5).normal(size=25)


@pytest.fixture(autouse=True)
def in_64_bits():
    with jax.enable_x64(True):
        yield


def table(coupling, field):
    """All 512 states of a grid of three by three, and their log densities, by the pairs of neighbours."""
    spin = 2.0 * STATES.reshape(-1, 3, 3) - 1
    pairs = spin * np.roll(spin, 1, 1) + spin * np.roll(spin, 1, 2)
    return (coupling * pairs + field * spin).sum((1, 2))


@pytest.mark.parametrize("seed", range(4))
def test_the_mass_of_a_partial_state_is_the_sum_over_those_that_agree(seed):
    rng = np.random.default_rng(seed)
    coupling, field = rng.normal(size=2)
    seen, up = rng.uniform(size=(3, 3)) < 0.5, rng.integers(0, 2, (3, 3))
    agree = (STATES[:, seen.ravel()] == up[seen]).all(1)
    truth = np.logaddexp.reduce(table(coupling, field)[agree])
    assert float(log_marginal(up, seen, coupling, field)) == pytest.approx(truth, abs=1e-12)


def test_what_stands_at_sites_that_are_not_seen_is_not_read():
    seen = np.eye(4, dtype=bool)
    assert log_marginal(np.eye(4), seen) == log_marginal(np.ones((4, 4)), seen)


def test_all_sites_seen_leave_the_density():
    up = np.random.default_rng(0).integers(0, 2, (4, 5))
    assert float(log_marginal(up, np.ones((4, 5), bool))) == pytest.approx(float(log_density(up)), abs=1e-12)


def test_masses_of_the_values_of_a_site_add_up_to_that_without_it():
    rng = np.random.default_rng(1)
    seen, up = rng.uniform(size=(6, 6)) < 0.4, rng.integers(0, 2, (6, 6))
    free = np.argwhere(~seen)[0]
    more = seen.copy()
    more[*free] = True
    values = np.stack([up, up])
    values[:, free[0], free[1]] = 0, 1
    parts = jax.vmap(lambda x: log_marginal(x, more))(values)
    assert float(jnp.logaddexp(*parts)) == pytest.approx(float(log_marginal(up, seen)), abs=1e-12)


def test_a_sum_that_is_too_wide_is_refused():
    with pytest.raises(WidthError):
        log_marginal(np.zeros((20, 20)), np.zeros((20, 20), bool))


def test_the_program_has_the_law_of_the_table():
    found = inference.enumerate(torus)(3, 3, 0.3, -0.2)
    logs = table(0.3, -0.2)
    assert found.log_evidence == pytest.approx(np.logaddexp.reduce(logs), abs=1e-12)


@pytest.mark.parametrize("weight", [np.zeros(25), WEIGHT], ids=["fair coins", "wrong"])
def test_the_law_of_guided_draws_is_that_of_the_grid_whatever_guides_them(weight):
    coupling, field = 0.3, -0.2
    logs = table(coupling, field)
    found = inference.enumerate(guided)(weight, 3, 3, coupling, field)
    assert found.log_evidence == pytest.approx(np.logaddexp.reduce(logs), abs=1e-12)
    probabilities = {np.asarray(x).tobytes(): p for x, p in found.marginal("return").items()}
    truth = np.exp(logs - np.logaddexp.reduce(logs))
    one = next(iter(found.marginal("return")))
    named = [probabilities[np.asarray(x.reshape(3, 3), np.asarray(one).dtype).tobytes()] for x in STATES]
    assert named == pytest.approx(truth, abs=1e-14)


def test_a_patch_holds_what_is_known_within_two_steps():
    state = np.full((6, 7), -1)
    state[5, 6], state[0, 2], state[3, 0] = 1, 0, 1  # one step up and left over both edges, two steps right, too far
    around = np.asarray(patch(jnp.asarray(state), 0))
    assert around[-1] == 1.0
    assert sorted(around[:-1]) == [-1.0, *[0.0] * 22, 1.0]
    assert np.flatnonzero(around[:-1]).tolist() == [6, 13]


def test_the_regression_is_that_of_the_sum_of_its_terms():
    patches, up = np.random.default_rng(2).normal(size=(4, 25)), np.array([0, 1, 1, 0])
    log = lawful.trace(next_value, patches, up).log_density({"weight": jnp.asarray(WEIGHT)}, patches, up)
    logits = patches @ WEIGHT
    prior = -0.5 * np.sum(WEIGHT**2) - 12.5 * np.log(2 * np.pi)
    assert float(log) == pytest.approx(prior - np.logaddexp(0, np.where(up == 1, -logits, logits)).sum(), abs=1e-12)


def test_particles_agree_with_the_exact_sum():
    """False alarm 1e-6 (4.9 standard errors of 20 runs of 500); a bias of 9 is missed with probability 1e-4."""
    result = inference.smc(guided, particles=500, runs=20)(jax.random.key(3), jnp.zeros(25).at[24].set(0.4), 5, 5)
    exact = float(log_marginal(np.zeros((5, 5)), np.zeros((5, 5), bool)))
    assert abs(float(result.log_evidence_pooled) - exact) < 4.9 * float(result.log_evidence_error)


@pytest.mark.slow
def test_the_published_size_has_the_known_normaliser_and_its_exact_draws_the_moments_that_follow_from_it():
    """False alarm 1e-6 each (4.9 standard errors of 2,000 independent draws); a bias of 9 is missed with 1e-4."""
    none = np.zeros((10, 10), bool)
    value, slopes = jax.value_and_grad(lambda theta: log_marginal(none, none, *theta))(jnp.array([0.2, 0.2]))
    assert float(value) == pytest.approx(78.688056194918, abs=1e-9)
    drawn = graphs.draws(graphs.to_factor_graph(torus, 10, 10), jax.random.key(4), 2000).states["up"]
    spin = 2.0 * np.asarray(drawn) - 1
    bonds = (spin * (np.roll(spin, 1, 1) + np.roll(spin, 1, 2))).sum((1, 2))
    for found, truth in zip((bonds, spin.sum((1, 2))), slopes, strict=True):
        assert abs(found.mean() - float(truth)) < 4.9 * found.std() / np.sqrt(2000)
