"""Chains by enumeration of all paths, and by float64 recursions in logs, in NumPy alone."""

import itertools

import numpy as np

from lawful.inference.graphs.chains import chain


def moves_of(given):
    """Transition scores of every step after the first, the identity where it is masked out."""
    moves = np.broadcast_to(np.asarray(given.transition, float), (given.steps - 1, given.states, given.states)).copy()
    if given.live is not None:
        with np.errstate(divide="ignore"):
            moves[~np.asarray(given.live)[1:]] = np.log(np.eye(given.states))
    return moves


def nodes_of(given):
    """Node scores, 0 where a step after the first is masked out."""
    nodes = np.asarray(given.node, float).copy()
    if given.live is not None:
        nodes[1:][~np.asarray(given.live)[1:]] = 0
    return nodes


def enumerated(given):
    """All paths (P, T) and their log scores."""
    nodes, moves = nodes_of(given), moves_of(given)
    paths = np.array(list(itertools.product(range(given.states), repeat=given.steps)))
    at = np.arange(given.steps)
    return paths, nodes[at, paths].sum(1) + moves[at[:-1], paths[:, :-1], paths[:, 1:]].sum(1)


def log_sum(x, axis=None):
    top = x.max(axis=axis, keepdims=True)
    top = np.where(top == -np.inf, 0, top)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis)


def by_enumeration(given):
    """Log Z, node marginals (T, K) and pair marginals (T - 1, K, K)."""
    paths, scores = enumerated(given)
    log_z = log_sum(scores)
    weights = np.exp(scores - log_z)
    hot = np.eye(given.states)[paths]
    return log_z, np.einsum("p,pti->ti", weights, hot), np.einsum("p,pti,ptj->tij", weights, hot[:, :-1], hot[:, 1:])


def by_logs(given):
    """The same for chains of any length; increments of log Z are added up exactly by `math.fsum`."""
    import math

    nodes, moves = nodes_of(given), moves_of(given)
    forward, terms = np.empty_like(nodes), []
    for t, node in enumerate(nodes):
        raw = node if t == 0 else log_sum(forward[t - 1][:, None] + moves[t - 1], 0) + node
        terms.append(log_sum(raw))
        forward[t] = raw - terms[-1]
    backward = np.zeros_like(nodes)
    for t in range(len(nodes) - 2, -1, -1):
        raw = log_sum(moves[t] + nodes[t + 1] + backward[t + 1], 1)
        backward[t] = raw - raw.max()
    joint = forward + backward
    return math.fsum(terms), np.exp(joint - log_sum(joint, 1)[:, None])


def random_chain(seed, steps=5, states=3, each=False, masked=False, zeros=False, scale=2.0):
    """A chain of normal scores; hard zeros leave some path."""
    rng = np.random.default_rng(seed)
    node = scale * rng.normal(size=(steps, states))
    transition = scale * rng.normal(size=(steps - 1, states, states) if each else (states, states))
    if zeros:
        transition[..., 0, 1:] = -np.inf
        node[1, 0] = -np.inf
    mask = (np.arange(steps) + seed) % 3 != 1 if masked else None  # from seed 1 without the first step
    return chain(node, transition, rng.normal(size=states), mask)
