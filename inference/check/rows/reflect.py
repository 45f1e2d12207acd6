"""Reflect: the smallest kernel for exact checks of what is built around kernels: one coin a move, no draw.

Law: pi K = pi. Every finite choice is mirrored within its support, which undoes itself, so acceptance by the ratio of
the densities keeps the target. A program with branches is left as it is: its arms would change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice

from ...contract import Contract
from ...kernels.base.base import INVARIANT
from ...kernels.combine.mh import MH
from ...representations.kernel_form import Proposed, State, scored


@dataclass(frozen=True)
class Reflect:
    """Propose the mirror image of every finite choice."""

    contract: Contract = INVARIANT

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append the mirror images and the ratio."""
        still = any(choice.conditional for choice in choices)
        values = [v if still else mirrored(block, c, v) for c, v in zip(choices, state.values, strict=True)]
        log_density, flags = scored(block, program, inputs, values)
        ratio = block.det(jnp.subtract, log_density, state.log_density, label="log ratio")
        return Proposed(State(tuple(values), flags, log_density), ratio)

    def plan(self, program: Form) -> list[str]:
        """Say what is proposed."""
        return ["every finite choice: its mirror image"]

    def __repr__(self) -> str:
        return "reflect()"


def reflect() -> MH:
    """Make the kernel.

    >>> reflect()
    mh(reflect())
    """
    return MH(Reflect())


def mirrored(block: Block, choice: Choice, value: Var) -> Var:
    """Append the mirror image of a value whose support is a row of integers; another value stays."""
    listed = choice.law.element_values
    if listed is None or not (np.diff(np.sort(listed)) == 1).all():
        return value
    ends = int(listed.min() + listed.max())

    def mirror(value: jax.Array) -> jax.Array:
        return (ends - value).astype(value.dtype)

    return block.det(mirror, value, label=f"mirror {choice.name}")
