"""The mixture as a program: a label for each row, chosen by the gate, and an answer by the expert of that label.

Law: with the labels summed out its density is `Mixture.log_density`, and their conditional is `responsibilities`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

from .gates import Gate, log_weights
from .parameters import Parameters

__all__ = ["gaussian_moe"]


def gaussian_moe(X: Any, y: Any, parameters: Parameters, gate: Gate = Gate()) -> jax.Array:
    """Choose an expert and draw the answer: z_n ~ Categorical(w(x_n)), y_n ~ N(a_z' x_n + b_z, nu_z).

    Args:
        X: covariates (n, d).
        y: answers (n,).
        parameters: of the gate and of the experts; a program with priors may draw them and call this one.
        gate: how weights are made of scores.

    Returns: (n,), the labels.

    >>> from lawful import inference
    >>> told = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
    >>> exact = inference.enumerate(gaussian_moe)(jnp.array([[0.3], [0.5]]), jnp.array([1.0, 5.0]), told)
    >>> round(exact.log_evidence, 4)
    -0.1944
    """
    terms = log_weights(gate, parameters, jnp.asarray(X).T).T
    with lawful.plate("row", len(X)):
        z: jax.Array = lawful.sample("z", dist.Categorical(logits=terms))
        mean = jnp.sum(parameters.a[z] * X, axis=-1) + parameters.b[z]
        lawful.sample("y", dist.Normal(mean, jnp.sqrt(parameters.nu[z])), obs=y)
    return z
