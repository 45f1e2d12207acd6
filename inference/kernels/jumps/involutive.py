"""Involutive: draw auxiliary choices, apply a map that is its own inverse, accept by the ratio of the two densities.

Law: with v ~ q(. | x) and (x', v') = phi(x, v), phi(phi(z)) = z, the kernel accepts with
min(1, pi(x') q(v' | x') |det J| / (pi(x) q(v | x))), so pi(dx) K(x, dy) is symmetric. The Jacobian runs over the
continuous coordinates that are there before and after. A point from which phi does not lead back is rejected and
counted: on the points from which it does, phi is an involution, so the law holds whatever the map.

Reference: Green (1995), Reversible jump Markov chain Monte Carlo computation; Neklyudov, Welling, Egorov and Vetrov
(2020), Involutive MCMC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import has_weight
from lawful.form.markov_blanket import Blanket, reached
from lawful.form.operations.sums import signed
from lawful.passes.thread_sites import interpose
from lawful.tracing.trace import trace

from ...contract import Contract
from ...representations.kernel_form import KernelForm, State, state_inputs
from ..base.acceptance import INFO, accept
from ..base.base import INVARIANT, finished, flag_per_choice, nothing_to_move
from ..base.proposal_rules import Draw, Score
from ..base.rescore import rescored
from ..base.way_back import Checked, Declared, Distance
from .log_jacobian import LogJacobian, log_jacobian_of
from .maps import MapForm, map_form
from .program_proposal import Data, summed, where_active
from .taken import taken

NUMBERS = ("n_no_return", "n_unmatched")


@dataclass(frozen=True)
class Moved:
    """Where a map leads, as values of a block.

    Attributes:
        state: the new state.
        auxiliary: the new auxiliary values.
        log_ratio: log of the ratio of acceptance; -inf where there is no way back.
        log_jacobian: log |det J|.
        error: distance of the second application's result from the start, relative to 1 + |value|; infinite where a
            discrete value differs.
        no_return: whether the map does not lead back from a point of positive density.
        unmatched: whether another number of continuous coordinates is there after the move, at positive density.
        before: the flags of all entries of the map at the start.
        after: the same after the move.
        leave: the way back of a kernel that moves so.
    """

    state: State
    auxiliary: tuple[Var, ...]
    log_ratio: Var
    log_jacobian: Var
    error: Var
    no_return: Var
    unmatched: Var
    before: tuple[Var, ...]
    after: tuple[Var, ...]
    leave: Form | None


@dataclass(frozen=True)
class Parts:
    """What an involutive kernel is made of for a program."""

    choices: tuple[Choice, ...]
    auxiliary: Form
    drawn: tuple[Choice, ...]
    map: MapForm
    jacobian: LogJacobian | None
    reach: Blanket


@dataclass(frozen=True)
class Involutive:
    """The kernel of an involution; see `involutive`."""

    map: Callable[..., Any]
    auxiliary: Callable[..., Any] | None = None
    log_jacobian: Callable[..., Any] | None = None
    tolerance: float | None = None
    contract: Contract = INVARIANT

    def build(self, program: Form) -> KernelForm:
        """Write draw, map, ratio and coin."""
        parts = self.parts(program)
        block, inputs, state = Block(), tuple(v.like() for v in program.inputs), state_inputs(parts.choices)
        flags = flag_per_choice(block, parts.choices, state.flags)
        operands = self.operands(block, program, parts.choices, inputs, state.values, flags)
        forth = interpose(parts.auxiliary, Draw()).spliced(block, operands)
        values, scores = ([group[k] for group in forth.outputs] for k in range(2))
        moved = self.moved(block, program, parts, inputs, state, values, scores, forth.flags)
        probability, coin, broken = accept(block, moved.log_ratio)
        pairs = zip(moved.state.flat, state.flat, strict=True)
        new = [
            here if there is here else block.det(jnp.where, coin, there, here, label="accept?") for there, here in pairs
        ]
        counts = [
            block.det(_count, v, label=n) for n, v in zip(NUMBERS, (moved.no_return, moved.unmatched), strict=True)
        ]
        form = block.form((*inputs, *state.flat), (*new, probability, coin, broken, *counts))
        return KernelForm(finished(form), parts.choices, (*INFO, *NUMBERS), leave=moved.leave)

    def parts(self, program: Form) -> Parts:
        """Trace auxiliary program and map for a program.

        Raises: LawfulError where the names, shapes or types of one of them do not fit.
        """
        choices = choices_of(program)
        if not choices:
            raise nothing_to_move()
        auxiliary = self._auxiliary(program, choices)
        drawn = choices_of(auxiliary)
        moved = map_form(self.map, choices, drawn, repr(self))
        touched = [choices[i].address for i in moved.touched if i < len(choices)]
        if not touched:
            raise LawfulError(
                f"{self!r}: the map moves no choice of the program: {', '.join(c.name for c in choices)}. "
                "Fix: return new values under the names of sites in its first dictionary."
            )
        reach = reached(program, touched)
        steady = (i for i, c in enumerate((*choices, *drawn))
                  if not c.conditional or (i < len(choices) and c.address not in reach.switched))  # fmt: skip
        moved = replace(moved, steady=frozenset(steady))
        return Parts(choices, auxiliary, drawn, moved, log_jacobian_of(moved, repr(self)), reach)

    def moved(
        self,
        block: Block,
        program: Form,
        parts: Parts,
        inputs: Sequence[Var],
        state: State,
        drawn: Sequence[Var],
        scores: Sequence[Var],
        runs: Sequence[Var],
    ) -> Moved:
        """Append the move.

        Args: drawn: auxiliary values; scores: their log densities; runs: flags of the conditional ones.
        """
        choices, n = parts.choices, len(parts.choices)
        flags, here = flag_per_choice(block, choices, state.flags), flag_per_choice(block, parts.drawn, runs)
        start = _active(block, parts, [*state.values, *drawn], [*flags, *here])
        there = block.splice(parts.map.form, start)
        values = tuple(there[:n])
        new = rescored(block, program, parts.reach, inputs, state.values, state.log_density, values)
        flags_after = flag_per_choice(block, choices, new.flags)

        auxiliary = there[n:]
        operands = self.operands(block, program, choices, inputs, values, flags_after)
        back = interpose(parts.auxiliary, Score()).spliced(block, [*operands, *auxiliary])
        there_flags = flag_per_choice(block, parts.drawn, back.flags)

        all_before, all_after = [*flags, *here], [*flags_after, *there_flags]
        log_jacobian, matched = self._jacobian(block, parts, start, all_before, all_after)
        q_forth, q_back = (summed(block, s) for s in (scores, back.values))
        plain = signed(block, (new.after, q_back, log_jacobian), (new.before, q_forth), "log ratio")
        error = self._error(block, parts, start, _active(block, parts, there, all_after), all_before)
        checked = block.det(Checked(self.tolerance_in_use()), plain, error, matched, label="way back?")
        ratio, no_return, unmatched = checked
        state = State(values, new.flags, new.log_density)
        flags_of = tuple(all_before), tuple(all_after)
        return Moved(state, tuple(auxiliary), ratio, log_jacobian, error, no_return, unmatched, *flags_of, new.leave)

    def plan(self, program: Form) -> list[str]:
        """Say which site the map moves."""
        parts = self.parts(program)
        moves = set(parts.map.touched)
        drawn = ", ".join(c.name for c in parts.drawn)
        how = f"moved by {self!r}" + (f", which draws {drawn}" if drawn else "")
        return [f"{c.name}: {how if i in moves else 'not moved'}" for i, c in enumerate(parts.choices)]

    def _auxiliary(self, program: Form, choices: Sequence[Choice]) -> Form:
        """Trace the auxiliary program for the choices of a program."""
        if self.auxiliary is None:
            return Block().form(self._given(program, choices), ())
        state = {c.name: jax.ShapeDtypeStruct(c.full_shape, c.dtype) for c in choices}
        structs = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in program.inputs]
        arrays, named = taken(self.auxiliary, 1, program, repr(self)).given(structs)
        form = trace(self.auxiliary, state, *arrays, **named)
        if has_weight(form):
            raise LawfulError(f"{self!r}: its auxiliary program observes or weighs. Fix: let it only sample.")
        return form

    def _given(self, program: Form, choices: Sequence[Choice]) -> list[Var]:
        return [Var(c.full_shape, c.dtype) for c in sorted(choices, key=lambda c: c.name)]

    def operands(
        self, block: Block, program: Form, choices: Sequence[Choice], inputs: Sequence[Var], values: Sequence[Var],
        flags: Sequence[Var],
    ) -> list[Var]:  # fmt: skip
        """List what the auxiliary program is given in a state."""
        return Data(block, choices, self.taken(program, inputs)).operands(True, values, flags)

    def taken[V](self, program: Form, inputs: Sequence[V]) -> list[V]:
        """List the inputs of the model that the auxiliary program takes."""
        return [] if self.auxiliary is None else taken(self.auxiliary, 1, program, repr(self)).values(inputs)

    def _jacobian(
        self, block: Block, parts: Parts, start: Sequence[Var], before: Sequence[Var], after: Sequence[Var]
    ) -> tuple[Var, Var]:
        """Append log |det J|, and whether the numbers of coordinates are equal."""
        log_jacobian, matched = block.constant(np.zeros((), jnp.result_type(float))), block.constant(np.ones((), bool))
        if parts.jacobian is not None:
            conditional = [i for i, e in enumerate(parts.map.entries) if e.choice.conditional]
            flags = [group[i] for group in (before, after) for i in conditional]
            log_jacobian, matched = block.det(parts.jacobian, *start, *flags, label="log |det J|")
        if self.log_jacobian is not None:
            n = len(parts.choices)
            names = [tuple(c.name for c in group) for group in (parts.choices, parts.drawn)]
            log_jacobian = block.det(Declared(self.log_jacobian, names[0], names[1], n), *start, label="declared")
        return log_jacobian, matched

    def _error(
        self, block: Block, parts: Parts, start: Sequence[Var], there: Sequence[Var], flags: Sequence[Var]
    ) -> Var:
        """Append the distance of the map's second result from the start."""
        unknown = [i for i, known in enumerate(parts.map.returned) if not known]
        if not unknown:
            return block.constant(np.zeros((), jnp.result_type(float)))
        again = block.splice(parts.map.form, there)
        continuous = tuple(parts.map.entries[i].continuous for i in unknown)
        groups = ([v[i] for i in unknown] for v in (start, again, flags))
        return block.det(Distance(continuous), *(v for group in groups for v in group), label="distance from the start")

    def tolerance_in_use(self) -> float:
        """Largest distance of a second application from the start."""
        if self.tolerance is not None:
            return self.tolerance
        return float(np.sqrt(np.finfo(np.dtype(jnp.result_type(float))).eps))

    def __repr__(self) -> str:
        """Show the names of map and program."""
        names = [getattr(f, "__name__", "function") for f in (self.map, self.auxiliary) if f is not None]
        return f"involutive({', auxiliary='.join(names)})"


