"""Evidence estimate: a value of a program that a particle filter estimates, with one path picked by weight.

Law: E[Z-hat f(path)] is the integral of f over the program's measure, so Z-hat may stand for a density wherever only
its mean counts: as a factor of another program, or in the ratio of a pseudo-marginal kernel.

Reference: Andrieu and Roberts (2009), The pseudo-marginal approach for efficient Monte Carlo computations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lawful.addresses import Address
from lawful.form import Factor, Form, Site, Var, walk
from lawful.form.builder import Block
from lawful.form.choices import choices_of
from lawful.form.liveness import without_dead_code
from lawful.passes.simplify import simplified
from lawful.passes.thread_sites import Answer, Answers, interpose

from ..registered import stored_as
from ..representations.population import Advance
from ..representations.sequential import sequential
from .collapse import Collapse
from .pauses import repeat_to_end, spawn
from .resample import PushEvidence, When, resample


@stored_as("filter")
@dataclass(frozen=True)
class Filter:
    """How to estimate: the settings of a particle filter."""

    particles: int
    scheme: Any
    when: When | None

    def __call__(self, program: Form) -> Form:
        """Write the filter: outputs are those of the program on one path; its weight is the estimate."""
        program = replace(program, in_tree=None, out_tree=None)
        if not choices_of(program):
            return program
        step = resample(self.scheme, self.when) >> Advance >> PushEvidence
        run = spawn(self.particles) >> PushEvidence >> repeat_to_end(step) >> Collapse
        return simplified(run(sequential(program)))


def with_evidence(form: Form) -> Form:
    """Turn the weight of a form into its last output, as natural log; what it draws stays drawn."""
    found = interpose(form, _Drawn(), weighing(form))
    outputs = (*found.parts.own, found.parts.sums[1])
    return without_dead_code(replace(found.form, outputs=outputs))


def weighing(form: Form) -> set[Address]:
    """Give the addresses of all factors and observations."""
    return {n.address for n in walk(form) if isinstance(n, Factor) or (isinstance(n, Site) and n.observed is not None)}


class _Drawn(Answers):
    """The rule that leaves every choice as it is."""

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        """Append the site."""
        block.nodes.append(site)
        return Answer(site.out)
