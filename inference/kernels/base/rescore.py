"""Rescore: the log density of a new state from that of the old one and the terms that the moved choices reach.

Law: the log density is that of the program at the new choices, to rounding. Where nearly all of it changes, all of it
is scored at the new choices, and nothing at the old ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.markov_blanket import Blanket, all_terms, work
from lawful.form.operations.sums import signed
from lawful.passes.thread_sites import Given, Threaded, interpose

from .base import scored_anew


@dataclass(frozen=True)
class Rescored:
    """A new state, scored: `after` and `before` are the terms that change, whose difference is that of the states.

    `leave` is the way back of a kernel that moves so: it scores the state anew where differences add up to its density.
    """

    flags: tuple[Var, ...]
    after: Var
    before: Var
    log_density: Var
    leave: Form | None


def reached_score(program: Form, reach: Blanket) -> tuple[Threaded, bool]:
    """Write the form that scores what a move reaches, and tell whether that is all of the density."""
    whole = reach.terms == all_terms(program)
    return interpose(program, Given(), None if whole else reach.terms, apart=False), whole


def rescored(
    block: Block,
    program: Form,
    reach: Blanket,
    inputs: Sequence[Var],
    old: Sequence[Var],
    log_density: Var,
    new: Sequence[Var],
) -> Rescored:
    """Append the log density at new values of the choices.

    Args: reach: what the move reaches; old: the old values, of the given log density.
    """
    scoring, whole = reached_score(program, reach)
    everything = interpose(program, Given(), None, apart=False)
    if work(everything.form) < 2 * work(scoring.form):  # the rest costs less than these terms at the old values
        scoring, whole = everything, True
    there = scoring.spliced(block, [*inputs, *new])
    after = there.sums[0]
    if whole:
        return Rescored(there.flags, after, log_density, after, None)
    before = scoring.spliced(block, [*inputs, *old]).sums[0]
    there_density = signed(block, (log_density, after), (before,), "log density")
    return Rescored(there.flags, after, before, there_density, scored_anew(program))
