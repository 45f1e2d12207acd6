"""Posterior: log Z and marginals as functions that can be differentiated: the derivative of log Z is the marginals.

Law: d log Z / d node[t, i] = P(x_t = i) and d log Z / d transition_t[i, j] = P(x_{t-1} = i, x_t = j), summed over t
for one matrix (the envelope formula). So the gradient of `log_z` costs one run of the passes, keeps nothing of them,
and is 0 at hard zeros and where no path is feasible. Further derivatives are those of the marginals, through the
passes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lawful.errors import LawfulError

from .chain import Chain
from .smoothing import Marginals, plain_marginals

PAIRS = ("none", "sum", "each")


def log_z(given: Chain, method: str = "auto") -> Float[Array, ""]:
    """Log of the sum of gamma over all paths; its gradient is the marginals, with memory O(T K) and no tape.

    Args:
        given: a chain.
        method: "sequential", T matrix-vector products; "associative", products of matrices in a tree; "auto", the one
            for the device; or "logs", steps in the log domain, which the others turn to by themselves where they must.

    Returns: log Z; -inf where no path is feasible, and then with gradient 0.

    >>> from lawful.inference.graphs.chains import chain
    >>> fair = chain(jnp.zeros((3, 2)), jnp.zeros((2, 2)))
    >>> round(jnp.exp(log_z(fair)).item(), 4)
    8.0
    >>> jax.grad(lambda node: log_z(fair._replace(node=node)))(fair.node)[0].tolist()
    [0.5, 0.5]
    """
    return _log_z(given, given.method(method))


def marginals(given: Chain, pairs: str = "none", method: str = "auto") -> Marginals:
    """Marginals of all states given all scores, and log Z.

    Args:
        given: a chain.
        pairs: "none"; "each", the law of every two neighbours (T - 1, K, K); or "sum", their sum over the steps, which
            are the expected numbers of moves (K, K), without the memory of each.
        method: as of `log_z`.

    Returns: Marginals. Where only log Z is differentiated, use `log_z`, which keeps no tape.

    >>> from lawful.inference.graphs.chains import chain
    >>> found = marginals(chain(jnp.log(jnp.array([[1.0, 0.0], [1.0, 3.0]])), jnp.zeros((2, 2))), pairs="each")
    >>> jnp.round(found.node, 4).tolist(), jnp.round(found.pairs, 4).tolist()
    ([[1.0, 0.0], [0.25, 0.75]], [[[0.25, 0.75], [0.0, 0.0]]])
    """
    if pairs not in PAIRS:
        raise LawfulError(f"marginals: pairs: expected one of {PAIRS}, got {pairs!r}.", given=pairs)
    return _marginals(given, given.method(method), pairs)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_z(given: Chain, method: str) -> jax.Array:
    return plain_marginals(given, method, "none").log_z


@_log_z.defjvp
def _log_z_rule(method: str, primals: tuple[Chain], tangents: tuple[Any]) -> tuple[jax.Array, jax.Array]:
    (given,), (moved,) = primals, tangents
    found = _attached(given, method, _needed(given, "none"))
    assert found.pairs is not None
    return found.log_z, _along(given, found.node, found.pairs, moved)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _marginals(given: Chain, method: str, pairs: str) -> Marginals:
    return plain_marginals(given, method, pairs)


@_marginals.defjvp
def _marginals_rule(method: str, pairs: str, primals: tuple[Chain], tangents: tuple[Any]) -> Any:
    def function(given: Chain) -> Marginals:
        found = _attached(given, method, _needed(given, pairs))
        return found._replace(pairs=None) if pairs == "none" else found

    return jax.jvp(function, primals, tangents)


def _needed(given: Chain, pairs: str) -> str:
    """The pair marginals that the derivative needs, or finer ones."""
    return "each" if pairs == "each" or not given.shared else "sum"


def _attached(given: Chain, method: str, pairs: str) -> Marginals:
    """Marginals whose log Z has its derivative."""
    found = plain_marginals(given, method, pairs)
    assert found.pairs is not None
    return found._replace(log_z=_by_envelope(found.log_z, given, found.node, found.pairs))


@jax.custom_jvp
def _by_envelope(value: jax.Array, given: Chain, node: jax.Array, pairs: jax.Array) -> jax.Array:
    """The value, with the marginals as its derivative."""
    return value


@_by_envelope.defjvp
def _envelope(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    value, given, node, pairs = primals
    return _by_envelope(value, given, node, pairs), _along(given, node, pairs, tangents[1])


def _along(given: Chain, node: jax.Array, pairs: jax.Array, moved: Chain) -> jax.Array:
    """Derivative of log Z along a change of the scores."""
    if given.live is not None:
        node = jnp.concatenate([node[:1], jnp.where(given.live[1:, None], node[1:], 0)])
    if pairs.ndim == 3:
        if given.live is not None:
            pairs = jnp.where(given.live[1:, None, None], pairs, 0)
        pairs = pairs.sum(0) if given.shared else pairs
    return _inner(node, moved.node) + _inner(pairs, moved.transition)


def _inner(weights: jax.Array, moved: jax.Array) -> jax.Array:
    """Sum of products; a hard zero adds nothing, whatever its change."""
    return jnp.sum(jnp.where(weights > 0, weights * moved, 0))
