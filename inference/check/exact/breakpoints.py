"""Breakpoints: the partition of a scheme's uniforms on which its ancestors stay the same, in fractions of the weights.

Law: the lengths of a uniform's cells sum to 1; inside a cell every uniform gives the same ancestors, so one point of it
with the cell's length as its probability is the exact law. Nothing of the schemes themselves is used here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

Cell = tuple[Fraction, Fraction]

NEAR_WHOLE = Fraction(1, 10**13)


def expected_counts(weights: Sequence[float | Fraction], offspring: int) -> list[Fraction]:
    """Return M w_i / sum(w).

    >>> expected_counts([1.0, 3.0], 2)
    [Fraction(1, 2), Fraction(3, 2)]
    """
    exact = [Fraction(w) for w in weights]
    return [offspring * w / sum(exact) for w in exact]


def cells_of(cuts: Sequence[Fraction]) -> list[Cell]:
    """Cut [0, 1) at some points: pairs of a cell's middle and its length.

    >>> cells_of([Fraction(1, 4)])
    [(Fraction(1, 8), Fraction(1, 4)), (Fraction(5, 8), Fraction(3, 4))]
    """
    ends = sorted({Fraction(0), Fraction(1), *cuts})
    return [((low + high) / 2, high - low) for low, high in itertools.pairwise(ends)]


def systematic(weights: Sequence[float], offspring: int) -> list[list[Cell]]:
    """One uniform, cut at the fractional parts of the running sums."""
    return [cells_of([x % 1 for x in itertools.accumulate(expected_counts(weights, offspring))])]


def stratified(weights: Sequence[float], offspring: int) -> list[list[Cell]]:
    """One uniform for each stratum, cut where a running sum falls into it."""
    sums = list(itertools.accumulate(expected_counts(weights, offspring)))
    return [cells_of([x - slot for x in sums if 0 < x - slot < 1]) for slot in range(offspring)]


def multinomial(weights: Sequence[float], offspring: int) -> list[list[Cell]]:
    """One uniform for each offspring, cut at the running shares."""
    return [cells_of(list(itertools.accumulate(expected_counts(weights, 1))))] * offspring


def residual(weights: Sequence[float], offspring: int) -> list[list[Cell]]:
    """Uniforms cut at the running shares of what is left of the expected counts; those of whole shares are not cut.

    A count closer below a whole number than `NEAR_WHOLE` is taken for whole: rounding decides there.
    """
    expected = expected_counts(weights, offspring)
    whole = [math.floor(x + NEAR_WHOLE) for x in expected]
    rest = [max(x - w, Fraction(0)) for x, w in zip(expected, whole, strict=True)]
    certain = min(sum(whole), offspring)
    drawn = cells_of(list(itertools.accumulate(expected_counts(rest, 1)))) if certain < offspring else []
    return [cells_of([])] * certain + [drawn] * (offspring - certain)


BREAKPOINTS: dict[str, Callable[[Sequence[float], int], list[list[Cell]]]] = {
    "systematic": systematic,
    "stratified": stratified,
    "multinomial": multinomial,
    "residual": residual,
}


def points(uniforms: Sequence[Sequence[Cell]], shortest: Fraction) -> Iterator[tuple[tuple[Fraction, ...], Fraction]]:
    """Choose a cell of every uniform: the middles, and the product of the lengths; cells below `shortest` are left out.

    >>> list(points([cells_of([Fraction(1, 4)])], Fraction(1, 10**12)))
    [((Fraction(1, 8),), Fraction(1, 4)), ((Fraction(5, 8),), Fraction(3, 4))]
    """
    kept = [[cell for cell in cells if cell[1] >= shortest] for cells in uniforms]
    for chosen in itertools.product(*kept):
        yield tuple(middle for middle, _ in chosen), math.prod((length for _, length in chosen), start=Fraction(1))
