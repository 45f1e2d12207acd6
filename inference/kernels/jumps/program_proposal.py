"""Program proposals: a program of the current choices that draws new values for some of them.

Law: with q the density of what the program draws, the acceptance ratio is pi(y) q(x | y) / (pi(x) q(y | x)), both
directions scored by running the program again. Sites that begin to run and are not proposed are drawn from their prior,
and those that stop and would not be proposed on the way back are dropped with theirs: these densities cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block, total
from lawful.form.bundles import listed
from lawful.form.choices import Choice, choices_of
from lawful.form.dependence import dependence
from lawful.form.liveness import has_weight
from lawful.form.markov_blanket import reached
from lawful.form.operations.sums import signed
from lawful.passes.thread_sites import interpose
from lawful.tracing.trace import trace

from ...contract import Contract
from ...representations.kernel_form import Proposed, State
from ..base.base import INVARIANT, flag_per_choice, scored_anew
from ..base.prior_proposal import PriorProposal
from ..base.proposal_rules import Draw, Replace, Score
from ..base.redraw import ScoreKept
from .taken import Taken, taken


@dataclass(frozen=True)
class Standing:
    """A choice in a state: its value, and whether it runs."""

    choice: Choice
    value: Var
    runs: Var


@dataclass(frozen=True)
class Scored:
    """A choice of a proposal: its value, the log density of drawing it, and whether it is drawn."""

    choice: Choice
    value: Var
    score: Var
    runs: Var


@dataclass(frozen=True)
class Replaced:
    """What the rule `Replace` gives of a choice: its value, and the log density of what was drawn from the prior."""

    value: Var
    drawn: Var


@dataclass(frozen=True)
class ProgramProposal:
    """New values drawn by a program; `current` says whether it is given the current choices.

    The way back is scored by the same program, or by another one, `back`.
    """

    program: Callable[..., Any]
    current: bool = True
    contract: Contract = INVARIANT
    back: ProgramProposal | None = None

    def propose(
        self, block: Block, program: Form, inputs: Sequence[Var], choices: Sequence[Choice], state: State
    ) -> Proposed:
        """Append the draws, both scores of them, and the terms of the target that they reach."""
        here = standing(block, choices, state.values, state.flags)
        forth = self._drawn(block, program, inputs, here)
        offered = [c for c in choices if c.name in forth]
        reach = reached(program, [c.address for c in offered])

        always = frozenset(c.address for c in offered if not forth[c.name].choice.conditional)
        rule = Replace(frozenset(c.address for c in offered), always, reach.switched)
        given = [_offer(block, old, forth.get(name)) for name, old in here.items()]
        new = interpose(program, rule, reach.terms).spliced(block, listed((inputs, given)))
        after = {c.name: Replaced(*out) for c, out in zip(choices, new.outputs, strict=True)}
        there = standing(block, choices, [found.value for found in after.values()], new.flags)

        back = (self.back or self)._scored(block, program, inputs, there, here)
        kept = [(old.value, _kept(block, old, there[name], back.get(name))) for name, old in here.items()]
        rule_back = ScoreKept(frozenset(c.address for c in choices if not c.conditional))
        before = interpose(program, rule_back, reach.terms).spliced(block, listed((inputs, kept)))
        rests = zip(choices, before.outputs, strict=True)
        dropped = [rest for c, (rest,) in rests if c.conditional and c.address in reach.terms]
        drawn = [after[c.name].drawn for c in choices if c.address in reach.terms & reach.switched]

        q_forth = [_counted(block, found.score, there[name]) for name, found in forth.items()]
        q_back = [_counted(block, back[name].score, here[name]) for name in forth]
        target = signed(block, new.sums, before.sums, "target")
        ratio = signed(block, (target, summed(block, q_back)), (summed(block, q_forth),), "log ratio")
        for name, found in forth.items():
            if found.choice.conditional:
                both = (_spread(block, way.runs, here[name].choice) for way in (found, back[name]))
                ratio = block.det(_matched, ratio, *both, here[name].runs, there[name].runs, label="same move back?")
        gained = state.log_density, target, summed(block, drawn)
        log_density = signed(block, gained, (summed(block, dropped),), "log density")
        values = tuple(found.value for found in there.values())
        return Proposed(State(values, new.flags, log_density), ratio, scored_anew(program))

    def _drawn(
        self, block: Block, program: Form, inputs: Sequence[Var], here: Mapping[str, Standing]
    ) -> dict[str, Scored]:
        """Append the draws of new values from a state, by name."""
        form = self.trace(program)
        drawn = choices_of(form)
        if self.back is not None:
            self._refuse_other_sites(drawn, choices_of(self.back.trace(program)))
        forth = interpose(form, Draw()).spliced(block, self._operands(block, program, inputs, here))
        runs = flag_per_choice(block, drawn, forth.flags)
        found = zip(drawn, forth.outputs, runs, strict=True)
        return {c.name: Scored(c, value, score, flag) for c, (value, score), flag in found}

    def _scored(
        self, block: Block, program: Form, inputs: Sequence[Var], here: Mapping[str, Standing],
        old: Mapping[str, Standing],
    ) -> dict[str, Scored]:  # fmt: skip
        """Append, by name, the log densities of drawing an old state from a new one, and whether each is drawn."""
        scoring = interpose(self.trace(program), Score())
        drawn, operands = scoring.choices, self._operands(block, program, inputs, here)
        values = [old[c.name].value for c in drawn]
        back = scoring.spliced(block, [*operands, *values])
        runs = flag_per_choice(block, drawn, back.flags)
        found = zip(drawn, values, back.outputs, runs, strict=True)
        return {c.name: Scored(c, value, score, flag) for c, value, (score,), flag in found}

    def _operands(self, block: Block, program: Form, inputs: Sequence[Var], here: Mapping[str, Standing]) -> list[Var]:
        """List what the traced proposal is given in a state."""
        choices, values, runs = zip(*((at.choice, at.value, at.runs) for at in here.values()), strict=True)
        return Data(block, choices, self._taken(program).values(inputs)).operands(self.current, values, runs)

    def _refuse_other_sites(self, forth: Sequence[Choice], back: Sequence[Choice]) -> None:
        """Refuse a way back that draws other sites than the way forth, since it could not come from where it went."""
        there, here = {c.name for c in forth}, {c.name for c in back}
        if there != here:
            raise LawfulError(
                f"proposal {self!r}: it samples {', '.join(sorted(there))}, and its way back {self.back!r} samples "
                f"{', '.join(sorted(here))}. Fix: both sample the same sites; what one leaves alone it samples from a "
                "point mass at its value."
            )

    def plan(self, program: Form) -> list[str]:
        """Say which site is proposed how."""
        drawn = {c.name: c for c in choices_of(self.trace(program))}
        lines = []
        for choice in choices_of(program):
            if choice.name in drawn:
                lines.append(f"{choice.name}: proposed by {self!r} from {drawn[choice.name].law.label}")
            else:
                lines.append(f"{choice.name}: not moved")
        return lines

    def trace(self, program: Form) -> Form:
        """Trace the proposal for the choices of a program.

        Raises: LawfulError where it draws what is not a choice of the program, or weighs.
        """
        choices = choices_of(program)
        state = {c.name: jax.ShapeDtypeStruct(c.full_shape, c.dtype) for c in choices}
        arrays, named = self._taken(program).given([jax.ShapeDtypeStruct(v.shape, v.dtype) for v in program.inputs])
        form = trace(self.program, *((state,) if self.current else ()), *arrays, **named)
        check_proposal(form, choices, repr(self))
        return form

    def _taken(self, program: Form) -> Taken:
        """Read what the proposal takes of the model's arguments behind the current choices."""
        return taken(self.program, int(self.current), program, repr(self))

    def __repr__(self) -> str:
        """Show the name of the program."""
        name = getattr(self.program, "__name__", "program")
        return f"{name}" if self.current else f"independence({name})"


