"""Data mixtures: how well a language model predicts text of many kinds, given the shares of its training data.

A training mixture is a point of the simplex, the shares of the domains; each model trained on one has a validation loss
on each of several kinds of text. Small models are cheap, so many mixtures are tried with them; a regression from shares
to losses then says which mixture a large model should have. Here the regression is a Gaussian process for each loss, on
the square roots of the shares, with a length for each domain: a loss may change fast in the share of its own domain and
hardly at all in the others. The losses of untried mixtures are sites of the same program, given those that are known.

Law: given its lengths, height, noise and level, each loss is multivariate normal over the mixtures, and so are those of
untried mixtures given the others; different losses are independent, so that fits of one at a time are the joint fit.

Reference: Liu, Zheng, Muennighoff, Zeng, Dou, Pang, Jiang and Lin (2024), RegMix: Data Mixture as Regression for
Language Model Pre-training, arXiv 2407.01492.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

__all__ = ["data_mixtures", "matern"]


def matern(weights: Any, others: Any, length: Any) -> jax.Array:
    """Give the Matern 5/2 correlations between mixtures, by the scaled distance of the square roots of their shares.

    Args:
        weights: (n, d), mixtures.
        others: (m, d), further mixtures.
        length: (..., d), how far a square root goes until the loss has changed.

    Returns: (..., n, m), (1 + r + r^2 / 3) exp(-r), with r^2 = 5 sum_k (sqrt w_ik - sqrt v_jk)^2 / length_k^2.

    >>> matern(jnp.eye(2), jnp.eye(2), jnp.ones(2)).round(3).tolist()
    [[1.0, 0.3169999897480011], [0.3169999897480011, 1.0]]
    """
    rows, columns = (jnp.sqrt(jnp.asarray(w)) / length[..., None, :] for w in (weights, others))
    square = jnp.sum(rows**2, -1)[..., :, None] + jnp.sum(columns**2, -1)[..., None, :]
    square = square - 2.0 * rows @ jnp.swapaxes(columns, -1, -2)
    r = jnp.sqrt(jnp.maximum(5.0 * square, 1e-12))  # the root has a gradient at equal mixtures
    return (1.0 + r + r**2 / 3.0) * jnp.exp(-r)


def data_mixtures(weights: Any, loss: Any, untried: Any = None, draws: int = 1, jitter: float = 1e-8) -> None:
    """Regress losses on the shares of the training data, and give the losses of untried mixtures.

    For each loss: log length_k ~ N(0, 1) of each domain, log height ~ N(0.5, 1), log noise ~ N(-2, 1), level ~ N(0, 2);
    the losses of the mixtures are N(level, height^2 matern + noise^2 I). Losses are given in standard units, as
    differences from their mean divided by their standard deviation.

    With untried mixtures there are `mean` and `sd`, (outputs, m), of the loss that a model trained on each would have,
    noise included, and the site `untried`, (draws, outputs, m): joint draws of the noiseless loss at all of them.

    Args:
        weights: (n, d), the shares of d domains, rows that sum to one.
        loss: (n, outputs), losses in standard units.
        untried: (m, d), mixtures whose losses are asked for, or None.
        draws: number of joint draws of their losses.
        jitter: what is added to the diagonal of the covariance of these draws, as a part of height^2.

    >>> from lawful import handlers
    >>> seeded = handlers.seed(data_mixtures, jax.random.key(0))
    >>> seeded(jnp.eye(3), jnp.array([[0.1], [0.2], [-0.3]])) is None
    True
    """
    n, domains = jnp.shape(weights)
    with lawful.plate("output", jnp.shape(loss)[1]):
        length = jnp.exp(lawful.sample("log_length", dist.Normal(0.0, 1.0).expand([domains]).to_event(1)))
        height = jnp.exp(lawful.sample("log_height", dist.Normal(0.5, 1.0)))[:, None, None]
        noise = jnp.exp(lawful.sample("log_noise", dist.Normal(-2.0, 1.0)))[:, None, None]
        level = lawful.sample("level", dist.Normal(0.0, 2.0))[:, None]
        known = height**2 * matern(weights, weights, length) + noise**2 * jnp.eye(n)
        root = jnp.linalg.cholesky(known)
        seen = jnp.broadcast_to(level, jnp.shape(loss)[::-1])
        lawful.sample("loss", dist.MultivariateNormal(seen, scale_tril=root), obs=jnp.swapaxes(loss, 0, 1))
    if untried is None:
        return
    across = height**2 * matern(weights, untried, length)
    half = jax.scipy.linalg.solve_triangular(root, across, lower=True)
    rest = jax.scipy.linalg.solve_triangular(root, (jnp.swapaxes(loss, 0, 1) - level)[..., None], lower=True)
    mean = lawful.deterministic("mean", level + jnp.squeeze(jnp.swapaxes(half, -1, -2) @ rest, -1))
    within = height**2 * (matern(untried, untried, length) + jitter * jnp.eye(len(untried)))
    within = within - jnp.swapaxes(half, -1, -2) @ half
    variance = jnp.diagonal(within, axis1=-2, axis2=-1) + noise[..., 0] ** 2
    lawful.deterministic("sd", jnp.sqrt(variance))
    with lawful.plate("joint", draws):
        lawful.sample("untried", dist.MultivariateNormal(mean, within).to_event(1))
