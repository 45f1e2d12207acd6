"""W5e: bags as cliques, and edges between neighbours: binary variables in pairs, without a grid to shift along.

8192 variables of normal log odds, a permutation of them cut into bags of 32; all pairs of a bag are pushed apart, the
five nearest of normal positions in eight dimensions drawn together, where they are not in one bag.

Law: the marginals are those of the same sweeps of all messages, with damping 1/2, in double precision. A bag may be all
its pairs, or one count: the joint distribution is the same, and the messages are not.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

REPULSION, ATTRACTION = 0.02, 0.1
NEAREST, DIMENSIONS = 5, 8


class Pairs(NamedTuple):
    """Log odds (n,), pairs of variables in bags (P, 2), pairs of neighbours (E, 2), and the bags (n / B, B)."""

    odds: np.ndarray
    cliques: np.ndarray
    near: np.ndarray
    bags: np.ndarray


@cache
def pairs(variables: int, bag: int) -> Pairs:
    """The graph of W5e: `default_rng(6)`, log odds in single precision, the permutation, the positions.

    >>> found = pairs(8192, 32)
    >>> len(found.cliques), len(found.near)
    (126976, 29478)
    """
    rng = np.random.default_rng(6)
    odds = rng.normal(size=variables).astype(np.float32)
    bags = rng.permutation(variables).reshape((-1, bag))
    first, second = np.triu_indices(bag, 1)
    cliques = np.stack([bags[:, first].reshape(-1), bags[:, second].reshape(-1)], axis=1)
    places = rng.normal(size=(variables, DIMENSIONS))
    near = []
    for start in range(0, variables, 1024):
        own = places[start : start + 1024]
        apart = (own**2).sum(axis=1)[:, None] - 2 * own @ places.T + (places**2).sum(axis=1)
        apart[np.arange(len(own)), start + np.arange(len(own))] = np.inf
        closest = np.argpartition(apart, NEAREST, axis=1)[:, :NEAREST]
        near.append(np.stack([np.repeat(start + np.arange(len(own)), NEAREST), closest.reshape(-1)], axis=1))
    both = np.unique(np.sort(np.concatenate(near), axis=1), axis=0)
    bag_of = np.empty(variables, int)
    bag_of[bags] = np.arange(len(bags))[:, None]
    return Pairs(odds, cliques, both[bag_of[both[:, 0]] != bag_of[both[:, 1]]], bags)


@cache
def pair_marginals(variables: int, bag: int, sweeps: int) -> np.ndarray:
    """Probabilities of ones (n,) after some sweeps of all messages."""
    given = pairs(variables, bag)
    edges = np.concatenate([given.cliques, given.near])
    source, target = np.concatenate([edges, edges[:, ::-1]]).T
    alike = np.repeat([-REPULSION, ATTRACTION], [len(given.cliques), len(given.near)])
    weight, odds = np.exp(np.tile(alike, 2)), given.odds.astype(float)
    messages = np.zeros(len(source))
    for _ in range(sweeps):
        back = np.roll(messages, len(edges))
        sent = np.exp((odds + np.bincount(target, messages, variables))[source] - back)
        messages = 0.5 * (messages + np.log((1 + weight * sent) / (weight + sent)))
    return 1 / (1 + np.exp(-odds - np.bincount(target, messages, variables)))


def count_scores(bag: int) -> np.ndarray:
    """Scores of the counts of ones in a bag, those of its pairs (B + 1,)."""
    ones = np.arange(bag + 1.0)
    return -REPULSION / 2 * (ones * (ones - 1) + (bag - ones) * (bag - ones - 1))


@cache
def count_marginals(variables: int, bag: int, sweeps: int) -> np.ndarray:
    """The same where each bag is a count."""
    given = pairs(variables, bag)
    source, target = np.concatenate([given.near, given.near[:, ::-1]]).T
    weight, odds = np.exp(ATTRACTION), given.odds.astype(float)
    messages, told = np.zeros(len(source)), np.zeros(given.bags.shape)
    for _ in range(sweeps):
        heard = odds + np.bincount(target, messages, variables)
        total = heard.copy()
        total[given.bags] += told
        sent = np.exp(total[source] - np.roll(messages, len(given.near)))
        messages = 0.5 * (messages + np.log((1 + weight * sent) / (weight + sent)))
        told = 0.5 * (told + _count_messages(heard[given.bags], count_scores(bag)))
    total = odds + np.bincount(target, messages, variables)
    total[given.bags] += told
    return 1 / (1 + np.exp(-total))


def _count_messages(h: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Log odds that counts send to their members, from theirs (S, B) and the scores of counts (B + 1,)."""
    (bags, size), p = h.shape, 1 / (1 + np.exp(-h))
    before = np.zeros((size + 1, bags, size + 1))  # law of the count of the members before each
    before[0, :, 0] = 1
    for i in range(size):
        before[i + 1] = (1 - p[:, i, None]) * before[i]
        before[i + 1, :, 1:] += p[:, i, None] * before[i, :, :-1]
    after, found = np.tile(np.exp(g - g.max()), (bags, 1)), np.empty_like(h)
    for i in reversed(range(size)):
        up = np.append(after[:, 1:], np.zeros((bags, 1)), axis=1)
        found[:, i] = np.log((before[i] * up).sum(axis=1) / (before[i] * after).sum(axis=1))
        after = (1 - p[:, i, None]) * after + p[:, i, None] * up
    return found
