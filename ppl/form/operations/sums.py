"""Sums: operations that add and subtract values of one type, read as terms with signs.

Law: the sum of the terms, each with its sign, is the value of the operation to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ..builder import Block, Tupled, add
from ..nodes import Det, Var
from .equation import Equation


@dataclass(frozen=True)
class Signed:
    """A sum of terms with signs. Operands after the terms are witnesses: where one is not finite, the sum is NaN.

    A term that stands with both signs may so be left out, and be a witness instead: a - a is NaN where a is not finite.
    """

    signs: tuple[int, ...]

    def __call__(self, *values: jax.Array) -> tuple[jax.Array]:
        """Add up.

        >>> float(Signed((1, -1))(jnp.array(3.0), jnp.array(1.0))[0])
        2.0
        >>> float(Signed((1,))(jnp.array(3.0), jnp.array(-jnp.inf))[0])
        nan
        """
        terms, witnesses = values[: len(self.signs)], values[len(self.signs) :]
        plus, minus = ([x for x, own in zip(terms, self.signs, strict=True) if own == sign] for sign in (1, -1))
        out = add(*plus) if plus else None
        if minus:
            out = -add(*minus) if out is None else out - add(*minus)
        if out is None:
            out = jnp.zeros_like(values[0])
        for witness in witnesses:
            out = jnp.where(jnp.isfinite(witness), out, jnp.nan)
        return (out,)


@dataclass(frozen=True)
class Zero:
    """The sum of no terms."""

    shape: tuple[int, ...]
    dtype: jnp.dtype

    def __call__(self) -> tuple[jax.Array]:
        """Give zero."""
        return (jnp.zeros(self.shape, self.dtype),)


SAME = Signed((1,))  # a value as it is


def signed(block: Block, plus: Sequence[Var], minus: Sequence[Var], label: str) -> Var:
    """Append the sum of the first values less the others, all of one type and without plates."""
    out = (*plus, *minus)[0].like()
    signs = (1,) * len(plus) + (-1,) * len(minus)
    block.nodes.append(Det(Signed(signs), (*plus, *minus), (out,), label))
    return out


def signs_of(node: Det) -> tuple[int, ...] | None:
    """Return the sign of each operand, or None for an operation that is no sum of its operands.

    >>> block, x = Block(), Var((), jnp.dtype("float32"))
    >>> difference = block.det(jnp.subtract, x, x, label="difference")
    >>> signs_of(block.nodes[0])
    (1, -1)
    """
    function, known = node.function, ((add, (1,) * len(node.ins)), (jnp.add, (1, 1)), (jnp.subtract, (1, -1)))
    signs: tuple[int, ...] | None = None
    if isinstance(function, Signed):
        signs = function.signs
    elif isinstance(function, Equation):
        signs = function.row.signs
    elif isinstance(function, Tupled):
        signs = next((signs for adding, signs in known if function.function is adding), None)
    if signs is None or len(signs) != len(node.ins) or node.address is not None:
        return None
    (out,) = node.outs
    fits = all(v.shape == out.shape and v.dtype == out.dtype and set(v.plates) <= set(node.plates) for v in node.ins)
    return signs if fits and out.plates == node.plates else None
