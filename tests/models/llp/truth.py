"""The measure of label proportions by brute force: every labelling of the rows, weighed."""

import itertools

import numpy as np


def labellings(n, classes=2):
    """All labellings (K^n, n)."""
    return np.array(list(itertools.product(range(classes), repeat=n)))


def log_weights_of_counts(bags, y):
    """Sum over bags of log p(report | count), of labellings (N, n) -> (N,)."""
    total = np.zeros(len(y))
    for bag in np.flatnonzero(bags.known):
        own = y[:, bags.members_of(int(bag))]
        if bags.counts.ndim == 2:
            right = np.all([(own == k).sum(axis=1) == s for k, s in enumerate(bags.counts[bag])], axis=0)
            total += np.where(right, 0.0, -np.inf)
        else:
            total += bags.log_weights(np.array([bag]))[0][own.sum(axis=1)]
    return total


def posterior(z, bags, edges=None, log_tables=None):
    """Log of the mean weight under the learner's law, and marginals (n,) or (n, K); with tables of pairs, if given."""
    z = np.asarray(z, float)
    scores = np.stack([np.zeros_like(z), z], axis=1) if z.ndim == 1 else z
    scores = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    n, classes = scores.shape
    y = labellings(n, classes)
    weight = scores[np.arange(n), y].sum(axis=1) + log_weights_of_counts(bags, y)
    for k, (i, j) in enumerate(edges if edges is not None else []):
        table = log_tables[k] if np.ndim(log_tables) == 3 else log_tables
        weight = weight + np.asarray(table)[y[:, i], y[:, j]]
    top = weight.max()
    mass = np.exp(weight - top)
    log_z = top + np.log(mass.sum())
    marginals = np.stack([(mass[:, None] * (y == k)).sum(axis=0) for k in range(classes)], axis=1) / mass.sum()
    return log_z, marginals[:, 1] if z.ndim == 1 else marginals
