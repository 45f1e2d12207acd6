"""Selection of covariates by shrinkage: which candidates of the gate and of the growth factors matter.

Law: a covariate has one local scale for all its coefficients, over classes and growth factors, so that selection knows
no names of classes; as the global scale falls to zero all coefficients do, and a slab keeps large ones finite.

With a global scale t, a local scale l_j and a slab c the coefficients of covariate j are those of the prior without
selection times `t m_j`, `m_j^2 = c^2 l_j^2 / (c^2 + t^2 l_j^2)`. What data of n persons leave of them is about
`1 - k_j` with `k_j = 1 / (1 + n t^2 m_j^2 / v)`, v the variance of one observation in those units; its posterior mean
is the weight of inclusion, and above one half a covariate is taken in.

Source: Piironen and Vehtari (2017), Sparsity information and regularization in the horseshoe and other shrinkage
priors; Carvalho, Polson and Scott (2010), The horseshoe estimator for sparse signals, for the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful

__all__ = ["draw_scales", "inclusion_weights", "scales_of"]

VARIANCE = 4.0  # of an observation: that of a fair coin's logit, and of a factor of which an effect is half
FREEDOM = 4.0  # of the slab


def draw_scales(part: str, candidates: int, persons: int, relevant: Any, slab: Any) -> dict[str, jax.Array]:
    """Draw what decides the scales of the candidates: a regularised horseshoe as a program.

    Args:
        part: "gate" or "effect"; sites are named after it.
        candidates: number of candidates p.
        persons: number of persons.
        relevant: how many of the candidates are expected to matter.
        slab: scale of coefficients that do, in units of the prior without selection.

    Returns: values of the sites, which `scales_of` reads.

    >>> from lawful import handlers
    >>> sites = handlers.seed(draw_scales, jax.random.key(0))("gate", 5, 100, 2.0, 1.0)
    >>> sorted(sites), scales_of(sites, "gate").shape
    (['gate_global', 'gate_local', 'gate_slab'], (5,))
    """
    dtype = jnp.result_type(float)
    some = jnp.minimum(jnp.asarray(relevant, dtype), 0.5 * candidates)
    typical = some / (candidates - some) * np.sqrt(VARIANCE / persons)
    half = jnp.asarray(0.5 * FREEDOM, dtype)
    found = {
        f"{part}_global": lawful.sample(f"{part}_global", dist.HalfCauchy(typical)),
        f"{part}_slab": lawful.sample(f"{part}_slab", dist.InverseGamma(half, half * jnp.asarray(slab, dtype) ** 2)),
    }
    with lawful.plate(f"{part}_candidate", candidates):
        found[f"{part}_local"] = lawful.sample(f"{part}_local", dist.HalfCauchy(jnp.ones((), dtype)))
    return found


def scales_of(sites: Mapping[str, Any], part: str) -> Any:
    """Give `t m_j` of each candidate (..., p), in a form that neither overflows nor loses small scales.

    >>> huge, none = jnp.array([1e6, 1e-6]), jnp.array(4.0)
    >>> at = {"gate_global": jnp.array(0.1), "gate_local": huge, "gate_slab": none}
    >>> scales_of(at, "gate").round(9).tolist() == jnp.array([2.0, 1e-7]).round(9).tolist()
    True
    """
    raw = sites[f"{part}_global"][..., None] * sites[f"{part}_local"]
    return raw / jnp.hypot(1.0, raw / jnp.sqrt(sites[f"{part}_slab"][..., None]))


def inclusion_weights(scales: Any, persons: int) -> np.ndarray:
    """Give the weight of inclusion of each candidate (p,), from draws of its scale (..., p).

    Args:
        scales: draws, as `scales_of` gives them.
        persons: number of persons that learn of them.

    >>> inclusion_weights([[0.0, 0.2], [0.0, 0.2]], 100).round(6).tolist()
    [0.0, 0.5]
    """
    information = persons * np.asarray(scales, float) ** 2 / VARIANCE
    return (information / (1.0 + information)).reshape(-1, information.shape[-1]).mean(axis=0)
