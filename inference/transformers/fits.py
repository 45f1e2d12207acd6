"""Fits: kernels whose parameters the particles fill, and parameters that follow what moves accept.

Law: for any parameters the kernel keeps its measure. They are inputs of the kernel's Form; where they are those of the
particles, estimates are consistent in their number, not unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax

from lawful.errors import LawfulError
from lawful.form import Plate, Var
from lawful.form.builder import Block

from ..contract import PRESERVES, Contract
from ..representations.kernel_form import SIGNAL, parts_of, replaced
from ..representations.tempered import Point


@runtime_checkable
class Following(Protocol):
    """How a parameter follows what moves accept, by a number that is remembered from stage to stage, 0 at first."""

    def given(self, memory: jax.Array) -> jax.Array:
        """Give the parameter."""

    def learned(self, memory: jax.Array, acceptance: jax.Array) -> jax.Array:
        """Give what is remembered after moves of a mean acceptance."""


class Fit(NamedTuple):
    """A kernel whose parameters are filled.

    Attributes:
        kernel: the kernel, which finds its parameters among the program's inputs.
        parameters: their values, in the population's block.
        following: how the first of them follows the acceptance; None where it is fixed.
    """

    kernel: Any
    parameters: tuple[Var, ...]
    following: Following | None = None


@runtime_checkable
class Fitted(Protocol):
    """A kernel whose parameters are fitted to the particles before they are resampled."""

    def fit(self, block: Block, on: Point, plate: Plate, slot: int) -> Fit:
        """Append the parameters, which are to stand among the program's inputs from `slot` on."""


def is_fitted(kernel: Any) -> bool:
    """Tell whether a kernel, or a part of it, looks at the population."""
    return bool(parts_of(kernel, Fitted))


def contract_of(kernel: Any) -> Contract:
    """Say what moves by a kernel claim: those of a fitted one are consistent, the others exact."""
    found: Contract = kernel.contract if is_fitted(kernel) else PRESERVES
    return found


@dataclass(frozen=True)
class Learning:
    """A parameter that follows the acceptance: its place among the shared values, and the number that tells.

    `kernel` is the part whose moves it is about.
    """

    kernel: Any
    following: Following
    place: int
    signal: str
    memory: Var

    def put(self, shared: tuple[Var, ...], parameter: Var) -> tuple[Var, ...]:
        """Put the parameter among the shared values."""
        return (*shared[: self.place], parameter, *shared[self.place + 1 :])


def filled(kernel: Any, block: Block, on: Point, plate: Plate) -> tuple[Any, list[Var], Learning | None]:
    """Fill the parameters of a kernel and its parts from the particles of a plate.

    Returns: the kernel; the parameters, which are to follow the program's inputs, block and power; how one follows.
    """
    parameters: list[Var] = []
    learning: list[Learning] = []
    first = len(on.inputs) + 2

    def fit(part: Any) -> Any:
        slot = first + len(parameters)
        found = part.fit(block, on, plate, slot)
        parameters.extend(found.parameters)
        if found.following is not None and on.memory is not None:
            learning.append(Learning(found.kernel, found.following, slot, f"{SIGNAL}{slot}", on.memory))
        return found.kernel

    kernel = replaced(kernel, Fitted, fit)
    if len(learning) > 1:
        raise LawfulError(f"{kernel!r}: two kernels adapt, and one number is remembered. Fix: let one adapt.")
    return kernel, parameters, learning[0] if learning else None
