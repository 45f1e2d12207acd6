"""Single precision: messages to 1e-6 on the targets of the benchmark and 1e-5 on any target, with no value lost."""

import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs import counts
from tests.inference.numerics.counts import exact


def targets(size, share, bags):
    """The benchmark: soft counts some way off the mean, 27 standard deviations of it at 2048 members and 0.4."""
    h = 1.5 * np.random.default_rng(5).normal(size=(bags, size))
    k = np.round(share * (1 / (1 + np.exp(-h))).sum(axis=1))
    g = -((np.arange(size + 1)[None] - k[:, None]) ** 2)
    return h.astype(np.float32), g.astype(np.float32)


def extremes(size):
    """Logits in [-20, 20] and every kind of hard count: none, one, few, those that are likely, all but one, all."""
    rng = np.random.default_rng(6)
    h = rng.uniform(-20, 20, (8, size)).astype(np.float32)
    h[7] = np.where(rng.random(size) < 0.3, 20, -20)
    k = np.array([0, 1, size // 7, size // 2, size - 9, size - 1, size, (h[7] > 0).sum()])
    return h, np.where(np.arange(size + 1)[None] == k[:, None], 0, -np.inf).astype(np.float32)


def check(h, g, bound, method="auto"):
    solved = counts.solve(jnp.asarray(h), jnp.asarray(g), method=method)
    assert solved.messages.dtype == jnp.float32
    for row in range(len(h)):
        told, log_z = exact.recursion(h[row], g[row])
        assert exact.error(solved.messages[row], told) <= bound, row
        assert exact.error(solved.log_evidence[row] / max(abs(log_z), 1), log_z / max(abs(log_z), 1)) <= 1e-5, row


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "blocks", "fourier"])
def test_the_targets_of_the_benchmark(method):
    for share in (0.8, 0.4):
        check(*targets(128, share, 3), 1e-6, method)


def test_any_target_of_a_bag():
    check(*extremes(128), 1e-5)


@pytest.mark.slow
@pytest.mark.optimised
def test_the_targets_of_the_benchmark_in_the_largest_bags():
    for share in (0.8, 0.4):
        check(*targets(2048, share, 1), 1e-6)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("method", ["auto", "fourier"])
def test_any_target_of_the_largest_bags(method):
    check(*extremes(2048), 1e-5, method)
