"""Exact laws of the resampling schemes, in rationals; of the library only the list of weights is used."""

import itertools
import math
from fractions import Fraction

from lawful.inference.check.exact.resamplers import BATTERY

EDGE = 1e-12

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
