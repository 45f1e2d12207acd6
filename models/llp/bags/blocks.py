"""Blocks of bags, rows of arrays: those of similar size in one block, filled up with -1, for compiled code.

Law: every bag with members and a known count is a row of exactly one block, its members first. Blocks and their order
depend on the bags alone, and bags of one size make one block without filling.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lawful.errors import ObservationError

from .bags import Bags

__all__ = ["Block", "blocks_of"]


class Block(NamedTuple):
    """Bags of similar size.

    Attributes:
        members: rows of the data, -1 behind the last member (bags, W).
        counts: ones in each bag, or guesses where the report is noisy (bags,).
        sizes: members of each bag (bags,).
        log_weights: what the report says of the counts 0..W (bags, W + 1).
        numbers: the bags' numbers (bags,).
    """

    members: Any
    counts: Any
    sizes: Any
    log_weights: Any
    numbers: Any


def blocks_of(bags: Bags) -> list[Block]:
    """Group bags by size, as `Bags.size_classes`; those without a known count or without members are left out.

    Raises: ObservationError for counts of several classes, or where no bag is left.

    >>> blocks = blocks_of(Bags.from_ids([0, 1, 1, 1, 2, 2, 2, 2], counts=[1, 2, 0]))
    >>> [block.members.tolist() for block in blocks]
    [[[0, -1, -1, -1], [1, 2, 3, -1], [4, 5, 6, 7]]]
    """
    if bags.counts.ndim > 1:
        raise ObservationError(
            f"bags: counts of {bags.n_classes} classes, and this method takes counts of ones (n_b,). "
            "Fix: give the counts of one class against the others."
        )
    usable = bags.known & (bags.sizes > 0)
    if not usable.any():
        raise ObservationError("bags: no bag has members and a known count. Fix: give the count of at least one bag.")
    part, left = bags.take(usable), np.flatnonzero(usable)
    blocks = []
    for chosen in part.size_classes:
        filled, estimates = part.padded(chosen), part.estimates[chosen]
        blocks.append(
            Block(
                members=np.where(filled < bags.n_rows, filled, -1).astype(np.int32),
                counts=estimates.astype(np.float32),
                sizes=part.sizes[chosen].astype(np.float32),
                log_weights=part.log_weights(chosen).astype(np.float32),
                numbers=left[chosen].astype(np.int32),
            )
        )
    return blocks
