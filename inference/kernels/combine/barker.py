"""Barker: a kernel whose moves are accepted with Barker's probability r / (1 + r) instead of min(1, r).

Law: g(r) = r g(1 / r), so the flow of each move is as symmetric as under Metropolis. A move is accepted at least half
as often as there, and never more often.

Reference: Barker (1965), Monte Carlo calculations of the radial distribution functions for a proton-electron plasma.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lawful.form import Form

from ...contract import Contract
from ...registered import stored_as
from ...representations.absent_elements import keeps_absent
from ...representations.kernel_form import KernelForm
from ..base.acceptance import by_barkers_rule
from .mh import as_kernel


@stored_as("kernels.barker")
@dataclass(frozen=True)
class Barker:
    """A kernel with Barker's acceptance; see `barker`."""

    kernel: Any

    @property
    def contract(self) -> Contract:
        """What the kernel claims."""
        contract: Contract = self.kernel.contract
        return contract

    @property
    def keeps_absent(self) -> bool:
        """Whether the kernel leaves what is absent where it is."""
        return keeps_absent(self.kernel)

    def build(self, program: Form) -> KernelForm:
        """Build the kernel under the other rule."""
        built: KernelForm = self.kernel.build(program)
        return replace(built, step=by_barkers_rule(built.step))

    def plan(self, program: Form) -> list[str]:
        """Say what the kernel moves."""
        return [f"{line}, by Barker's rule" for line in self.kernel.plan(program)]

    def __repr__(self) -> str:
        """Show the kernel."""
        return f"barker({self.kernel!r})"


def barker(kernel: Any = None) -> Barker:
    """Accept the moves of a kernel with Barker's probability r / (1 + r), r the ratio of Metropolis-Hastings.

    It accepts less, and is a smooth function of the ratio.

    Args:
        kernel: a kernel or a bare proposal; default: single-site moves.

    Reference: Barker (1965), Australian Journal of Physics 18.

    >>> from lawful.inference import kernels
    >>> barker(kernels.random_walk(0.5))
    barker(mh(random_walk(0.5)))
    """
    return Barker(as_kernel(kernel))
