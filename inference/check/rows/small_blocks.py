"""Small blocks: Gibbs draws of blocks as small as a program allows, so that a row scans several of them.

Law: as `block_gibbs`, for any budget: what each block holds fixed is the law of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from lawful.errors import WidthError
from lawful.form import Form

from ...contract import Contract
from ...kernels import block_gibbs
from ...kernels.base.base import KernelForm

BUDGETS = (2, 4, 9, 27, 81)


@dataclass(frozen=True)
class SmallBlocks:
    """`block_gibbs` under the smallest budget of some that is enough for single variables."""

    contract: Contract = block_gibbs().contract

    def build(self, program: Form) -> KernelForm:
        """Try one budget after the other, and build the kernel."""
        for budget in BUDGETS:
            try:
                return block_gibbs(width_budget=budget).build(program)
            except WidthError:
                continue
        return block_gibbs().build(program)

    def plan(self, program: Form) -> list[str]:
        """Say what it is."""
        return [repr(self)]

    def __repr__(self) -> str:
        """Show the kernel."""
        return "block_gibbs(width_budget=least)"
