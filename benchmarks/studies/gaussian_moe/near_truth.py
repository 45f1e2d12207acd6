"""Fits near the truth: where they start, and how far off each of their parts is.

Law: a start has the last gate pinned at 0, and its noise goes to 0 with n; the errors of a fit that is the truth are 0.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from lawful.models.gaussian_moe import Alignment, Parameters
from lawful.models.gaussian_moe.parameters import permuted, pinned
from lawful.models.gaussian_moe.voronoi import mixture_of, plain

__all__ = ["cell_errors", "near_truth", "perturbed_gate", "scaled_like"]


def near_truth(key: Any, truth: Parameters, order: Any, n: int) -> Parameters:
    """Start with true expert order[i] as expert i, and noise of standard deviation 0.005 n^-0.083.

    Variances get the absolute values of noise of 0.0005 n^-0.25. The gate is pinned after the noise: a last row that is
    pinned whatever expert it was given, as in earlier studies, makes starts that contradict themselves.

    >>> truth = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
    >>> near_truth(jax.random.key(0), truth, [1, 1, 0], 1000).beta0.round(1).tolist()
    [8.0, 8.0, 0.0]
    """
    wide, narrow = 0.005 * n**-0.083, 0.0005 * n**-0.25
    told = permuted(truth, order)
    noise = [jax.random.normal(each, v.shape) for each, v in zip(jax.random.split(key, 5), told[:5], strict=True)]
    beta1, beta0, a, b = (v + wide * e for v, e in zip(told[:4], noise[:4], strict=True))
    return pinned(Parameters(beta1, beta0, a, b, told.nu + jnp.abs(narrow * noise[4]), told.tau))


def perturbed_gate(key: Any, truth: Parameters, spread: float) -> Parameters:
    """Start at the truth with relative noise in the gate: beta (1 + spread e) and tau exp(spread e)."""
    one, zero, heat = jax.random.split(key, 3)
    return truth._replace(
        beta1=truth.beta1 * (1 + spread * jax.random.normal(one, truth.beta1.shape)),
        beta0=truth.beta0 * (1 + spread * jax.random.normal(zero, truth.beta0.shape)),
        tau=truth.tau * jnp.exp(spread * jax.random.normal(heat)),
    )


def cell_errors(alignment: Alignment, truth: Any) -> dict[str, np.ndarray]:
    """Give errors one by one, for each true expert (k*,): means of absolute values within its cell.

    Members count in proportion to e^{beta0}, and a light one hides behind a heavy one: "worst_..." are the largest
    errors of a member, whatever its weight, and "least_share" is the smallest share. "beta0" is the error of the log
    mass of the cell, "spread" how far apart its members' beta1 are. An empty cell has NaN.
    """
    fit, true = alignment.parameters, plain(mixture_of(truth))
    names = ("beta1", "a", "b", "nu")
    others = ("beta0", "spread", "least_share", *(f"worst_{name}" for name in names))
    told: dict[str, list[float]] = {name: [] for name in (*names, *others)}
    for j in range(len(true.b)):
        inside = alignment.cells == j
        if not inside.any():
            for values in told.values():
                values.append(np.nan)
            continue
        log_mass = logsumexp(fit.beta0[inside])
        share = np.exp(fit.beta0[inside] - log_mass)
        for name in names:
            error = np.abs(getattr(fit, name)[inside] - getattr(true, name)[j]).reshape(len(share), -1).sum(axis=1)
            told[name].append(float(share @ error))
            told[f"worst_{name}"].append(float(error.max()))
        told["beta0"].append(abs(float(log_mass - true.beta0[j])))
        told["least_share"].append(float(share.min()))
        told["spread"].append(float(np.ptp(fit.beta1[inside], axis=0).sum()))
    return {name: np.array(values) for name, values in told.items()}


def scaled_like(fit: Parameters, truth: Parameters) -> Parameters:
    """Give the gate of a top-1 fit the norm of the true one: its scale is not identified."""
    found, true = (np.concatenate([np.ravel(p.beta1), np.ravel(p.beta0)]) for p in (fit, truth))
    factor = np.linalg.norm(true) / np.linalg.norm(found)
    return fit._replace(beta1=fit.beta1 * factor, beta0=fit.beta0 * factor)