def involutive(
    map: Callable[..., Any],
    auxiliary: Callable[..., Any] | None = None,
    *,
    log_jacobian: Callable[..., Any] | None = None,
    tolerance: float | None = None,
) -> Involutive:
    """Move by a map that is its own inverse, on the choices and on auxiliary choices that a program draws.

    The determinant of the map's Jacobian is computed, over the coordinates that the map moves: what it passes on as it
    was given, as in a swap, costs nothing. Whether the map leads back is checked at every move: `stats["n_no_return"]`
    counts the moves that were rejected for it, and the result has a finding. `check.involution` tests the map itself.

    Args:
        map: (choices, auxiliary) -> (choices, auxiliary), each a dictionary by the names of sites; a value that is left
            out is kept. Discrete values stay discrete. A site that does not run is given as zero.
        auxiliary: a program that samples auxiliary choices under names of its own, of the current choices by name, or
            of these and of the model's arguments as a proposal of `mh`. Default: none.
        log_jacobian: (choices, auxiliary) -> `log |det J|` of the map there, taken instead of the computed one: for
            maps of very many coordinates whose determinant is known.
        tolerance: largest distance of map(map(z)) from z, relative to `1 + |z|`; default: the root of the precision.

    Raises: when the kernel is built, LawfulError for names, shapes and types that are not those of the sites, and for a
        map that is seen to be no involution.

    Reference: Green (1995), Reversible jump Markov chain Monte Carlo computation and Bayesian model determination.

    >>> import numpyro.distributions as dist, lawful
    >>> def model():
    ...     lawful.sample("x", dist.Gamma(2.0, 1.0))
    >>> def factor(current):
    ...     lawful.sample("log_factor", dist.Normal(0.0, 0.5))
    >>> def stretch(choices, auxiliary):
    ...     by = auxiliary["log_factor"]
    ...     return {"x": choices["x"] * jnp.exp(by)}, {"log_factor": -by}
    >>> involutive(stretch, factor).plan(lawful.trace(model))
    ['x: moved by involutive(stretch, auxiliary=factor), which draws log_factor']
    """
    for name, given in (("map", map), ("auxiliary", auxiliary), ("log_jacobian", log_jacobian)):
        if given is not None and not callable(given):
            raise LawfulError(f"involutive: expected a function as {name}, got {type(given).__name__}.")
    return Involutive(map, auxiliary, log_jacobian, tolerance)


def _active(block: Block, parts: Parts, values: Sequence[Var], flags: Sequence[Var]) -> list[Var]:
    """Give zero for entries that do not run."""
    return [
        block.det(where_active, flag, value, label="current") if entry.choice.conditional else value
        for entry, value, flag in zip(parts.map.entries, values, flags, strict=True)
    ]


def _count(flag: jax.Array) -> jax.Array:
    return flag.astype(jnp.int32)
