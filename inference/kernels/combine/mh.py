"""MH, Metropolis-Hastings kernels: propose, then accept with the probability that keeps the target.

Law: pi K = pi, and K is reversible: pi(dx) K(x, dy) is symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice

from ...contract import Contract
from ...missing_call import refuse_uncalled
from ...registered import stored_as
from ...representations.absent_elements import keeps_absent
from ...representations.coordinates import walk_ratio
from ...representations.kernel_form import KernelForm, Proposed, State
from ...transformers.move import Parts
from ..base.acceptance import INFO, chosen
from ..base.acceptance import acceptance as acceptance
from ..base.base import finished, opened
from ..jumps.program_proposal import ProgramProposal
from ..local.single_site import single_site


class Proposal(Protocol):
    """Something that proposes a new state."""

    @property
    def contract(self) -> Contract:
        """What the kernel built on the proposal claims."""

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append the nodes of the proposal."""

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""


@runtime_checkable
class Stepping(Protocol):
    """A proposal that is symmetric in coordinates, and scores no more than the place that it steps to."""

    def stepped(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], old: Sequence[Var]
    ) -> tuple[tuple[Var, ...], Var]:
        """Append the step: gives the new values, and the change of the log Jacobian."""


def written(proposal: Any, program: Form) -> tuple[tuple[Choice, ...], Block, tuple[Var, ...], State, Proposed]:
    """Write a proposal for a program: gives its choices, the block, inputs and state before, and what is proposed."""
    choices, block, inputs, state = opened(program)
    return choices, block, inputs, state, proposal.propose(block, program, inputs, choices, state)


@stored_as("kernels.mh")
@dataclass(frozen=True)
class MH:
    """The kernel of a proposal."""

    proposal: Any

    @property
    def contract(self) -> Contract:
        """What the proposal allows to claim."""
        return self.proposal.contract

    @property
    def keeps_absent(self) -> bool:
        """Whether the kernel leaves what is absent where it is."""
        return keeps_absent(self.proposal)

    def build(self, program: Form) -> KernelForm:
        """Write proposal, coin and choice as one Form; a proposal that knows how to write all of it does."""
        whole = getattr(self.proposal, "whole", None) or getattr(self.proposal, "build", None)
        if whole is not None:
            built: KernelForm = whole(program)
            return built
        choices, block, inputs, state, proposed = written(self.proposal, program)
        after = chosen(block, state.flat, proposed.state.flat, proposed.log_ratio)
        form = block.form((*inputs, *state.flat), after)
        return KernelForm(finished(form), choices, INFO, leave=proposed.leave)

    def carrying(self, program: Form, parts: Parts) -> KernelForm | None:
        """Write a step on a state that goes on with the parts of its log density, so that they are computed once.

        None where the proposal scores more than the place that it steps to, or a choice may be absent.
        """
        choices, block, inputs, state = opened(program)
        if not isinstance(self.proposal, Stepping) or state.flags:
            return None
        values, jacobian = self.proposal.stepped(block, program, inputs, choices, state.values)
        new = parts.of(block, inputs, values)
        old, there = tuple(v.like() for v in new), parts.density(block, inputs, *new)
        ratio = block.det(walk_ratio, there, state.log_density, jacobian, label="log ratio")
        after = chosen(block, (*state.flat, *old), (*values, there, *new), ratio)
        return KernelForm(finished(block.form((*inputs, *state.flat, *old), after)), choices, INFO)

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        return self.proposal.plan(program)

    def __repr__(self) -> str:
        """Show the proposal."""
        return f"mh({self.proposal!r})"


def mh(proposal: Any = None) -> MH:
    """Metropolis-Hastings with a proposal.

    Args:
        proposal: a proposal, as `random_walk(0.5)`; or a program that samples new values under the names of sites: a
            function of the current choices by name, or of these and the arrays among the model's arguments; behind a
            `*` it takes arguments of the model by name, whatever they are: `def near(current, *, data)`. Default:
            single-site moves from the prior.

    A proposal program is scored in both directions. Sites that it does not sample stay; those that its values switch on
    are drawn from their prior.

    >>> import numpyro.distributions as dist, lawful
    >>> def near(current):
    ...     lawful.sample("x", dist.Normal(0.9 * current["x"], 0.5))
    >>> mh(), mh(near)
    (mh(single_site()), mh(near))
    """
    refuse_uncalled(proposal, "kernel")
    if proposal is None:
        return MH(single_site())
    if any(hasattr(proposal, way) for way in ("propose", "whole", "build")):
        return MH(proposal)
    if callable(proposal):
        return MH(ProgramProposal(proposal))
    raise LawfulError(
        f"mh: expected a proposal or a program of the current choices, got {type(proposal).__name__}. Fix: give one of "
        "these."
    )


def as_kernel(kernel: Any) -> Any:
    """Take a kernel as it is, a bare proposal or a program as the proposal of `mh`, and None as `mh()`."""
    return kernel if hasattr(kernel, "build") and not isinstance(kernel, type) else mh(kernel)
