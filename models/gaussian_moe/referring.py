"""Where tempering of a mixture of experts starts: experts around those of the modes that ascents from many fits find.

Law: the program below has the measure of `priors.mixture_with_priors`, whatever the reference. Coefficients of a linear
gate that sum to zero are those of independent rows less the mean row, so that each expert has a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import scipy.optimize

import lawful

from ..latent_classes.reference import Reference, around, coordinates, drawn_classes, of_the_prior, valued
from .density import Mixture
from .gates import Gate
from .parameters import Parameters
from .priors import Priors, draw_answers

__all__ = ["reference_of", "referring_program"]

FAR = 2.0  # rows of the gate in standard deviations of the prior, where an ascent begins at most


@lru_cache(maxsize=64)
def referring_program(k: int, gate: Gate) -> Callable[..., None]:
    """Give the program of a posterior whose experts are drawn from a reference: of (X, y, priors, reference)."""
    experts = _experts(k, gate)

    def model(X: Any, y: Any, priors: Priors, reference: Reference) -> None:
        tau = _heat(priors, gate)
        values = drawn_classes(reference, "expert", experts, jnp.ptp(X, axis=0), priors)
        found = _parameters(values, tau, gate)
        if gate.kind == "activated":
            lawful.deterministic("beta1", found.beta1)
            lawful.deterministic("gate", found.beta0[None])
        elif k > 1:
            lawful.deterministic("gate", jnp.concatenate([found.beta1.T, found.beta0[None]]))
        draw_answers(found, X, y, gate)

    return model


def reference_of(fits: Parameters, x: jax.Array, y: jax.Array, gate: Gate, priors: Priors) -> Reference:
    """Make the reference of a data set from fits of maximum likelihood.

    Args:
        fits: of all starts, in standard units, leaves (starts, ...).
        x: covariates in standard units (n, d).
        y: answers in standard units (n,).
        gate: how weights are made of scores.
        priors: scales.
    """
    starts, k = fits.b.shape
    experts, ranges = _experts(k, gate), jnp.ptp(x, axis=0)
    climb, slope, prior = _compiled(k, gate)
    form = lawful.trace(experts, ranges, priors)
    ends, heats, heights = [], [], []
    for i in range(starts):
        begin = coordinates(form, _values(jax.tree.map(lambda v: v[i], fits), gate, priors))
        heat = float(jnp.log(fits.tau[i])) if gate.kind == "activated" else 0.0
        end = scipy.optimize.minimize(
            climb, np.append(np.asarray(begin).ravel(), heat), (x, y, priors), jac=True, method="L-BFGS-B"
        )
        ends.append(end.x[:-1].reshape(k, -1))
        heats.append(end.x[-1])
        heights.append(-end.fun)
    return around(
        lambda heat, point: slope(heat, point, x, y, priors), np.array(heats), np.array(ends), heights,
        prior(ranges, priors),
    )  # fmt: skip


@lru_cache(maxsize=64)
def _compiled(k: int, gate: Gate) -> tuple[Callable[..., Any], ...]:
    """Compile what is climbed, its gradient by the coordinates of all experts, and draws of an expert."""
    experts = _experts(k, gate)

    def score(point: jax.Array, heat: jax.Array, x: jax.Array, y: jax.Array, priors: Priors) -> jax.Array:
        density, values = valued(point, experts, jnp.ptp(x, axis=0), priors)
        likelihood = jnp.sum(Mixture(gate, _parameters(values, jnp.exp(heat), gate)).log_density(x, y))
        return density + likelihood - 0.5 * (heat / priors.heat) ** 2

    def fall(both: jax.Array, *data: Any) -> jax.Array:
        return -score(both[:-1].reshape(k, -1), both[-1], *data)

    slope = jax.vmap(jax.grad(score), (0, 0, None, None, None))
    return (
        jax.jit(jax.value_and_grad(fall)),
        jax.jit(lambda heat, point, *data: slope(point, heat, *data)),
        jax.jit(partial(of_the_prior, experts)),
    )


@lru_cache(maxsize=64)
def _experts(k: int, gate: Gate) -> Callable[..., None]:
    """Give the program of the experts and their rows of the gate."""

    def experts(ranges: Any, priors: Priors) -> None:
        dtype, d = ranges.dtype, len(ranges)
        with lawful.plate("expert", k):
            if k > 1 or gate.kind == "activated":
                scale = jnp.asarray(priors.gate, dtype)
                lawful.sample("row", dist.Normal(jnp.zeros(d + 1, dtype), scale).to_event(1))
            slope = jnp.asarray(priors.slope, dtype) / ranges
            lawful.sample("a", dist.Normal(jnp.zeros(d, dtype), slope).to_event(1))
            lawful.sample("b", dist.Normal(jnp.zeros((), dtype), jnp.asarray(priors.level, dtype)))
            lawful.sample("sigma", dist.HalfNormal(jnp.asarray(priors.noise, dtype)))

    return experts


def _heat(priors: Priors, gate: Gate) -> jax.Array:
    if gate.kind != "activated":
        return jnp.ones((), jnp.result_type(float))
    law = dist.LogNormal(jnp.zeros((), jnp.result_type(float)), jnp.asarray(priors.heat, jnp.result_type(float)))
    tau: jax.Array = lawful.sample("tau", law)
    return tau


def _parameters(values: Mapping[str, jax.Array], tau: jax.Array, gate: Gate) -> Parameters:
    """Give the parameters at values of the experts' sites."""
    row = values.get("row", jnp.zeros((len(values["b"]), values["a"].shape[1] + 1), values["b"].dtype))
    centred = row - jnp.mean(row, axis=0, keepdims=True)
    beta1 = row[:, :-1] if gate.kind == "activated" else centred[:, :-1]
    return Parameters(beta1, centred[:, -1], values["a"], values["b"], values["sigma"] ** 2, tau)


def _values(fit: Parameters, gate: Gate, priors: Priors) -> dict[str, jax.Array]:
    """Give values of the experts' sites at a fit, its gate no further out than the prior thinks likely."""
    row = jnp.concatenate([fit.beta1, fit.beta0[:, None]], axis=1) / (1.0 if gate.kind == "activated" else fit.tau)
    middle = jnp.mean(
        row, axis=0, keepdims=True
    )  # of what a shift leaves alone: the slopes of an activated gate are told
    free = jnp.where(jnp.arange(row.shape[1]) < row.shape[1] - 1, gate.kind != "activated", True)
    far = FAR * priors.gate
    return {"row": jnp.clip(row - middle * free[None], -far, far), "a": fit.a, "b": fit.b, "sigma": jnp.sqrt(fit.nu)}