def standing(
    block: Block, choices: Sequence[Choice], values: Sequence[Var], flags: Sequence[Var]
) -> dict[str, Standing]:
    """Name the choices of a state, from their values and the flags of the conditional ones."""
    runs = flag_per_choice(block, choices, flags)
    return {c.name: Standing(c, value, flag) for c, value, flag in zip(choices, values, runs, strict=True)}


def _offer(block: Block, old: Standing, found: Scored | None) -> tuple[Var, Var, Var, Var]:
    """Give what the rule `Replace` asks of a choice: old value, whether it ran, the value offered, whether it is."""
    if found is None:
        return old.value, old.runs, old.value, block.constant(np.zeros(old.choice.loops, bool))
    return old.value, old.runs, found.value, _spread(block, found.runs, old.choice)


def _kept(block: Block, old: Standing, there: Standing, back: Scored | None) -> Var:
    """Append which parts of an old value are scored: all but those dropped as prior draws."""
    choice = old.choice
    shape = (*choice.loops, *choice.units)
    if not choice.conditional:
        return block.constant(np.ones(shape, bool))
    again = block.constant(np.zeros(choice.loops, bool)) if back is None else _spread(block, back.runs, choice)
    kept: Var = block.det(_Kept(shape), old.runs, there.runs, again, label="kept?")
    return kept


def _spread(block: Block, flag: Var, choice: Choice) -> Var:
    """Give each step of a loop the flag of a proposal that draws all steps at once."""
    return flag if flag.shape == choice.loops else block.det(_Broadcast(choice.loops), flag, label="offered?")


