"""Exact laws of the resampling schemes, in rationals of the given weights; nothing of the library is used."""

import itertools
import math
from fractions import Fraction

import numpy as np

EDGE = 1e-12

_rng = np.random.default_rng(20_261)
BATTERY = {
    "one item": [0.3],
    "two equal halves": [0.5, 0.5],
    "rare": [1 - 1e-3, 1e-3],
    "very rare": [1 - 1e-12, 1e-12],
    "equal": [0.1, 0.1, 0.1],
    "one-hot first": [1.0, 0.0, 0.0],
    "one-hot middle": [0.0, 1.0, 0.0],
    "one-hot last": [0.0, 0.0, 1.0],
    "zero first": [0.0, 0.3, 0.7],
    "zero between": [0.3, 0.0, 0.7],
    "zero last": [0.3, 0.7, 0.0],
    "ties": [0.2, 0.4, 0.4],
    "whole shares": [0.25, 0.25, 1.0],
    "just below whole shares": [1 - 1e-9, 1.0, 1.0],
    "just above whole shares": [1 + 1e-9, 1.0, 1.0],
    "rounded whole shares": [0.1, 0.2, 0.7],
    "one tiny": [1.0, 1e-300, 2.0],
    "tiny scale": [1e-300, 2e-300, 4e-300],
    "huge scale": [1e300, 2e300, 4e300],
    "dirichlet 1": _rng.dirichlet([0.1] * 3).tolist(),
    "dirichlet 2": _rng.dirichlet([0.1] * 4).tolist(),
    "dirichlet 3": _rng.dirichlet([0.1] * 4).tolist(),
    "exponential": _rng.exponential(size=4).tolist(),
}
CASES = [(name, m) for name, w in BATTERY.items() for m in {1: (3,), 2: (2,), 3: (3, 2), 4: (4,)}[len(w)]]


def expected_counts(weights, m):
    """M w_i / sum(w)."""
    exact = [Fraction(w) for w in weights]
    return [m * w / sum(exact) for w in exact]


def sums(weights, m):
    """Running sums of the expected counts."""
    return list(itertools.accumulate(expected_counts(weights, m)))


def item_at(point, edges):
    """The item whose part [x_{i-1}, x_i) of the running sums holds the point."""
    return next(i for i, edge in enumerate(edges) if point < edge)


def product_law(slots):
    """The joint law of independent slots, each a list of probabilities."""
    law = {}
    for items in itertools.product(*(range(len(slot)) for slot in slots)):
        law[items] = math.prod((slot[i] for slot, i in zip(slots, items, strict=True)), start=Fraction(1))
    return law


def systematic(weights, m):
    edges = sums(weights, m)
    breaks = sorted({Fraction(0), Fraction(1), *(x % 1 for x in edges)})
    law = {}
    for low, high in itertools.pairwise(breaks):
        cell = tuple(item_at(j + (low + high) / 2, edges) for j in range(m))
        law[cell] = law.get(cell, 0) + high - low
    return law


def stratified(weights, m):
    edges = sums(weights, m)
    starts = [Fraction(0), *edges[:-1]]
    return product_law(
        [[max(min(e, j + 1) - max(s, j), Fraction(0)) for s, e in zip(starts, edges, strict=True)] for j in range(m)]
    )


def multinomial(weights, m):
    return product_law([[x / m for x in expected_counts(weights, m)]] * m)


def whole(expected):
    """The certain offspring; a share a rounding error below a whole number counts as whole."""
    return math.floor(expected + Fraction(EDGE) / 10)


def residual(weights, m):
    expected = expected_counts(weights, m)
    certain, rest = split(expected)
    picks = [[x / sum(rest) for x in rest] for _ in range(m - len(certain))]
    return product_law([[Fraction(i == j) for i in range(len(weights))] for j in certain] + picks)


def split(expected):
    """The items of the certain slots, and what is left of each expected count."""
    certain = [i for i, x in enumerate(expected) for _ in range(whole(x))]
    return certain, [max(x - whole(x), Fraction(0)) for x in expected]


LAWS = {"systematic": systematic, "stratified": stratified, "multinomial": multinomial, "residual": residual}


def ancestors_at(name, uniforms, weights, m):
    """The ancestors at rational uniforms, and whether one lies within 1e-12 of an edge, where rounding decides."""
    edges = sums(weights, m)
    if name in ("systematic", "stratified"):
        points = [j + u for j, u in enumerate([uniforms[0]] * m if name == "systematic" else uniforms)]
        return tuple(item_at(x, edges) for x in points), _near(points, edges)
    if name == "multinomial":
        points = [u * m for u in uniforms]
        return tuple(item_at(x, edges) for x in points), _near(points, edges)
    certain, rest = split(expected_counts(weights, m))
    edges = list(itertools.accumulate(rest))
    points = [u * edges[-1] for u in uniforms[len(certain) :]]
    return (*certain, *(item_at(x, edges) for x in points)), _near(points, edges)


def _near(points, edges):
    return any(abs(x - e) < EDGE for x in points for e in (0, *edges))
