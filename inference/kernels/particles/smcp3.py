"""SMCP3: particles move by a program forth, and weights make up for it by a program back.

Law: a particle of weight w at x that moves to y by K has the weight w pi(y) L(y, x) / (pi(x) K(x, y)), which keeps the
measure for every K and L that are densities, wherever K reaches all that L comes from. No move is rejected, and neither
program has to know the target.

Reference: Lew, Matheos, Zhi-Xuan, Ghavamizadeh, Gothoskar, Russell and Mansinghka (2023), SMCP3: sequential Monte Carlo
with probabilistic program proposals; with programs that move all choices, the sampler of Del Moral, Doucet and Jasra
(2006).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lawful.form import Form

from ...contract import PRESERVES, Contract
from ...representations.kernel_form import KernelForm
from ...transformers.propose.support_check import require_way_back
from ..base.base import finished
from ..base.redraw import PREFIX
from ..combine.mh import written
from ..jumps.program_proposal import ProgramProposal


@dataclass(frozen=True)
class Weighing:
    """A move by a program that is weighed, not accepted or rejected."""

    proposal: ProgramProposal
    contract: Contract = PRESERVES

    def build(self, program: Form) -> KernelForm:
        """Write the move and the factor that weighs it."""
        back = self.proposal.back or self.proposal
        require_way_back(program, self.proposal.trace(program), back.trace(program), repr(self))
        choices, block, inputs, state, proposed = written(self.proposal, program)
        block.factor((PREFIX, "smcp3"), proposed.log_ratio)
        form = block.form((*inputs, *state.flat), proposed.state.flat)
        return KernelForm(finished(form), choices, (), leave=proposed.leave)

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        return self.proposal.plan(program)

    def __repr__(self) -> str:
        """Show both programs."""
        back = "" if self.proposal.back is None else f", {self.proposal.back!r}"
        return f"smcp3({self.proposal!r}{back})"


def smcp3(forward: Callable[..., Any], backward: Callable[..., Any] | None = None) -> Weighing:
    """Move particles by a program and weigh them; for `smc(model, move=...)` and `move(...)`.

    Args:
        forward: a program of the current choices by name, or of these and the arrays among the model's arguments, that
            samples new values under the names of sites, as for `mh`.
        backward: a program of the same kind that samples the same sites: where the old values might have come from,
            given the new choices. Default: `forward`. The closer `pi(y) L(y, x)` is to `pi(x) K(x, y)`, the more
            even are the weights.

    Returns: what a population takes for a kernel. Chains refuse it.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model(y):
    ...     lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)
    >>> def forward(now, y):  # the posterior itself
    ...     lawful.sample("x", dist.Normal(0.5 * y, 0.5**0.5))
    >>> def backward(now, y):  # where x came from: the prior
    ...     lawful.sample("x", dist.Normal(0.0, 1.0))
    >>> smcp3(forward, backward)
    smcp3(forward, backward)
    >>> moved = inference.Trace >> inference.spawn(3) >> inference.move(smcp3(forward, backward))
    >>> moved.contract.kind
    'preserves_measure'
    """
    back = None if backward is None else ProgramProposal(backward)
    return Weighing(ProgramProposal(forward, back=back))
