"""Acceptance: the coin of Metropolis-Hastings, and what every such kernel reports.

Law: min(1, r) keeps the target when r is the ratio of the two flows, and so does any g with g(r) = r g(1 / r), as
Barker's r / (1 + r); a ratio that is NaN or +inf rejects: from a state that has a density it is that of a place whose
log density is no number, and a place of infinite density would keep a chain for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp

from lawful.form import Det, Form, Var
from lawful.form.builder import Block, Tupled
from lawful.form.rewriting import with_operations

from ...laws.invalid_weights import meaningless
from ...laws.picks import CoinLaw
from .redraw import PREFIX

LABEL = "acceptance"  # of the operation that gives the probability of the coin
INFO = ("acceptance_rate", "accepted", "n_nonfinite")


def acceptance(log_ratio: jax.Array) -> jax.Array:
    """Metropolis acceptance min(1, ratio); a ratio that is NaN or +inf rejects.

    >>> acceptance(jnp.log(jnp.array([0.5, 2.0]))).tolist(), float(acceptance(jnp.array(jnp.nan)))
    ([0.5, 1.0], 0.0)
    """
    return jnp.where(meaningless(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))


def barkers_acceptance(log_ratio: jax.Array) -> jax.Array:
    """Barker's acceptance, ratio / (1 + ratio); a ratio that is NaN or +inf rejects.

    >>> barkers_acceptance(jnp.log(jnp.array([1.0, 3.0]))).tolist(), float(barkers_acceptance(jnp.array(jnp.nan)))
    ([0.5, 0.75], 0.0)
    """
    return jnp.where(meaningless(log_ratio), 0.0, jax.nn.sigmoid(log_ratio))


_METROPOLIS, _BARKER = Tupled(acceptance), Tupled(barkers_acceptance)


def accept(block: Block, log_ratio: Var) -> tuple[Var, Var, Var]:
    """Append the coin of a move.

    Returns: the probability of acceptance, whether the move is accepted, and whether its ratio is NaN or +inf.
    """
    probability = block.det(acceptance, log_ratio, label=LABEL)
    coin = block.site((PREFIX, "accept"), CoinLaw(str(probability.dtype)), (probability,))
    broken = block.det(meaningless, log_ratio, label="no number?")
    return probability, coin, broken


def chosen(block: Block, old: Sequence[Var], new: Sequence[Var], log_ratio: Var) -> tuple[Var, ...]:
    """Append the coin of a move, and what it chooses of a state and a proposed one; then the numbers of `INFO`."""
    probability, coin, broken = accept(block, log_ratio)
    pairs = zip(new, old, strict=True)
    after = [x if x is y else block.det(jnp.where, coin, x, y, label="accept?") for x, y in pairs]
    return (*after, probability, coin, broken)


def by_barkers_rule(form: Form) -> Form:
    """Accept with Barker's probability wherever a kernel accepts with that of Metropolis."""

    def rule(node: Det, made: Mapping[Var, Det]) -> Det:
        return replace(node, function=_BARKER) if node.function == _METROPOLIS and node.label == LABEL else node

    return with_operations(form, rule)
