"""Selection of covariates by shrinkage: which candidates of the gate and of the growth factors matter.

Law: a covariate has one local scale for all its coefficients, over classes and growth factors, so that selection knows
no names of classes; as the global scale falls to zero all coefficients do, and a slab keeps large ones finite.

With a global scale t, a local scale l_j and a slab c the coefficients of covariate j have the standard deviation
`t m_j` in units of their own, `m_j^2 = c^2 l_j^2 / (c^2 + t^2 l_j^2)`. What is left of them is `1 - k_j` with
`k_j = 1 / (1 + N t^2 m_j^2 / v)`, N persons and v the variance of an observation in those units; its posterior mean is
the weight of inclusion.

Source: Piironen and Vehtari (2017), Sparsity information and regularization in the horseshoe and other shrinkage
priors; Carvalho, Polson and Scott (2010), The horseshoe estimator for sparse signals, for the weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful

__all__ = ["Horseshoe", "inclusion_weights", "local_scales", "shrunken"]

LOGISTIC = 4.0  # variance of an observation of a gate, that of a fair coin's logit
FREEDOM = 4.0  # of the slab


class Horseshoe(NamedTuple):
    """Numbers of a regularised horseshoe, which may change without a new compilation.

    Attributes:
        relevant: how many of the candidates are expected to matter.
        slab: scale of coefficients that do, in units of the prior without selection.
    """

    relevant: Any = 2.0
    slab: Any = 1.0


def local_scales(name: str, candidates: int, persons: int, rule: Horseshoe) -> jax.Array:
    """Draw the scale of each candidate's coefficients (candidates,), as a program.

    Args:
        name: "gate" or "effect"; sites are named after it.
        candidates: number of candidates p.
        persons: number of persons.
        rule: numbers of the prior.

    >>> from lawful import handlers
    >>> handlers.seed(local_scales, jax.random.key(0))("gate", 5, 100, Horseshoe()).shape
    (5,)
    """
    dtype = jnp.result_type(float)
    relevant = jnp.minimum(jnp.asarray(rule.relevant, dtype), 0.5 * candidates)
    typical = relevant / (candidates - relevant) / np.sqrt(persons)
    whole = lawful.sample(f"{name}_global", dist.HalfCauchy(jnp.ones((), dtype)))
    slab = lawful.sample(f"{name}_slab", dist.InverseGamma(jnp.asarray(0.5 * FREEDOM, dtype), 0.5 * FREEDOM))
    with lawful.plate(f"{name}_candidate", candidates):
        local = lawful.sample(f"{name}_local", dist.HalfCauchy(jnp.ones((), dtype)))
    return shrunken(typical * whole, local, rule.slab * jnp.sqrt(slab))


def shrunken(whole: Any, local: Any, slab: Any) -> Any:
    """Give `t m_j`, in a form that neither overflows nor loses small scales.

    >>> [round(float(shrunken(0.1, local, 2.0)), 9) for local in (1e6, 1e-6)]
    [2.0, 1e-07]
    """
    raw = whole * local
    return raw / jnp.sqrt(1.0 + (raw / slab) ** 2)


def inclusion_weights(scales: Any, persons: float, part: str) -> np.ndarray:
    """Give the weight of inclusion of each candidate, from draws of its scale (..., p).

    Args:
        scales: draws of `local_scales`.
        persons: number of persons that an effect is learned from.
        part: "gate" or "effect".
    """
    variance = LOGISTIC if part == "gate" else 1.0
    information = persons * np.asarray(scales, float) ** 2 / variance
    return (information / (1.0 + information)).reshape(-1, information.shape[-1]).mean(axis=0)
