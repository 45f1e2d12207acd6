"""lawful on W8: a program whose states `integrate_normals` takes away, and its smoother and filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful
from benchmarks.contestants.linear import LinearRun
from benchmarks.workloads import LINEAR_STATES, Linear
from lawful import inference

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro")
DTYPE = "float64"


def functions(linear: Linear) -> Mapping[str, Any]:
    """What answers each task."""
    root, emission, noise = (jnp.asarray(x) for x in (linear.root, linear.emission, linear.noise))

    def model(transition: jax.Array, y: jax.Array) -> None:
        def seen(x: jax.Array, name: str, y: jax.Array) -> None:
            lawful.sample(name, dist.Normal(emission @ x, noise), obs=y)

        def step(x: jax.Array, y: jax.Array) -> tuple[jax.Array, None]:
            x = lawful.sample("x", dist.MultivariateNormal(transition @ x, scale_tril=root))
            seen(x, "y", y)
            return x, None

        first = lawful.sample("first", dist.MultivariateNormal(jnp.zeros(LINEAR_STATES), jnp.eye(LINEAR_STATES)))
        seen(first, "y_first", y[0])
        lawful.scan(step, first, y[1:])

    def evidence(transition: jax.Array, y: jax.Array) -> jax.Array:
        form = lawful.trace(model, transition, y)
        return inference.enumeration(form, inference.integrate_normals()).marginal.log_density({}, transition, y)

    def moments(of: Any) -> Any:
        def found(transition: jax.Array, y: jax.Array) -> Any:
            told = of(model, transition, y)
            parts = [jnp.concatenate([part["first"][None], part["x"]]) for part in (told.mean, told.covariance)]
            return told.log_evidence, parts

        return found

    return {
        "evidence": evidence,
        "gradient": jax.value_and_grad(evidence),
        "filter": moments(inference.filtered),
        "smoother": moments(inference.smoothed),
    }


def build(settings: dict[str, Any]) -> LinearRun:
    """The contestant for one variant."""
    return LinearRun(settings, functions)
