"""The mixture with priors, as a program: weakly informative, proper, and the same for every expert.

Law: the density is unchanged when experts change their names, with their gates: the coefficients of a linear gate sum
to zero over experts, where none is the reference. So the evidence needs no correction for labels. Everything is in
standard units: covariates and answers of mean 0 and standard deviation 1.

Reference: trajectories have the same priors, adapted here to one answer a row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpyro.distributions as dist

import lawful
from lawful.errors import LawfulError

from ..latent_classes import zero_sum_gate
from .gates import Gate, log_weights
from .parameters import Parameters

__all__ = ["Priors", "draw_answers", "draw_parameters", "mixture_with_priors"]


class Priors(NamedTuple):
    """Scales of the priors, in standard units; each is a number that may change without a new compilation.

    Attributes:
        level: SD of an expert's mean at the middle of the covariates.
        slope: SD of the change of its mean over the range of a covariate.
        noise: scale of its half-normal SD of residuals.
        gate: SD s of the gate: k coefficients have covariance s^2 (I - 11'/k), a contrast of two has SD 1.41 s.
        heat: SD of log tau of an activated gate.
    """

    level: Any = 1.5
    slope: Any = 4.0
    noise: Any = 0.5
    gate: Any = 5.0
    heat: Any = 1.0


def draw_parameters(k: int, ranges: Any, gate: Gate = Gate(), priors: Priors = Priors()) -> Parameters:
    """Draw the parameters of k experts: the prior as a program.

    Args:
        k: number of experts.
        ranges: of the covariates, in standard units (d,).
        gate: how weights are made of scores. A temperature of a linear gate is pinned at 1: the data tell beta / tau.
        priors: scales.

    >>> form = lawful.trace(draw_parameters, 2, jnp.array([3.0]))
    >>> [site.address[0] for site in form.sites()]
    ['gate', 'a', 'b', 'sigma']
    """
    ranges = jnp.asarray(ranges)
    d, dtype = len(ranges), ranges.dtype
    scale = jnp.asarray(priors.gate, dtype)
    if gate.kind == "activated":
        beta1 = lawful.sample("beta1", dist.Normal(jnp.zeros((k, d), dtype), scale).to_event(2))
        beta0 = zero_sum_gate(1, k, scale)[0]
    else:
        coefficients = zero_sum_gate(d + 1, k, scale)
        beta1, beta0 = coefficients[:-1].T, coefficients[-1]
    with lawful.plate("expert", k):
        a = lawful.sample("a", dist.Normal(jnp.zeros(d, dtype), jnp.asarray(priors.slope, dtype) / ranges).to_event(1))
        b = lawful.sample("b", dist.Normal(jnp.zeros((), dtype), jnp.asarray(priors.level, dtype)))
        sigma = lawful.sample("sigma", dist.HalfNormal(jnp.asarray(priors.noise, dtype)))
    tau = jnp.ones((), dtype)
    if gate.kind == "activated":
        tau = lawful.sample("tau", dist.LogNormal(jnp.zeros((), dtype), jnp.asarray(priors.heat, dtype)))
    return Parameters(beta1, beta0, a, b, sigma**2, tau)


def mixture_with_priors(
    X: Any, y: Any, k: int, gate: Gate = Gate(), priors: Priors = Priors(), ranges: Any = None
) -> Parameters:
    """Draw the parameters and the answers, labels summed out.

    Args:
        X: covariates in standard units (n, d).
        y: answers in standard units (n,).
        k: number of experts.
        gate: how weights are made of scores.
        priors: scales.
        ranges: of the covariates (d,); by default those of X.

    Returns: the parameters, in standard units.

    Raises: LawfulError for a top-K gate with more experts than there are.

    >>> x = jnp.linspace(-1.7, 1.7, 12)
    >>> form = lawful.trace(mixture_with_priors, x[:, None], jnp.abs(x), 2)
    >>> [site.address[0] for site in form.sites()]
    ['gate', 'a', 'b', 'sigma', 'y']
    """
    if gate.top_k is not None and gate.top_k > k:
        raise LawfulError(f"mixture_with_priors: top_k={gate.top_k} of {k} experts. Fix: give at most as many.")
    found = draw_parameters(k, jnp.ptp(X, axis=0) if ranges is None else ranges, gate, priors)
    draw_answers(found, X, y, gate)
    return found


def draw_answers(parameters: Parameters, X: Any, y: Any, gate: Gate) -> None:
    """Draw the answers, or score them, labels summed out: a site "y" in the plate "row"."""
    x = jnp.asarray(X).T
    means = parameters.a @ x + parameters.b[:, None]
    with lawful.plate("row", x.shape[1]):
        labels = dist.Categorical(logits=log_weights(gate, parameters, x).T)
        parts = dist.Normal(means.T, jnp.sqrt(parameters.nu)[None])
        lawful.sample("y", dist.MixtureSameFamily(labels, parts), obs=y)
