"""Padding: items of different sizes put into few arrays, each as wide as its widest item.

Law: every item is in exactly one array. One joins another where what is padded costs less than an array of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

ARRAY = 1 << 7  # entries that take about as long as what another array costs


def shared_arrays(sizes: Sequence[tuple[int, ...]], counts: Sequence[int]) -> list[tuple[list[int], tuple[int, ...]]]:
    """Say which kinds of items share an array, with the size that they are padded to.

    Args:
        sizes: size of the items of each kind along each axis.
        counts: number of items of each kind.

    >>> shared_arrays([(2, 3), (2, 4), (900, 900)], [5, 1, 1])
    [([2], (900, 900)), ([1, 0], (2, 4))]
    """
    found: list[tuple[list[int], tuple[int, ...], int]] = []
    for kind in sorted(range(len(sizes)), key=lambda k: -math.prod(sizes[k])):
        count, alone = counts[kind], math.prod(sizes[kind]) * counts[kind]
        least, place = ARRAY, len(found)
        for k, (_, size, many) in enumerate(found):
            padding = math.prod(map(max, size, sizes[kind])) * (many + count) - math.prod(size) * many - alone
            if padding < least:
                least, place = padding, k
        if place == len(found):
            found.append(([], sizes[kind], 0))
        members, size, many = found[place]
        found[place] = [*members, kind], tuple(map(max, size, sizes[kind])), many + count
    return [(members, size) for members, size, _ in found]
