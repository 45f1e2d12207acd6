"""Data mixtures: how well a language model predicts text of many kinds, given the shares of its training data.

A training mixture is a point of the simplex, the shares of the domains; each model trained on one has a validation loss
on each of several kinds of text. Small models are cheap, so many mixtures are tried with them; a regression from shares
to losses then says which mixture a large model should have. Here the regression is a Gaussian process for each loss, on
a power of the shares, with a length for each domain: a loss may change fast in the share of its own domain and hardly
at all in the others, and most where that share is small. Losses of untried mixtures are sites of the same program, so
that a choice among them is by the expected loss over draws.

Law: given the hyper-parameters, each loss is multivariate normal over the mixtures, and so are those of untried ones
given the others; different losses are independent, so that fits of one at a time are the joint fit.

Reference: Liu, Zheng, Muennighoff, Zeng, Dou, Pang, Jiang and Lin (2024), RegMix: Data Mixture as Regression for
Language Model Pre-training, arXiv 2407.01492.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful

__all__ = ["Choice", "choose", "correlations", "data_mixtures", "powers"]


def powers(weights: Any, power: Any, least: float = 1e-3) -> jax.Array:
    """Raise shares to a power, so scaled that 0 stays 0 and 1 stays 1.

    Args:
        weights: (n, d), shares.
        power: (...), above 0; near 0 it is the logarithm.
        least: what is added to each share, so that the slope at a share of nought is bounded.

    Returns: (..., n, d).

    >>> powers(jnp.array([[0.0, 0.25, 1.0]]), jnp.array(0.5), least=0.0).tolist()
    [[0.0, 0.5, 1.0]]
    """
    power = jnp.asarray(power)[..., None, None]
    low, high = least**power, (1.0 + least) ** power
    return ((jnp.asarray(weights) + least) ** power - low) / (high - low)


def correlations(rows: Any, columns: Any, length: Any) -> jax.Array:
    """Give the Matern 5/2 correlations of points, with a length for each coordinate.

    Args:
        rows: (..., n, d), points.
        columns: (..., m, d), further points.
        length: (..., d), how far a coordinate goes until the function has changed.

    Returns: (..., n, m), (1 + r + r^2 / 3) exp(-r), with r^2 = 5 sum_k (rows_ik - columns_jk)^2 / length_k^2.

    >>> [round(float(r), 3) for r in correlations(jnp.eye(2), jnp.eye(2), jnp.ones(2))[0]]
    [1.0, 0.317]
    """
    rows, columns = (jnp.asarray(x) / length[..., None, :] for x in (rows, columns))
    square = jnp.sum(rows**2, -1)[..., :, None] + jnp.sum(columns**2, -1)[..., None, :]
    square = square - 2.0 * rows @ jnp.swapaxes(columns, -1, -2)
    r = jnp.sqrt(jnp.maximum(5.0 * square, 1e-12))  # the root has a gradient at equal points
    return (1.0 + r + r**2 / 3.0) * jnp.exp(-r)


def data_mixtures(weights: Any, loss: Any, untried: Any = None, draws: int = 1, jitter: float = 1e-8) -> None:
    """Regress losses on the shares of the training data, and give the losses of untried mixtures.

    For each loss: log length_k ~ N(0, 1) of each domain, log power ~ N(-1, 0.5), log height ~ N(0.5, 1), level ~
    N(0, 2), log noise ~ N(-3, 1.5), growth ~ N(0, 2). The loss of mixture w is level + height f(w) + error, where f has
    Matern correlations on the powers of the shares and the error the standard deviation
    noise exp(growth sum_k w_k^2): losses may be less regular where few domains have all of the share.

    Losses are given in standard units, as differences from their mean in their standard deviation, best of logarithms.
    The deterministic site `left_out`, (outputs, n), is each known loss as a forecast from all the others meets it:
    the difference in standard deviations. With untried mixtures there are `mean` and `sd`, (outputs, m), of the loss
    that a model trained on each would have, error included, and the site `untried`, (draws, outputs, m): joint draws of
    the loss without error at all of them.

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
    weights, seen = jnp.asarray(weights), jnp.swapaxes(loss, 0, 1)[..., None]
    with lawful.plate("output", len(seen)):
        length = jnp.exp(lawful.sample("log_length", dist.Normal(0.0, 1.0).expand(weights.shape[1:]).to_event(1)))
        power = jnp.exp(lawful.sample("log_power", dist.Normal(-1.0, 0.5)))
        height = jnp.exp(lawful.sample("log_height", dist.Normal(0.5, 1.0)))[:, None, None]
        level = lawful.sample("level", dist.Normal(0.0, 2.0))[:, None]
        noise = lawful.sample("log_noise", dist.Normal(-3.0, 1.5))[:, None]
        growth = lawful.sample("growth", dist.Normal(0.0, 2.0))[:, None]
        error = jnp.exp(noise + growth * jnp.sum(weights**2, -1))[..., None]
        rows = powers(weights, power)
        known = height**2 * correlations(rows, rows, length) + error**2 * jnp.eye(len(weights))
        root = jnp.linalg.cholesky(known)
        centre = jnp.broadcast_to(level, seen.shape[:-1])
        lawful.sample("loss", dist.MultivariateNormal(centre, scale_tril=root), obs=seen[..., 0])
    half = jax.scipy.linalg.solve_triangular(root, jnp.broadcast_to(jnp.eye(len(weights)), root.shape), lower=True)
    rest = half @ (seen - level[..., None])  # (outputs, n, 1)
    precision = jnp.sum(half**2, -2)  # the diagonal of the inverse of `known`
    lawful.deterministic("left_out", (jnp.swapaxes(half, -1, -2) @ rest)[..., 0] / jnp.sqrt(precision))
    if untried is None:
        return
    columns = powers(untried, power)
    across = half @ (height**2 * correlations(rows, columns, length))
    mean = lawful.deterministic("mean", level + (jnp.swapaxes(across, -1, -2) @ rest)[..., 0])
    error = jnp.exp(noise + growth * jnp.sum(jnp.asarray(untried) ** 2, -1))
    lawful.deterministic("sd", jnp.sqrt(height[..., 0] ** 2 - jnp.sum(across**2, -2) + error**2))
    within = height**2 * (correlations(columns, columns, length) + jitter * jnp.eye(len(untried)))
    within = within - jnp.swapaxes(across, -1, -2) @ across
    with lawful.plate("joint", draws):
        lawful.sample("untried", dist.MultivariateNormal(mean, within).to_event(1))


class Choice(NamedTuple):
    """A mixture that is chosen, and how sure that is.

    Attributes:
        mixture: its number.
        loss: the loss that is expected from it.
        regret: by how much that is above the expected loss of the best mixture, whichever it is.
        chance: the probability that it is the best.
    """

    mixture: int
    loss: float
    regret: float
    chance: float


def choose(losses: Any) -> Choice:
    """Choose the mixture of least expected loss.

    Args:
        losses: (draws, m), joint draws of the losses of all mixtures, in the units in which loss matters.

    Returns: the choice.

    >>> choose(np.array([[1.0, 0.0], [1.0, 4.0]]))
    Choice(mixture=0, loss=1.0, regret=0.5, chance=0.5)
    """
    losses = np.asarray(losses)
    best = int(losses.mean(axis=0).argmin())
    regret = losses[:, best] - losses.min(axis=1)
    return Choice(best, float(losses[:, best].mean()), float(regret.mean()), float(np.mean(regret == 0)))
