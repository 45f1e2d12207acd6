"""Free energy: beliefs at given messages, and the two forms of the log of the total mass that they stand for.

Law: at a fixed point both forms agree for all counting numbers; on a forest with counting numbers one they are exact.
The message form does not depend on how messages are scaled, and is stationary in them.

Reference: Yedidia, Freeman and Weiss (2005), Constructing free-energy approximations and generalized belief propagation
algorithms; Wainwright, Jaakkola and Willsky (2005), A new class of upper bounds on the log partition function.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from .messages import Messages, Net, Scores, Totals, incoming, totals_of
from .through_tables import joint, reduced

ONE = 1.0


class Point(NamedTuple):
    """What messages amount to.

    Attributes:
        variables: log beliefs by number of states (K, n), up to a constant for each variable.
        factors: for each block, log beliefs (K_1, ..., K_r, *shape), up to a constant for each factor.
        sent: for each block and each tally, what its variables send to it.
        evidence: for each tally, the log of the mean of the scores of each bag's count (G,).
    """

    variables: dict[int, Any]
    factors: tuple[Any, ...]
    sent: tuple[tuple[Any, ...], ...]
    evidence: tuple[Any, ...]


def point_at(net: Net, scores: Scores, messages: Messages, hard: bool, temperature: float | None = ONE) -> Point:
    """Read the beliefs at messages."""
    totals: Totals = totals_of(net, scores, messages, hard)
    sent = tuple(incoming(net, totals, messages))
    of_blocks, of_tallies = net.parted(sent)
    factors = tuple(joint(table, of) for table, of in zip(scores.tables, of_blocks, strict=True))
    evidence = tuple(t.log_evidence(of, temperature) for t, of in zip(net.tallies, of_tallies, strict=True))
    return Point({card: totals.scores(card) for card, _ in net.cardinalities}, factors, sent, evidence)


def tempered(point: Point, temperature: float | None) -> Point:
    """Divide log beliefs by the temperature, so that they sum up to each other; those of the best states stay."""
    if temperature is None or temperature == ONE:
        return point
    variables = {card: b / temperature for card, b in point.variables.items()}
    return Point(variables, tuple(b / temperature for b in point.factors), point.sent, point.evidence)


def log_z(net: Net, scores: Scores, messages: Messages, point: Point, temperature: float | None = ONE) -> Any:
    """Give the log of the total mass in the message form; -inf where a variable or a factor has no state left.

    At the temperature None it is the largest score in place of the log of a sum; at others, temperature times the log
    of the sum of exp(score / temperature).
    """
    total = scores.constant
    masses = {card: reduced(point.variables[card], (0,), temperature)[None] for card, _ in net.cardinalities}
    for mass in masses.values():
        total = total + _sum(mass)
    for k, factors in enumerate(point.factors):
        own = reduced(factors, tuple(range(len(point.sent[k]))), temperature)
        for column, card in zip(net.blocks[k].columns, net.blocks[k].cardinalities, strict=True):
            shared = column.read(masses[card])[0]  # what a factor sends and what it is sent are all of the variable
            own = own - jnp.where(jnp.isneginf(shared), 0.0, shared)
        total = total + _sum(scores.counting[k] * own)
    for evidence, told, heard in zip(point.evidence, net.parted(messages)[1], net.parted(point.sent)[1], strict=True):
        total = total + _sum(evidence)
        for message, sent in zip(told, heard, strict=True):
            shared = reduced(message + sent, (0,), temperature)
            total = total - _sum(jnp.where(jnp.isneginf(shared), 0.0, shared))
        total = total + _sum(reduced(heard[0], (0,), temperature))
    return total


def free_energy(net: Net, scores: Scores, point: Point) -> Any:
    """Give the same in the form of beliefs: expected scores, and entropies by their counting numbers."""
    total, weights = scores.constant, {card: jnp.ones(count) for card, count in net.cardinalities}
    for k, factors in enumerate(point.factors):
        arity, counting = len(point.sent[k]), scores.counting[k]
        shape = factors.shape[arity:]
        beliefs = probabilities(factors, arity)
        theta = counting * scores.tables[k]
        expected = jnp.sum(_weighed(beliefs, jnp.broadcast_to(theta, beliefs.shape)), axis=tuple(range(arity)))
        total = total + _sum(expected + counting * _entropy(beliefs, arity))
        for column, card in zip(net.blocks[k].columns, net.blocks[k].cardinalities, strict=True):
            taken = jnp.broadcast_to(jnp.asarray(counting, factors.dtype), shape)[None]
            weights[card] = column.add(weights[card][None].astype(factors.dtype), -taken)[0]
    for tally, evidence, heard in zip(net.tallies, point.evidence, net.parted(point.sent)[1], strict=True):
        total = total + _sum(evidence) + _sum(reduced(heard[0], (0,), ONE))
        for column, card, sent in zip(tally.columns, tally.cardinalities, heard, strict=True):
            if sent.size:
                beliefs = probabilities(column.read(point.variables[card]), 1)
                total = total - _sum(_weighed(beliefs, sent))
                weights[card] = column.add(weights[card][None].astype(sent.dtype), -jnp.ones_like(sent[:1]))[0]
    for card, _ in net.cardinalities:
        beliefs = probabilities(point.variables[card], 1)
        expected = jnp.sum(_weighed(beliefs, scores.unary[card]), axis=0)
        total = total + _sum(expected + weights[card] * _entropy(beliefs, 1))
    return total


def probabilities(log_beliefs: Any, axes: int) -> Any:
    """Normalise log beliefs over their first axes; zero where nothing is possible."""
    along = tuple(range(axes))
    top = jnp.max(log_beliefs, axis=along, keepdims=True)
    weights = jnp.exp(log_beliefs - jnp.where(jnp.isneginf(top), 0.0, top))
    whole = jnp.sum(weights, axis=along, keepdims=True)
    return weights / jnp.where(whole > 0, whole, 1.0)


def factor_probabilities(net: Net, point: Point) -> list[Any]:
    """Normalise the log beliefs of the factors of each block (K_1, ..., K_r, *shape)."""
    return [probabilities(b, len(block.cardinalities)) for b, block in zip(point.factors, net.blocks, strict=True)]


def inconsistency(net: Net, point: Point) -> Any:
    """Give the largest difference between the belief of a variable and that of a factor about it."""
    worst = jnp.zeros(())
    beliefs = {card: probabilities(point.variables[card], 1) for card, _ in net.cardinalities}
    for k, factors in enumerate(point.factors):
        arity = len(point.sent[k])
        own = probabilities(factors, arity)
        for axis, (column, card) in enumerate(zip(net.blocks[k].columns, net.blocks[k].cardinalities, strict=True)):
            about = jnp.sum(own, axis=tuple(j for j in range(arity) if j != axis))
            off = jnp.max(jnp.abs(about - column.read(beliefs[card])), initial=0.0)
            worst = jnp.maximum(worst.astype(off.dtype), off)
    return worst


def _entropy(beliefs: Any, axes: int) -> Any:
    logs = jnp.log(jnp.where(beliefs > 0, beliefs, 1.0))
    return -jnp.sum(beliefs * logs, axis=tuple(range(axes)))


def _weighed(beliefs: Any, scores: Any) -> Any:
    return jnp.where(beliefs > 0, beliefs * jnp.where(jnp.isneginf(scores), 0.0, scores), 0.0)


def _sum(terms: Any) -> Any:
    return jnp.sum(terms)
