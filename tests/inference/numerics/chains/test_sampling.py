"""The uniforms that give one path are a box, and its volume is the probability of the path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs.chains import chain, filtered, push_path
from lawful.inference.graphs.chains.sampling import pick
from tests.inference.numerics.chains.exact import enumerated, log_sum, moves_of, random_chain


def boxes(given):
    """For each path its box: lower and upper ends (P, T), by the conditional laws backwards."""
    paths, _ = enumerated(given)
    laws, moves = np.exp(np.asarray(filtered(given).log_law)), np.exp(moves_of(given))
    low, high = np.empty(paths.shape), np.empty(paths.shape)
    for t in range(given.steps):
        for p, path in enumerate(paths):
            weights = laws[t] if t + 1 == given.steps else laws[t] * moves[t][:, path[t + 1]]
            ends = np.cumsum(weights) / max(weights.sum(), 1e-300)
            low[p, t], high[p, t] = ends[path[t]] - weights[path[t]] / max(weights.sum(), 1e-300), ends[path[t]]
    return paths, low, high


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", ["sequential", "associative"])
@pytest.mark.parametrize(
    "kind", [{}, {"each": True, "zeros": True}, {"masked": True}], ids=["plain", "zeros", "masked"]
)
def test_the_box_of_a_path_has_its_probability_and_gives_it(kind, method):
    given = random_chain(9, steps=4, **kind)
    paths, low, high = boxes(given)
    _, scores = enumerated(given)
    exact = np.exp(scores - log_sum(scores))
    np.testing.assert_allclose(np.prod(high - low, axis=1), exact, rtol=1e-12, atol=1e-15)
    drawn = jax.vmap(lambda u: push_path(u, given, method))(jnp.asarray((low + high) / 2))
    feasible = exact > 0
    assert feasible.sum() > 10
    np.testing.assert_array_equal(drawn[feasible], paths[feasible])


def test_both_methods_draw_the_same_path():
    given = random_chain(10, steps=60, states=4, scale=1.0)
    u = np.random.default_rng(0).random((20, 60))
    step, tree = (jax.vmap(lambda u, m=m: push_path(u, given, m))(u) for m in ("sequential", "associative"))
    np.testing.assert_array_equal(step, tree)
    assert len({tuple(path) for path in np.asarray(step).tolist()}) == 20


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_uniform_picks_an_item_of_weight_zero(dtype):
    weights = jnp.log(jnp.asarray([0.0, 0.3, 0.0, 0.7, 0.0], dtype))
    last = 1 - jnp.finfo(dtype).epsneg
    assert [int(pick(jnp.asarray(u, dtype), weights)) for u in (0.0, 0.29, 0.31, last)] == [1, 1, 3, 3]


def test_many_paths_of_one_chain_filter_once():
    given = chain(np.zeros((6, 2)), np.zeros((2, 2)))
    many = jax.make_jaxpr(jax.vmap(lambda u: push_path(u, given)))(jnp.zeros((50, 6)))
    assert "50,2,2" not in str(many)
