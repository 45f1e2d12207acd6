"""Formulas: the operations of a traced program as text, in the notation of arithmetic.

Law: a formula says what its value is computed from; operations that only change shape or type are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...form import Det
from ...form.operations.equation import Equation

_ATOM = 4


@dataclass(frozen=True)
class Formula:
    """A value as text.

    `strength` is the binding strength of its outermost operation; `read` lists the named values and `used` the
    operations that it is made of, in order.
    """

    text: str
    strength: int = _ATOM
    read: tuple[str, ...] = ()
    used: tuple[tuple[int, str], ...] = ()

    @classmethod
    def name(cls, text: str) -> Formula:
        """Make the formula of a value that has a name."""
        return cls(text, read=(text,))

    def within(self, strength: int) -> str:
        """Write it as an operand of an operation that binds with the given strength."""
        return self.text if self.strength > strength else f"({self.text})"

    def summary(self) -> str:
        """Say what a long formula reads and how long it is."""
        labels = list(dict.fromkeys(label for _, label in self.used))
        kinds = ", ".join(labels[:4]) + (", ..." if len(labels) > 4 else "")
        read = [name for name in self.read if not (name[0].isdigit() or name[0] in "-[")]
        return f"f({', '.join(read)})  {len(self.used)} operations: {kinds}"


def formula(node: Det, operands: Sequence[Formula]) -> list[Formula] | None:
    """Write the values of a traced operation; None for one that a transformer wrote, which has its own meaning."""
    function = node.function
    if not isinstance(function, Equation):
        return [operands[0]] if node.address is not None else None
    every = function.operands(operands, lambda literal: Formula(number_text(literal[0])))
    if function.is_silent and len(every) == 1:
        return [every[0]]
    if function.row.counts and len(node.outs[0].shape) == 1:
        return [Formula.name(f"arange({node.outs[0].shape[0]})")]
    read = tuple(dict.fromkeys(name for part in every for name in part.read))
    used = (*dict.fromkeys(step for part in every for step in part.used), (node.outs[0].id, node.label))
    as_function = f"{function.label.strip('_')}({', '.join(part.text for part in every)})", _ATOM
    text, strength = function.written(every) or as_function
    if len(node.outs) == 1:
        return [Formula(text, strength, read, used)]
    return [Formula(f"{text}.{i}", _ATOM, read, used) for i in range(len(node.outs))]


def number_text(value: Any) -> str:
    """Write a constant: numbers exactly, arrays element by element.

    >>> number_text(2.0), number_text(np.float32(0.1)), number_text(np.array([1, 2]))
    ('2', '0.1', '[1, 2]')
    """
    if not hasattr(value, "dtype") and not isinstance(value, int | float | complex):
        return str(value)
    array = np.asarray(value)
    array = array.reshape(()) if array.size == 1 else array
    if array.ndim:
        return f"[{', '.join(number_text(x) for x in array)}]"
    return str(array[()]).removesuffix(".0")
