"""Places: where in one vector the numbers stand that an elimination brings together.

Law: tables are row-major, so the place of an entry is linear in its states, and is the sum of one number for some of
its axes and one for the others. So tables of any shapes meet in one array, and no table is ever transposed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

NOWHERE = -(1 << 29)  # negative with what is added to it, and twice it is an integer of 32 bits


class Index(NamedTuple):
    """Places `near[..., i] + far[..., j]`; what is below zero stands for the first number of a vector.

    Attributes:
        near: (..., I).
        far: (..., J); axes before the last one spread.
    """

    near: Any
    far: Any

    def of(self, vector: Any, xp: Any) -> Any:
        """Look the numbers up (..., I, J, *lanes) in a vector (n, *lanes)."""
        return xp.take(vector, self.near[..., :, None] + self.far[..., None, :], axis=0, mode="clip")


class Reading(NamedTuple):
    """Sums of numbers of a vector.

    Attributes:
        blocks: places of the terms: of T times I sums the terms stand along the last axis, (T, I) and (T or 1, J).
        order: which of the sums of all blocks are wanted, in order (m,); None where it is all of them.
    """

    blocks: tuple[Index, ...]
    order: Any

    def of(self, vector: Any, xp: Any) -> Any:
        """Sum the numbers of a vector (n, *lanes) up (m, *lanes)."""
        sums = [xp.sum(block.of(vector, xp), axis=2).reshape((-1, *vector.shape[1:])) for block in self.blocks]
        whole = sums[0] if len(sums) == 1 else xp.concatenate([vector[:0], *sums])
        return whole if self.order is None else xp.take(whole, self.order, axis=0, mode="clip")


class Batch(NamedTuple):
    """Variables that are eliminated at once: B joint tables of K own states and R states of what is left.

    Attributes:
        sources: places of the scores that meet: near (S, B, K), far (S, B or 1, R).
        targets: where the results are added (B, R).
        readers: a Reading of the shares that the states of the results have in the joint tables that they go into.
        variables: their numbers (B,).
        scopes: numbers of the variables that are left in each table (B, W).
        strides: what a state of each of these adds to the place among the R (B, W).
    """

    sources: Index
    targets: Any
    readers: Any
    variables: Any
    scopes: Any
    strides: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Places:
    """Where all numbers of an elimination stand: arrays for the compiled program, whose shapes decide what it is.

    The scores of an elimination are a vector: -inf, zero, the scores of the graph, and the results. The shares of the
    entries of all joint tables are another: zero, one (or zero where the graph is impossible), and the shares.

    Attributes:
        batches: in the order in which they are run.
        constants: places of the tables without variables.
        variables: of all marginals of variables, batch by batch (B, K), which are those of each variable in turn (U,).
        tables: of the marginals of the entries of all tables of factors, in the order of the scores.
        owner: variable of each score of a single variable (U,).
        first: place of the score of the first state of each variable, among the scores of the graph (n,).
        size: number of scores and results.
    """

    batches: tuple[Batch, ...]
    constants: Any
    variables: Any
    tables: Reading
    owner: Any
    first: Any
    size: int = field(metadata={"static": True})


def strides_of(cards: Sequence[int]) -> list[int]:
    """What a state on each axis adds to the place of an entry in a row-major table.

    >>> strides_of([2, 3, 4])
    [12, 4, 1]
    """
    return [math.prod(cards[k + 1 :]) for k in range(len(cards))]


def offsets(cards: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """Places of the states of some variables, the last one fastest, where each state adds its stride.

    >>> offsets([2, 3], [1, 10]).tolist()
    [0, 10, 20, 1, 11, 21]
    """
    found = np.zeros(1, np.int32)
    for card, stride in zip(cards, strides, strict=True):
        found = (found[:, None] + stride * np.arange(card, dtype=np.int32)).reshape(-1)
    return found
