"""W5e: bags as cliques, and edges between neighbours: binary variables in pairs, without a grid to shift along.

8192 variables of normal log odds, a permutation of them cut into bags of 32; all pairs of a bag are pushed apart, the
five nearest of normal positions in eight dimensions drawn together, where they are not in one bag.

Law: the marginals are those of the same sweeps of all messages, with damping 1/2, in double precision.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

REPULSION, ATTRACTION = 0.02, 0.1
NEAREST, DIMENSIONS = 5, 8


class Pairs(NamedTuple):
    """Log odds (n,), pairs of variables in bags (P, 2), and pairs of neighbours (E, 2)."""

    odds: np.ndarray
    cliques: np.ndarray
    near: np.ndarray


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
    return Pairs(odds, cliques, both[bag_of[both[:, 0]] != bag_of[both[:, 1]]])


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
