"""Ending: what a chain says of its last state, as a chain that hangs from something else needs it.

Law: log_z + log_law[i] is the log of the sum of gamma over the paths that end in state i, to rounding for each state,
however unlikely: what hangs there may leave that state alone. With a maximum in place of the sum it is the score of the
best such path.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ...laws.log_sum import log_sum
from . import associative, logs
from .chain import Chain
from .filtering import last_law
from .logs import lowered
from .posterior import log_z
from .sums import total


class Ending(NamedTuple):
    """The last state of a chain.

    Attributes:
        log_z: log of the sum of gamma over all paths, or the largest log score; -inf where no path is feasible.
        log_law: log weights of the last state (K,), largest near 0: kept apart, so that a large log Z costs no digits.
    """

    log_z: Float[Array, ""]
    log_law: Float[Array, " K"]


def ending(given: Chain, method: str = "auto") -> Ending:
    """Sum over all states but the last; both parts can be differentiated. A chain has one step at least.

    >>> from lawful.inference.graphs.chains import chain
    >>> found = ending(chain(jnp.zeros((3, 2)), jnp.log(jnp.array([[0.5, 0.5], [0.0, 1.0]]))))
    >>> jnp.round(jnp.exp(found.log_z + found.log_law), 4).tolist()
    [0.25, 1.75]
    """
    resolved = given.method(method)
    if resolved == "associative":
        law = associative.exact_forward(given)[-1]
        law = lowered(law, log_sum(law))
    else:
        law = logs.forward_logs(given)[0][-1] if resolved == "logs" else last_law(given)
    return Ending(log_z(given, method), law)


@jax.jit
def best_ending(given: Chain) -> Ending:
    """Take the largest score over all states but the last.

    >>> from lawful.inference.graphs.chains import chain
    >>> found = best_ending(chain(jnp.zeros((3, 2)), jnp.array([[1.0, 0.0], [0.0, 3.0]])))
    >>> (found.log_z + found.log_law).tolist()
    [3.0, 6.0]
    """
    evidence, live = given.evidence(), None if given.live is None else given.live[1:]
    scores = None if given.shared else given.transition

    def step(v: jax.Array, step: Any) -> tuple[jax.Array, jax.Array]:
        score, here, own = step
        raw = jnp.max(v[:, None] + (given.transition if own is None else own), axis=0) + score
        raw = raw if here is None else jnp.where(here, raw, v)
        return lowered(raw, jnp.max(raw)), lax.stop_gradient(jnp.max(raw))

    top = jnp.max(evidence[0])
    last, tops = lax.scan(step, lowered(evidence[0], top), (evidence[1:], live, scores))
    return Ending(total(jnp.concatenate([lax.stop_gradient(top)[None], tops])).high, last)
