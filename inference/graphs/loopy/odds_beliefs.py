"""Beliefs of binary pairs and counted bags, read off messages that are log odds.

Law: they are those of the general form (`free_energy`), and so is the log of the mass: of each factor, less what its
variables have by themselves, so that no large numbers cancel in the sum.

What several results need is kept once, behind barriers: XLA would compute it anew for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lawful.distributions.softplus import softplus

from .free_energy import probabilities
from .log_odds import LIMIT
from .messages import Messages, Net, Scores


class Read(NamedTuple):
    """What messages amount to.

    Attributes:
        log_z: log of the mass in the message form.
        variables: by number of states, probabilities (K, n).
        factors: for each block, probabilities (2, 2, *shape); none where they were not wanted.
        inconsistency: largest difference between the belief of a variable and that of a factor about it, or None.
        messages: with those of the counts, which follow from those of the pairs.
        evidence: for each tally, the log of the mean of the scores of each bag's count (G,).
    """

    log_z: Any
    variables: dict[int, Any]
    factors: Sequence[Any]
    inconsistency: Any
    evidence: tuple[Any, ...]
    messages: Messages


def beliefs_at(net: Net, scores: Scores, messages: Messages, wanted: bool = True) -> Read:
    """Read the beliefs at messages of pairs, which are logs of both states (2, *shape).

    What counts hear, and beliefs of factors and counts, are found where these are wanted: the laws of large counts are
    more work than a sweep.
    """
    odds = [[m[1] - m[0] for m in block] for block in messages]
    base, one = scores.unary[2]
    total = (one - base)[None]
    for block, sent in zip(net.blocks, odds, strict=True):
        for column, message in zip(block.columns, sent, strict=True):
            total = column.add(total, message[None])
    # What the variables of a count have by themselves is what its members have without it, and its evidence.
    log_z, evidence = scores.constant + jnp.sum(base + softplus(total[0])), []
    others = {card: s for card, s in scores.unary.items() if card != 2}
    heard = total
    for tally in net.tallies:
        members, holders = tally.columns
        card = tally.cardinalities[1]
        told, own = tally.solved(members.read(heard)[0], tally.scores(scores.unary[card]))
        log_z = log_z + jnp.sum(own)
        evidence.append(own)
        total = members.add(total, told[None])
        law = tally.told(members.read(heard)[0]) if wanted else jnp.zeros((card, len(own)), own.dtype)
        others[card] = holders.add(others[card], law)
        messages = (*messages, (jnp.stack([jnp.minimum(-told, 0), jnp.minimum(told, 0)]), law))
    variables = {card: probabilities(s, 1) for card, s in others.items()}
    variables[2] = jnp.concatenate([jax.nn.sigmoid(-total), jax.nn.sigmoid(total)])
    if net.tallies:
        total = jnp.clip(total, -LIMIT, LIMIT)  # a count may exclude a state, and pairs hear the same from here on
    factors, worst = [], jnp.zeros((), total.dtype)
    for block, sent, table in zip(net.blocks, odds, scores.tables, strict=True):
        whole = jax.lax.optimization_barrier([column.read(total)[0] for column in block.columns])
        first, second = (have - back for have, back in zip(whole, sent, strict=True))
        top = jnp.max(table, axis=(0, 1))
        weights = jax.lax.optimization_barrier(jnp.exp(table - top + _states(first)[:, None] + _states(second)[None]))
        mass = jax.lax.optimization_barrier(jnp.sum(weights, axis=(0, 1)))
        alone = softplus(whole[0]) - jnp.maximum(first, 0) + softplus(whole[1]) - jnp.maximum(second, 0)
        log_z = log_z + jnp.sum(top + jnp.log(mass) - alone)
        if not wanted:
            continue
        own = weights / mass
        for axis, have in enumerate(whole):
            off = jnp.sum(own, axis=1 - axis)[1] - jax.nn.sigmoid(have)
            worst = jnp.maximum(worst, jnp.max(jnp.abs(off), initial=0.0))
        factors.append(own)
    return Read(log_z, variables, factors, worst if wanted else None, tuple(evidence), messages)


def _states(odds: Any) -> Any:
    """Give log weights of both states, the larger one zero (2, *shape): by a product, since joined parts are slow."""
    state = jnp.arange(2, dtype=odds.dtype).reshape((2, *(1,) * odds.ndim))
    return state * odds - jnp.maximum(odds, 0)
