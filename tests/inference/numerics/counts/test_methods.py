"""Methods: all agree with the recursion in extended precision, and what one cannot vouch for another answers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs import counts
from lawful.inference.graphs.counts import potentials, product_tree, solving
from tests.inference.numerics.counts import exact

SIZE = 100  # more than 64: transforms are used


def large_bags():
    rng = np.random.default_rng(0)
    h = rng.normal(size=(6, SIZE)) * 1.5
    h[4] = np.where(rng.random(SIZE) < 0.3, 20.0, -20.0)
    mean = (1 / (1 + np.exp(-h))).sum(axis=1)
    s = np.arange(SIZE + 1)
    g = np.stack(
        [
            -((s - np.round(0.8 * mean[0])) ** 2.0),
            np.where(s == round(0.4 * mean[1]), 0, -np.inf),
            np.where(s >= 70, 0.0, -np.inf),
            np.where(s % 2 == 1, 0.0, -np.inf),
            np.where(s == (h[4] > 0).sum(), 0, -np.inf),
            np.cos(s / 7.0) * 5,
        ]
    )
    return h, g


@pytest.mark.slow
@pytest.mark.rest_slow
@pytest.mark.parametrize("method", ["tree", "blocks", "fourier", "log"])
def test_methods_agree_with_extended_precision(method):
    h, g = large_bags()
    solved = counts.solve(jnp.asarray(h), jnp.asarray(g), method=method)
    for row in range(len(h)):
        told, log_z = exact.recursion(h[row], g[row])
        assert exact.error(solved.messages[row], told) < 1e-11, row
        assert exact.error(solved.log_evidence[row], log_z) < 1e-10, row


@partial(jax.jit, static_argnums=2)
def unguarded(h, g, method):
    """A linear method without a look at what it may have lost."""
    problem = solving.pose(h.T, g.T)
    return solving.in_products(problem, solving.linear_sums(problem, method))


@jax.jit
def is_trusted(h, g):
    problem = solving.pose(h.T, g.T)
    return solving.trusted(problem, solving.linear_sums(problem, "tree"), solving.least_sum(problem, "tree", 1e-5))


@pytest.mark.slow
def test_transforms_are_replaced_where_they_would_lose_digits():
    """With logits of +-20 a sum of 1e-9 beside one of 1 is lost in the rounding of a transform."""
    h, g = (jnp.asarray(x[4:5]) for x in large_bags())
    told = exact.recursion(h[0], g[0])[0]
    alone = unguarded(h, g, "fourier").messages[:SIZE, 0]
    assert exact.error(alone, told) > 1e-11
    assert exact.error(counts.messages(h, g, method="fourier")[0], told) < 1e-13


def test_what_underflows_is_answered_in_logs():
    """None or all of 12 members that are all improbable either way: no tilt brings both ends near."""
    h = jnp.asarray(np.random.default_rng(1).normal(size=(2, 12)) * 300)
    g = jnp.stack([potentials.soft_count(0.0, 500.0, 12), jnp.where(jnp.arange(13) % 12 == 0, 0.0, -jnp.inf)])
    assert is_trusted(h * 1e-3, potentials.soft_count(6.0, 1.0, 12)[None] * jnp.ones((2, 1)))
    assert not is_trusted(h, g)
    solved = counts.solve(h, g)
    for row in range(2):
        told, log_z = log_recursion(np.asarray(h[row]), np.asarray(g[row]))
        assert exact.error(solved.messages[row], told) < 1e-9
        assert exact.error(solved.log_evidence[row], log_z) < 1e-9


def log_recursion(h, g):
    """The recursion in logs and extended precision."""
    h, beta = h.astype(exact.EXTENDED), g.astype(exact.EXTENDED)
    log_p, log_q = -np.logaddexp(0, -h), -np.logaddexp(0, h)
    nothing = exact.EXTENDED(-np.inf)
    alphas = [np.append(exact.EXTENDED(0), np.full(len(h), nothing))]
    for i in range(len(h)):
        moved = np.append(nothing, alphas[-1][:-1])
        alphas.append(np.logaddexp(alphas[-1] + log_q[i], moved + log_p[i]))
    told = np.zeros(len(h))
    log_z = np.logaddexp.reduce(alphas[-1] + beta)
    for i in reversed(range(len(h))):
        after = np.append(beta[1:], nothing)
        told[i] = np.logaddexp.reduce(alphas[i] + after) - np.logaddexp.reduce(alphas[i] + beta)
        beta = np.logaddexp(log_q[i] + beta, log_p[i] + after)
    return told, float(log_z)


@pytest.mark.slow
def test_the_variance_rule_keeps_its_accuracy_and_is_taken():
    """The normal approximation answers a hard count of large variance, within the accuracy asked for."""
    size = 600
    h = np.random.default_rng(2).normal(size=(1, size))
    g = np.where(np.arange(size + 1) == 250, 0.0, -np.inf)[None]
    told, log_z = exact.recursion(h[0], g[0])
    variance = np.exp(-np.logaddexp(0, h - 0.3) - np.logaddexp(0, 0.3 - h)).sum()
    for accuracy, least in ((1e-4, 1e-12), (1e-12, 0.0)):  # the second accuracy is beyond the approximation
        solved = counts.solve(jnp.asarray(h), jnp.asarray(g), accuracy=accuracy)
        gap = exact.error(solved.messages[0], told)
        assert least <= gap < min(accuracy, 0.15 / variance**2) or (least == 0.0 and gap < 1e-11)
    approximate = counts.solve(jnp.asarray(h), jnp.asarray(g), method="asymptotic")
    assert 1e-12 < exact.error(approximate.messages[0], told) < 0.15 / variance**2
    assert exact.error(approximate.log_evidence[0], log_z) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("size", [5, 33])
def test_padding_changes_no_bit(size):
    """A bag among larger ones is padded by members that are known to be zero."""
    rng = np.random.default_rng(size)
    for dtype in (np.float32, np.float64)[: 2 if size == 5 else 1]:
        h = jnp.asarray(rng.normal(size=(40, size)) * 2, dtype)
        k = jnp.asarray(rng.integers(0, size + 1, 40))
        g = jnp.where(jnp.arange(40)[:, None] % 2 == 0, 0.5, 50.0).astype(dtype)
        g = -g * (jnp.arange(size + 1)[None] - k[:, None]).astype(dtype) ** 2
        alone = counts.solve(h, g)
        for more in (1, 4) if size == 5 else (35,):
            padded = counts.solve(
                jnp.pad(h, ((0, 0), (0, more)), constant_values=-jnp.inf),
                jnp.pad(g, ((0, 0), (0, more)), constant_values=-jnp.inf),
            )
            changed = np.argwhere(np.asarray(padded.messages[:, :size] != alone.messages))
            assert not len(changed), (
                dtype,
                more,
                changed,
                padded.messages[changed[0][0]],
                alone.messages[changed[0][0]],
            )
            assert (padded.log_evidence == alone.log_evidence).all(), (dtype, more)


def test_chunks_change_nothing():
    rng = np.random.default_rng(8)
    h, g = jnp.asarray(rng.normal(size=(18, 10))), jnp.asarray(rng.normal(size=(18, 11)))

    def kernel(h, g):
        return solving.solve(solving.pose(h, g), "tree", 1e-5).messages

    run = jax.jit(counts.chunks.over_chunks, static_argnums=(0, 3))
    whole, pieces = run(kernel, h, g, 1 << 16), run(kernel, h, g, 4 * 10)
    assert exact.error(pieces, whole) < 1e-13


def test_bags_under_vmap_are_bags_side_by_side():
    rng = np.random.default_rng(7)
    h, g = jnp.asarray(rng.normal(size=(5, 6))), jnp.asarray(rng.normal(size=(5, 7)))
    rows = counts.solve(h, g)
    mapped = jax.vmap(counts.solve)(h, g)
    assert (mapped.messages == rows.messages).all() and (mapped.log_evidence == rows.log_evidence).all()
    jaxpr = str(jax.make_jaxpr(jax.vmap(lambda h: counts.messages(h, g[0])))(h))
    assert "cond" in jaxpr  # one choice for the chunk; mapped as it stands it would be a select of all methods


def test_loops_trace_the_factor_once():
    traces = []

    @jax.jit
    def loop(h, g):
        traces.append(1)
        return jax.lax.fori_loop(0, 3, lambda _, x: 0.5 * x + 0.5 * counts.messages(h - 0.1 * x, g), jnp.zeros_like(h))

    for seed in (0, 1):
        h = jnp.asarray(np.random.default_rng(seed).normal(size=(2, 8)))
        assert np.isfinite(loop(h, potentials.soft_count(jnp.asarray([3.0, 5.0]), 1.0, 8))).all()
    assert len(traces) == 1


def test_tilts_are_found_in_eight_steps():
    """Mean of the count and of the tilted potential agree to less than the spread of the count, whatever the target."""
    rng = np.random.default_rng(4)
    h = rng.normal(size=(200, 50)) * rng.choice([0.1, 1.5, 6.0], (200, 1))
    target = rng.integers(0, 51, 200)
    g = np.where(np.arange(51)[None] == target[:, None], 0, -np.inf)
    tilted = jax.jit(solving.pose)(jnp.asarray(h.T), jnp.asarray(g.T)).tilted
    spread = np.sqrt((tilted.one * tilted.zero).sum(axis=0))
    assert (np.abs(np.asarray(tilted.one.sum(axis=0)) - np.clip(target, 0.5, 49.5)) < 1 + 2 * spread).all()


def test_a_tree_pads_to_powers_of_two_and_reverses_bits():
    assert [product_tree.padded_size(n) for n in (0, 1, 2, 3, 9)] == [1, 1, 2, 4, 16]
    assert product_tree.order(8) == [0, 4, 2, 6, 1, 5, 3, 7]
