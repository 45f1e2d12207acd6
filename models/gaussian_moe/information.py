"""Fisher's information of one observation, by quadrature over the answers, or from scores of data.

Coordinates: beta1 of all experts but the last, beta0 of the same, a, b, nu, and tau where the gate has one. The
activated gate has beta1 of the last expert as well, which a shift of its scores cannot take up.

Law: it is the mean of the outer product of the score. A gate "temperature" has exactly one direction without any, that
of (beta1, beta0, tau): its scale.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lawful.errors import LawfulError

from .density import Mixture, log_terms
from .gates import Gate
from .hellinger import covariates_of
from .parameters import Parameters

__all__ = ["fisher", "flat", "scaled_eigenvalues", "score_information", "unflat"]

REACH, STEP = 9.0, 0.05
ROWS = 32  # covariates that are looked at at once


def flat(gate: Gate, parameters: Parameters) -> jax.Array:
    """Lay the coordinates out as one vector.

    >>> told = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
    >>> flat(Gate("temperature"), told).round(2).tolist()
    [25.0, -8.0, -20.0, 20.0, 15.0, -5.0, 0.09, 0.16, 1.0]
    """
    beta1, beta0, a, b, nu, tau = parameters
    if gate.kind != "activated":
        beta1 = (beta1 - beta1[-1:])[:-1]
    parts = [beta1.reshape(-1), (beta0 - beta0[-1])[:-1], a.reshape(-1), b, nu]
    return jnp.concatenate(parts + ([jnp.asarray(tau)[None]] if gate.kind in ("temperature", "activated") else []))


def unflat(gate: Gate, vector: jax.Array, k: int, d: int) -> Parameters:
    """Undo `flat`."""
    rows = k if gate.kind == "activated" else k - 1
    beta1, beta0, a, b, nu, tau = jnp.split(vector, np.cumsum([rows * d, k - 1, k * d, k, k]))
    beta1 = jnp.concatenate([beta1.reshape(rows, d), jnp.zeros((k - rows, d), vector.dtype)])
    beta0 = jnp.concatenate([beta0, jnp.zeros((1,), vector.dtype)])
    return Parameters(beta1, beta0, a.reshape(k, d), b, nu, tau[0] if len(tau) else jnp.ones((), vector.dtype))


def fisher(mixture: Mixture, X: Any = None) -> jax.Array:
    """Give the information of one observation (m, m), averaged over covariates.

    Args:
        mixture: with gates that have a gradient, all but top-K.
        X: covariates (n, d); by default one covariate that is uniform on [0, 1].

    Raises: LawfulError for a top-K gate: its density jumps where the selection changes, and has no information.

    >>> told = Parameters.of([0.0], [0.0], [0.0], [0.0], [1.0])
    >>> (0.0 + np.asarray(fisher(Mixture(Gate(), told))).round(4)).tolist()  # of a line's slope, intercept, variance
    [[0.3333, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.5]]
    """
    if mixture.gate.kind == "topk":
        raise LawfulError(
            "fisher: the density of a top-K gate jumps where the selection of experts changes, so that it has no "
            "information. Fix: give a mixture with another gate."
        )
    x, weight = covariates_of(mixture, X)
    x = np.asarray(x)
    blocks = -(-len(x) // ROWS)
    filled = np.pad(x, [(0, blocks * ROWS - len(x)), (0, 0)]), np.pad(weight, (0, blocks * ROWS - len(x)))
    places, weights = (jnp.asarray(v.reshape(blocks, ROWS, *v.shape[1:])) for v in filled)
    return jnp.sum(lax.map(lambda at: _at_places(mixture, *at), (places, weights)), axis=0)


def _at_places(mixture: Mixture, x: jax.Array, weight: jax.Array) -> jax.Array:
    """Sum over few covariates (m, d): E[f] = sum_i w_i E_i[f], answers of expert i on a grid about its mean."""
    t = jnp.arange(-REACH, REACH + STEP / 2, STEP)
    mass = STEP * jnp.exp(-0.5 * t**2) / jnp.sqrt(2 * jnp.pi)
    p = mixture.parameters
    means = x @ p.a.T + p.b[None]
    y = means[..., None] + jnp.sqrt(p.nu)[None, :, None] * t[None, None]
    each = weight[:, None, None] * mixture.weights(x)[..., None] * mass[None, None]
    columns = jnp.broadcast_to(x[:, None, None], (*y.shape, x.shape[1])).reshape(-1, x.shape[1])
    return score_information(mixture, columns, y.reshape(-1), each.reshape(-1))


def score_information(mixture: Mixture, X: Any, y: Any, weight: Any = None) -> jax.Array:
    """Give the mean outer product of the scores of data (m, m), or their sum with weights (n,)."""
    x, y = jnp.asarray(X).T, jnp.asarray(y)
    weight = jnp.full(len(y), 1 / len(y)) if weight is None else jnp.asarray(weight)
    return _products(mixture.gate, mixture.parameters, x, y, weight)


@partial(jax.jit, static_argnums=0)
def _products(gate: Gate, parameters: Parameters, x: jax.Array, y: jax.Array, weight: jax.Array) -> jax.Array:
    """Sum weighted outer products of the scores, covariates (d, n)."""
    k, d = parameters.a.shape

    def log_density(vector: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(log_terms(gate, unflat(gate, vector, k, d), x, y), axis=0)

    score = jax.jacfwd(log_density)(flat(gate, parameters))
    return (score * weight[:, None]).T @ score


def scaled_eigenvalues(information: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give eigenvalues, ascending, and eigenvectors of an information with its diagonal scaled to 1."""
    found = np.asarray(information, float)
    root = np.sqrt(np.diagonal(found))
    values, vectors = np.linalg.eigh(found / root[:, None] / root)
    return values, vectors
