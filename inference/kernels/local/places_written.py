"""Places written: the indices that choose what moves, and the slices that they read and write.

Law: a slice that is taken is the slice of the value, and a slice that is put is the only thing that changes in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.errors import UnsupportedProgramError
from lawful.form import Branch, Det, Loop, Var
from lawful.form.builder import Block, Tupled

from .reach import Reach
from .slice_operations import Put, Take

# Which slice: (axis, number of the index) in the order of the axes; these axes stay, with one element.
type Slice = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Rule:
    """How an index is made: an offset from another index, or from zero, kept within a length."""

    base: int | None
    offset: int
    length: int


@dataclass(frozen=True)
class Shift:
    """The index of a neighbouring step, kept within range, and whether it was in range."""

    rule: Rule

    def __call__(self, index: Any) -> tuple[Any, Any]:
        """Shift an index."""
        moved = index + self.rule.offset
        return jnp.clip(moved, 0, self.rule.length - 1), (moved >= 0) & (moved < self.rule.length)


@dataclass(frozen=True)
class Equals:
    """Whether an index is at a step."""

    step: int

    def __call__(self, index: Any) -> Any:
        """Compare."""
        return index == self.step


class Scene:
    """Where frames write: a block, the indices of the part that moves, and the values of all choices.

    Args:
        block: receives the operations.
        reach: the analysis of what the part reaches.
        indices: the indices that choose the part, loops first.
        values: the old value of each choice, with the axes of its loops.
    """

    def __init__(self, block: Block, reach: Reach, indices: Sequence[Var], values: dict[Address, Var]) -> None:
        """Start with nothing computed."""
        self.block = block
        self.reach = reach
        self.indices = list(indices)
        self.rules = [Rule(q, 0, n) for q, n in enumerate(reach.target.sizes)] if reach.target.path else []
        self.values = values
        self.element: Var | None = None
        self._constants: dict[Var, Var] = {}
        self._shifted: dict[tuple[int | None, int, int], tuple[int, Var | None]] = {}

    def constant(self, value: Var, array: Any) -> Var:
        """Add a constant of a form, once."""
        if value not in self._constants:
            self._constants[value] = value.like()
            self.block.constants.append((self._constants[value], array))
        return self._constants[value]

    def emit(
        self, function: Callable[..., Any], ins: Sequence[Var], shape: tuple[int, ...], dtype: Any, label: str
    ) -> Var:
        """Append an operation of one result."""
        out = Var(tuple(shape), dtype)
        self.block.nodes.append(Det(Tupled(function), tuple(ins), (out,), label))
        return out

    def take(self, value: Var, at: Slice = (), steps: Sequence[int] = ()) -> Var:
        """Read a slice; the leading axes at `steps` drop out."""
        if not at and not steps:
            return value
        indices = [self.indices[q] for q in (*steps, *(q for _, q in at))]
        axes = tuple(a for a, _ in at)
        shape = ones(value.shape[len(steps) :], axes)
        return self.emit(Take(len(steps), axes), (value, *indices), shape, value.dtype, "slice")

    def put(self, value: Var, part: Var, at: Slice = (), steps: Sequence[int] = ()) -> Var:
        """Write a slice where `take` reads it."""
        if not at and not steps:
            return part
        indices = [self.indices[q] for q in (*steps, *(q for _, q in at))]
        function = Put(len(steps), tuple(a for a, _ in at))
        return self.emit(function, (value, part, *indices), value.shape, value.dtype, "put slice")

    def index(self, base: int | None, offset: int, length: int) -> tuple[int, Var | None]:
        """Number the index at an offset from another one, or from zero; with whether it is in range, where unsure."""
        if base is not None and offset == 0:
            return base, None
        key = (base, offset, length)
        if key not in self._shifted:
            rule = Rule(base, offset, length)
            inside: Var | None = None
            if base is None:
                var = self.block.constant(np.asarray(offset, np.int32))
            else:
                var, inside = self.block.det(Shift(rule), self.indices[base], label="step")
            self.indices.append(var)
            self.rules.append(rule)
            self._shifted[key] = len(self.indices) - 1, inside
        return self._shifted[key]

    def choose(self, which: Var, yes: Var, no: Var) -> Var:
        """Choose one of two values."""
        return self.emit(jnp.where, (which, yes, no), yes.shape, yes.dtype, "choose")

    def both(self, first: Var | None, second: Var | None) -> Var | None:
        """Say whether two conditions hold; None always holds."""
        if first is None or second is None:
            return second if first is None else first
        return self.emit(jnp.logical_and, (first, second), (), jnp.dtype(bool), "both")

    def opaque(self, frame: Any, node: Branch | Loop, k: int, new: bool) -> Var:
        """Give result k of a branch or a loop that runs as a whole; a scene of one draw has no choices to run it at."""
        kind = type(node).__name__.lower()
        raise UnsupportedProgramError(
            f"a {kind} inside the draw of a distribution cannot be cut into its elements. Fix: move the site with "
            "kernels.random_walk or a proposal program, which draw all its elements together."
        )


def ones(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """Give a shape one element along some axes."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))
