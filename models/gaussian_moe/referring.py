"""Where tempering of a mixture of experts starts: experts around those of the modes that ascents from many fits find.

Law: the program below has the measure of `priors.mixture_with_priors`, wherever it starts. Coefficients of a linear
gate that sum to zero are those of independent rows less the mean row, so that each expert has a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import scipy.optimize

import lawful
from lawful import inference

from .gates import Gate
from .parameters import Parameters
from .priors import Priors, draw_answers

__all__ = ["referring_program", "start_of"]

FAR = 2.0  # rows of the gate in standard deviations of the prior, where an ascent begins at most


@lru_cache(maxsize=64)
def referring_program(k: int, gate: Gate) -> Callable[..., None]:
    """Give the program of a posterior whose experts are drawn from a mixture: of (X, y, priors, start)."""

    def model(X: Any, y: Any, priors: Priors, start: inference.SymmetricMixture) -> None:
        inference.start_from(start)(_by_rows(k, gate))(X, y, priors)

    return model


def start_of(fits: Parameters, x: jax.Array, y: jax.Array, gate: Gate, priors: Priors) -> inference.SymmetricMixture:
    """Make the mixture where the experts of a data set start, from fits of maximum likelihood.

    Args:
        fits: of all starts, in standard units, leaves (starts, ...).
        x: covariates in standard units (n, d).
        y: answers in standard units (n,).
        gate: how weights are made of scores.
        priors: scales.
    """
    starts, k = fits.b.shape
    program = _by_rows(k, gate)
    density = lawful.density(program, x, y, priors)
    ends, heights = [], []
    for i in range(starts):
        values = _values(jax.tree.map(lambda v: v[i], fits), gate, priors)
        begin, _ = density.ravel(density.unconstrain({name: values[name] for name in density.names}))
        end = scipy.optimize.minimize(_fall(k, gate), begin, (x, y, priors), jac=True, method="L-BFGS-B")
        ends.append(end.x)
        heights.append(-end.fun)
    _, unravel = density.ravel()
    optima = jax.vmap(lambda vector: density.constrain(unravel(vector)))(jnp.array(ends))
    return inference.laplace_mixture(program, "expert")(optima, x, y, priors, heights=heights)


@lru_cache(maxsize=64)
def _fall(k: int, gate: Gate) -> Callable[..., Any]:
    """Compile what an ascent makes small, with its gradient, by the coordinates of all sites and the data."""

    def fall(vector: jax.Array, *data: Any) -> jax.Array:
        return -lawful.density(_by_rows(k, gate), *data).logp_vector(vector)

    return jax.jit(jax.value_and_grad(fall))


@lru_cache(maxsize=64)
def _by_rows(k: int, gate: Gate) -> Callable[..., None]:
    """Give the program whose experts have rows of the gate, of (X, y, priors)."""
    activated = gate.kind == "activated"

    def model(X: Any, y: Any, priors: Priors) -> None:
        ranges = jnp.ptp(X, axis=0)
        dtype, d = ranges.dtype, len(ranges)
        tau = jnp.ones((), dtype)
        if activated:
            tau = lawful.sample("tau", dist.LogNormal(jnp.zeros((), dtype), jnp.asarray(priors.heat, dtype)))
        with lawful.plate("expert", k):
            row = jnp.zeros((k, d + 1), dtype)
            if k > 1 or activated:
                scale = jnp.asarray(priors.gate, dtype)
                row = lawful.sample("row", dist.Normal(jnp.zeros(d + 1, dtype), scale).to_event(1))
            slope = jnp.asarray(priors.slope, dtype) / ranges
            a = lawful.sample("a", dist.Normal(jnp.zeros(d, dtype), slope).to_event(1))
            b = lawful.sample("b", dist.Normal(jnp.zeros((), dtype), jnp.asarray(priors.level, dtype)))
            sigma = lawful.sample("sigma", dist.HalfNormal(jnp.asarray(priors.noise, dtype)))
        centred = row - jnp.mean(row, axis=0, keepdims=True)
        beta1 = row[:, :-1] if activated else centred[:, :-1]
        found = Parameters(beta1, centred[:, -1], a, b, sigma**2, tau)
        if activated:
            lawful.deterministic("beta1", beta1)
            lawful.deterministic("gate", found.beta0[None])
        elif k > 1:
            lawful.deterministic("gate", jnp.concatenate([beta1.T, found.beta0[None]]))
        draw_answers(found, X, y, gate)

    return model


def _values(fit: Parameters, gate: Gate, priors: Priors) -> dict[str, jax.Array]:
    """Give values of the sites at a fit, its gate no further out than the prior thinks likely."""
    row = jnp.concatenate([fit.beta1, fit.beta0[:, None]], axis=1) / (1.0 if gate.kind == "activated" else fit.tau)
    middle = jnp.mean(
        row, axis=0, keepdims=True
    )  # of what a shift leaves alone: the slopes of an activated gate are told
    free = jnp.where(jnp.arange(row.shape[1]) < row.shape[1] - 1, gate.kind != "activated", True)
    far = FAR * priors.gate
    row = jnp.clip(row - middle * free[None], -far, far)
    return {"row": row, "a": fit.a, "b": fit.b, "sigma": jnp.sqrt(fit.nu), "tau": fit.tau}
