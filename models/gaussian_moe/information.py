"""Fisher's information of one observation, by quadrature over the answers, or from scores of data.

Coordinates are those of `program.free_mixture`: beta1 of all experts but the last (of all with an activated gate),
beta0 of all but the last, a, b, nu, and tau where the gate has one.

Law: it is the mean of the outer product of the score, which is that of the log marginals of the program. A gate
"temperature" has exactly one direction without any, that of (beta1, beta0, tau): its scale.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lawful import inference
from lawful.errors import LawfulError

from .density import Mixture
from .gates import Gate
from .hellinger import covariates_of
from .parameters import Parameters
from .program import free_mixture, free_values

__all__ = ["fisher", "scaled_eigenvalues", "score_information"]

REACH, STEP = 9.0, 0.05
ROWS = 32  # covariates that are looked at at once


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
    x, y = jnp.asarray(X), jnp.asarray(y)
    weight = jnp.full(len(y), 1 / len(y)) if weight is None else jnp.asarray(weight)
    return _products(mixture.gate, mixture.parameters, x, y, weight)


@partial(jax.jit, static_argnums=0)
def _products(gate: Gate, parameters: Parameters, x: jax.Array, y: jax.Array, weight: jax.Array) -> jax.Array:
    """Sum weighted outer products of the scores."""
    found = inference.log_marginals(free_mixture, x, y, parameters.n_experts, gate, enumerate="all")
    slopes = jax.jacfwd(found)(free_values(gate, parameters))
    score = jnp.concatenate([slopes[choice.name].reshape(len(y), -1) for choice in found.choices], axis=1)
    return (score * weight[:, None]).T @ score


def scaled_eigenvalues(information: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give eigenvalues, ascending, and eigenvectors of an information with its diagonal scaled to 1."""
    found = np.asarray(information, float)
    root = np.sqrt(np.diagonal(found))
    values, vectors = np.linalg.eigh(found / root[:, None] / root)
    return values, vectors
