"""Data of known quality: a mixture whose observations each have a known error, and what a noisy one is worth.

A clean value comes from a mixture of normals; what is observed has a further normal error, whose standard deviation is
known and differs from datum to datum. The question of the paper is how many noisy data replace a clean one, alone and
beside a clean set. The expected information answers it without a simulation: the inverse of the sum of what the data
bring is the covariance of any efficient estimate, for many data.

Law: the density of a datum is that of the mixture with scales sqrt(within^2 + noise^2); the information of independent
data is the sum of theirs; where the components are far apart a clean datum is worth 1 + (noise / within)^2 noisy ones.

Reference: Daras, Cherapanamjeri, Daskalakis (2024), How much is a noisy image worth? Data scaling laws for ambient
diffusion, arXiv:2411.02780.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful import inference

__all__ = ["ExchangeRates", "exchange_rates", "fisher_information", "known_noise", "standard_errors"]

REACH = 12.0  # standard deviations beyond the outer means: a normal density has exp(-72) of its peak there


def known_noise(y: Any, noise: Any, centre: Any, spread: Any = 10.0, within: Any = 1.0) -> jax.Array:
    """Observe draws from a mixture of normals, each with a normal error of its own known standard deviation.

    w ~ Dirichlet(1), mu_k ~ N(centre_k, spread), z_i ~ w, y_i ~ N(mu_{z_i}, sqrt(within^2 + noise_i^2)).

    Args:
        y: (n,), the observations.
        noise: (n,), or one for all: the standard deviation of each error, 0 for a clean datum.
        centre: (K,), prior means of the means.
        spread: prior standard deviation of the means.
        within: standard deviation of clean data within a component.

    Returns: (n,), the labels.

    >>> y, noise = jnp.array([-2.1, -1.9, 2.2, 4.8]), jnp.array([0.0, 0.0, 0.0, 3.0])
    >>> result = inference.importance(known_noise, particles=200, enumerate=["z"])(
    ...     jax.random.key(0), y, noise, jnp.array([-2.0, 2.0]), 1.0
    ... )
    >>> result.posterior["mu"].shape
    (1, 200, 2)
    """
    centre = jnp.asarray(centre)
    weights = lawful.sample("weights", dist.Dirichlet(jnp.ones(len(centre))))
    with lawful.plate("component", len(centre)):
        mu = lawful.sample("mu", dist.Normal(centre, spread))
    with lawful.plate("datum", len(y)):
        z: jax.Array = lawful.sample("z", dist.Categorical(probs=weights))
        lawful.sample("y", dist.Normal(mu[z], jnp.sqrt(within**2 + noise**2)), obs=y)
    return z


class ExchangeRates(NamedTuple):
    """Noisy data that bring as much about a mean as a clean one.

    Attributes:
        alone: (K,), where all data are noisy, against all clean: the ratio of the variances.
        beside: (K,), where many clean data are there: the ratio of what one more takes off the variance.
    """

    alone: np.ndarray
    beside: np.ndarray


def fisher_information(weights: Any, mu: Any, noise: float, within: float = 1.0, nodes: int = 2_001) -> np.ndarray:
    """Give the expected information in one datum, by derivatives of the summed program and quadrature over the datum.

    Args:
        weights: (K,), the weights of the components, all above 0.
        mu: (K,), the means.
        noise: standard deviation of the error of the datum.
        within: standard deviation of clean data within a component.
        nodes: points of the trapezoidal rule, whose error falls exponentially in their number a standard deviation.

    Returns: (2K - 1, 2K - 1): log(w_k / w_1) of the components after the first, then the means.

    Raises: LawfulError where weights and means are not equally many.

    >>> information = fisher_information([0.5, 0.5], [-2.0, 2.0], noise=3.0)
    >>> information.shape
    (3, 3)
    """
    reach = REACH * float(np.hypot(within, noise))
    y, step = np.linspace(np.min(mu) - reach, np.max(mu) + reach, nodes, retstep=True)
    share, score = _density_and_score(jnp.asarray(weights), jnp.asarray(mu), y, float(noise), float(within))
    return np.asarray(score.T @ (share[:, None] * score) * step)


@jax.jit
def _density_and_score(weights: Any, mu: Any, y: Any, noise: Any, within: Any) -> tuple[jax.Array, jax.Array]:
    """Give the density of each datum (n,) and its derivatives (n, 2K - 1), by log(w_k / w_1) and mu_k."""
    found = inference.log_marginals(known_noise, y, noise, mu, 1.0, within, plate="datum", enumerate=["z"])

    def log_density(vector: jax.Array) -> jax.Array:
        logits, means = jnp.split(vector, [len(mu) - 1])
        return found({"weights": jax.nn.softmax(jnp.append(0.0, logits)), "mu": means})

    at = jnp.concatenate([jnp.log(weights[1:] / weights[0]), mu])
    return jnp.exp(log_density(at)), jax.jacfwd(log_density)(at)


def exchange_rates(weights: Any, mu: Any, noise: float, within: float = 1.0) -> ExchangeRates:
    """Give how many noisy data bring as much about each mean as a clean one, weights and means unknown.

    Args:
        weights: (K,), the weights of the components, all above 0.
        mu: (K,), the means.
        noise: standard deviation of the errors of noisy data.
        within: standard deviation of clean data within a component.

    Returns: the rates where noisy data are alone, and beside many clean ones.

    Raises: as `fisher_information`.

    >>> rates = exchange_rates([0.5, 0.5], [-2.0, 2.0], noise=3.0)
    >>> rates.alone.round().tolist(), rates.beside.round().tolist()
    ([88.0, 88.0], [20.0, 20.0])
    """
    noisy, clean = (fisher_information(weights, mu, sigma, within) for sigma in (noise, 0.0))
    means = slice(len(noisy) // 2, None)
    variance = np.linalg.inv(clean)
    gain = variance @ noisy @ variance  # minus the derivative of the inverse by the number of noisy data
    alone = np.diag(np.linalg.inv(noisy)) / np.diag(variance)
    return ExchangeRates(alone[means], (np.diag(variance) / np.diag(gain))[means])


def standard_errors(weights: Any, mu: Any, noise: Any, within: float = 1.0) -> np.ndarray:
    """Give the standard errors that the means have by the expected information of all data.

    Args:
        weights: (K,), the weights of the components, all above 0.
        mu: (K,), the means.
        noise: (n,), the standard deviation of the error of each datum; each distinct one takes a quadrature.
        within: standard deviation of clean data within a component.

    Returns: (K,).

    Raises: as `fisher_information`.

    >>> float(standard_errors([0.5, 0.5], [-9.0, 9.0], np.full(200, 3.0))[0].round(2))  # nearly sqrt((1 + 9) / 100)
    0.32
    """
    levels, counts = np.unique(noise, return_counts=True)
    information = sum(
        count * fisher_information(weights, mu, float(level), within)
        for level, count in zip(levels, counts, strict=True)
    )
    return np.sqrt(np.diag(np.linalg.inv(information)))[-len(np.asarray(mu)) :]