def _counted(block: Block, score: Var, at: Standing) -> Var:
    """Count the score of a value that the state has."""
    if at.choice.conditional:
        score = block.det(where_active, at.runs, score, label="counted?")
    return block.det(jnp.sum, score, label="sum") if score.shape else score


def check_proposal(form: Form, choices: Sequence[Choice], name: str) -> None:
    """Refuse a proposal that draws what is not a choice of the program, or in another shape, or that weighs."""
    known = {c.name: c for c in choices}
    drawn = choices_of(form)
    if has_weight(form):
        raise LawfulError(f"proposal {name}: it observes or weighs. Fix: a proposal only samples new values.")
    if not drawn:
        raise LawfulError(f"proposal {name}: it samples nothing. Fix: sample new values under the names of sites.")
    children: dict[Address, set[Address]] = {}
    for tail, head in dependence(form).edges:
        children.setdefault(tail, set()).add(head)
    for choice in drawn:
        own = known.get(choice.name)
        if own is None:
            raise LawfulError(
                f"proposal {name}: it samples '{choice.name}' ({choice.source}), which is no choice of the program; "
                f"these are: {', '.join(known)}. Fix: use the site's name; other randomness has no way back.",
                site=choice.address,
            )
        if choice.full_shape != own.full_shape or choice.dtype != own.dtype:
            raise LawfulError(
                f"proposal {name}: '{choice.name}' ({choice.source}) has shape {choice.full_shape} and type "
                f"{choice.dtype}, but the program's site ({own.source}) has {own.full_shape}, {own.dtype}.",
                site=choice.address,
            )
        if own.conditional and (children.get(choice.address) or choice.loops != own.loops):
            why = "others depend on it" if children.get(choice.address) else "it draws all steps at once"
            raise UnsupportedProgramError(
                f"proposal {name}: '{choice.name}' ({choice.source}) only runs in a branch of the program, and in the "
                f"proposal {why}, so what is drawn in vain has no density of its own. Fix: let the program's prior "
                "draw it, or propose it apart.",
                site=choice.address,
            )


@dataclass(frozen=True)
class Data:
    """What a program of the current choices is given."""

    block: Block
    choices: Sequence[Choice]
    arrays: Sequence[Var]

    def operands(self, current: bool, values: Sequence[Var], flags: Sequence[Var]) -> list[Var]:
        """List the operands of the traced proposal: choices by name, zero where they do not run, then arrays."""
        given = {}
        for choice, value, flag in zip(self.choices, values, flags, strict=True):
            given[choice.name] = (
                self.block.det(where_active, flag, value, label="current") if choice.conditional else value
            )
        return [*(given[name] for name in sorted(given) if current), *self.arrays]


@dataclass(frozen=True)
class _Broadcast:
    shape: tuple[int, ...]

    def __call__(self, flag: jax.Array) -> jax.Array:
        return jnp.broadcast_to(flag, self.shape)


@dataclass(frozen=True)
class _Kept:
    """Which parts of the old value are scored: all but those dropped as prior draws."""

    shape: tuple[int, ...]

    def __call__(self, now: jax.Array, later: jax.Array, again: jax.Array) -> jax.Array:
        kept = now & (later | again)
        return jnp.broadcast_to(kept.reshape(kept.shape + (1,) * (len(self.shape) - kept.ndim)), self.shape)


def where_active(flag: jax.Array, value: jax.Array) -> jax.Array:
    """Give zero where a choice does not run."""
    return jnp.where(flag.reshape(flag.shape + (1,) * (value.ndim - flag.ndim)), value, jnp.zeros_like(value))


def _matched(ratio: Any, forth: Any, back: Any, now: Any, later: Any) -> Any:
    """Reject where a site that stays is proposed in one direction only: there is no way back."""
    return jnp.where(jnp.all(~(now & later) | (forth == back)), ratio, -jnp.inf)


def summed(block: Block, terms: Sequence[Var]) -> Var:
    """Append the sum of all elements of some values."""
    flat = [block.det(jnp.sum, t, label="sum") if t.shape else t for t in terms]
    return total(block, flat)


def independence(program: Callable[..., Any] | None = None) -> Any:
    """Propose new values without a look at the current ones.

    Args:
        program: samples new values under the names of sites; its arguments, if it has any, are the arrays among the
            model's arguments, and behind a `*` these arguments by name. Default: the prior of all sites, so that the
            ratio is that of the likelihoods.

    >>> import numpyro.distributions as dist, lawful
    >>> independence(), independence(lambda: lawful.sample("x", dist.Normal(0.0, 2.0)))
    (independence(), independence(<lambda>))
    """
    return PriorProposal() if program is None else ProgramProposal(program, current=False)
