"""Prior proposal: all choices drawn again from the prior, whatever they were.

Law: prior and proposal cancel, so the acceptance ratio is that of the likelihoods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.passes.thread_sites import interpose

from ...contract import Contract
from ...registered import stored_as
from ...representations.kernel_form import Proposed, State
from .base import INVARIANT
from .redraw import Redraw, ScoreKept


@stored_as("kernels.independence")
@dataclass(frozen=True)
class PriorProposal:
    """Independent draws of all choices from the prior."""

    contract: Contract = INVARIANT

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append a run of the program, and the likelihoods of both states."""
        redraw = interpose(program, Redraw())
        given: list[Var] = []
        for choice, old in zip(choices, state.values, strict=True):
            all_parts = block.constant(np.ones((*choice.loops, *choice.units), bool))
            given += [old, block.constant(np.ones(choice.loops, bool)), all_parts]
        new = redraw.spliced(block, [*inputs, *given])
        values, _, drawn = ([group[k] for group in new.outputs] for k in range(3))
        likelihood = new.sums[1]
        none = [block.constant(np.zeros((*c.loops, *c.units), bool)) for c in choices]
        pairs = [v for pair in zip(state.values, none, strict=True) for v in pair]
        before = interpose(program, ScoreKept()).spliced(block, [*inputs, *pairs]).sums[1]
        ratio = block.det(jnp.subtract, likelihood, before, label="log ratio")
        log_density = block.det(_total, likelihood, *drawn, label="log density")
        return Proposed(State(tuple(values), new.flags, log_density), ratio)

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        return [f"{c.name}: drawn from its prior, with all others" for c in choices_of(program)]

    def __repr__(self) -> str:
        """Show the name."""
        return "independence()"


def _total(likelihood: jnp.ndarray, *drawn: jnp.ndarray) -> jnp.ndarray:
    return sum((jnp.sum(d) for d in drawn), likelihood)
