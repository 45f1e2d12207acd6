"""Chain result: what the rows of chains become in a result, draws with the values named at each, and a tally.

Law: a row becomes the same numbers whichever rows come with it; named values are computed anew, never replayed. The
tally, what findings need to know of all rows in numbers that do not grow with the run, is the same however these are
divided, so a run that keeps no row is judged like one that keeps all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from lawful.backends.xla import emit
from lawful.form import Form
from lawful.form.choices import Choice, is_own
from lawful.passes.thread_sites import score

from ...findings.findings import MAP_FAULTS
from ...results.record import Warmup, masked
from .chain_loop import Drawn

LOOKED = 256  # rows that are compared at once
BROKEN = "n_nonfinite"
COUNTED = (BROKEN, *(number for _, number, _, _ in MAP_FAULTS))


class Parts(NamedTuple):
    """The parts of states: values by name, flags of the conditional ones by name, and the log density."""

    values: dict[str, Any]
    flags: dict[str, Any]
    log_density: Any


def parts_of(choices: Sequence[Choice], state: Sequence[Any]) -> Parts:
    """Take a state apart, or rows of states."""
    names, conditional = [c.name for c in choices], [c.name for c in choices if c.conditional]
    values = dict(zip(names, state[: len(names)], strict=True))
    return Parts(values, dict(zip(conditional, state[len(names) : -1], strict=True)), state[-1])


@dataclass(frozen=True, eq=False)
class Rows:
    """How the rows of chains are read.

    Attributes:
        choices: what a state has values for, the choices of the program first.
        program: how many of these are the program's.
        info: names of the numbers of a step.
        thin: steps of a draw.
        learns: whether the warm-up tunes the kernel: it then tries steps that are too long.
        named_choices: what the program names at each draw.
        named: computes that, from `deterministics`; None where nothing is named.
        scored: computes log densities anew; None where those of the rows are no sums of differences.
    """

    choices: tuple[Choice, ...]
    program: int
    info: tuple[str, ...]
    thin: int
    learns: bool
    named_choices: tuple[Choice, ...]
    named: Callable[..., Any] | None
    scored: Callable[..., Any] | None

    def all_of(self, inputs: Sequence[Any], out: Drawn, start: Sequence[Any]) -> tuple[Warmup, Warmup | None, Tally]:
        """Read all that chains left: gives draws, warm-up where there was one, and what was seen of both.

        Args:
            inputs: arrays of the program's arguments.
            out: what the chains left.
            start: the state at the start of the run.
        """
        numbers = {name: np.asarray(x) for name, x in zip(self.info, out.numbers, strict=True)}
        tally, parts = Tally.at_start(start, self.info), list[Warmup]()
        for phase, (states, part) in enumerate(((out.early, slice(out.warm)), (out.late, slice(out.warm, None)))):
            states, own = [np.asarray(x) for x in states], {name: x[part] for name, x in numbers.items()}
            tally = self.counted(tally, start, phase, states, own)
            parts.append(self.shown(inputs, phase, states, own))
        return parts[1], parts[0] if out.warm else None, tally

    def counted(
        self, tally: Tally, start: Sequence[Any], phase: int, states: Sequence[Any], numbers: Mapping[str, Any]
    ) -> Tally:
        """Look at some rows of warm-up (0) or draws (1)."""
        return tally.plus(start, states, numbers, learns=not phase and self.learns)

    def shown(
        self, inputs: Sequence[Any], phase: int, states: Sequence[np.ndarray], numbers: Mapping[str, np.ndarray]
    ) -> Warmup:
        """Give some rows (step, chain, ...) of warm-up (0) or draws (1) as the result has them, (chain, draw, ...).

        A value is NaN where its arm did not run. The log density is the last value of a state.
        """
        told = {name: np.moveaxis(x, 1, 0) for name, x in numbers.items()}
        if phase:
            told = {name: thinned(name, x, self.thin) for name, x in told.items()}
        values, flags, lp = parts_of(self.choices, [np.moveaxis(x, 1, 0) for x in states])
        draws = without_own(masked(values, flags) if flags else values, self.choices)
        if self.named is not None:
            draws |= named_values(self.named, self.named_choices, inputs, list(values.values())[: self.program])
        if self.scored is not None and lp.size:
            columns = [v.reshape(lp.size, *v.shape[2:]) for v in list(values.values())[: self.program]]
            lp = np.asarray(self.scored(inputs, columns)).reshape(lp.shape)
        return Warmup(draws, {"lp": lp, **told})


def thinned(name: str, values: np.ndarray, thin: int) -> np.ndarray:
    """Give a number of every step one value for each draw: counts add up, of others the last step tells.

    >>> steps = np.array([[1, 0, 2, 5]])
    >>> thinned("n_nonfinite", steps, 2).tolist(), thinned("accepted", steps, 2).tolist()
    ([[1, 7]], [[0, 5]])
    """
    grouped = values.reshape(len(values), values.shape[1] // thin, thin)
    found: np.ndarray = np.sum(grouped, axis=-1) if name.startswith("n_") else grouped[..., -1]
    return found


def naming(form: Form, own: int) -> Callable[..., Any]:
    """Compute the named values again from the choices, then whether their arms ran; they are never replayed."""
    answered = score(form)
    wanted = replace(answered.form, outputs=answered.form.outputs[own : answered.own])
    run = emit(wanted)
    return lambda inputs, values: run(jax.random.key(0), *inputs, *values)[0]


def deterministics(form: Form, own: int) -> Callable[..., Any]:
    """Compile the named values of every draw of every chain."""
    return jax.jit(jax.vmap(jax.vmap(naming(form, own), (None, 0)), (None, 0)))


def named_values(
    run: Callable[..., Any], named: Sequence[Choice], inputs: Sequence[Any], values: Sequence[Any]
) -> dict[str, np.ndarray]:
    """Give the values named at each draw (chain, draw, ...), NaN where their arm did not run.

    Args:
        run: from `deterministics`.
        named: what is named.
        inputs: arrays of the program's arguments.
        values: of each choice (chain, draw, ...).
    """
    found = [np.asarray(x) for x in run(inputs, list(values))]
    flags = dict(zip((c.name for c in named if c.conditional), found[len(named) :], strict=True))
    return masked(dict(zip((c.name for c in named), found[: len(named)], strict=True)), flags)


def without_own[T](values: Mapping[str, T], choices: Sequence[Choice]) -> dict[str, T]:
    """Leave out what an algorithm inside the program drew, as the noise of a filter."""
    own = {c.name for c in choices if is_own(c)}
    return {name: value for name, value in values.items() if name not in own}


class Tally(NamedTuple):
    """What was seen of chains so far.

    Attributes:
        rows: rows so far.
        moved: of each chain and value (chain, value), whether it was ever elsewhere than at the start.
        counts: sums of the numbers that count faults.
    """

    rows: Any
    moved: np.ndarray
    counts: dict[str, Any]

    @staticmethod
    def at_start(state: Sequence[Any], names: Sequence[str]) -> Tally:
        """Nothing was seen yet.

        Args:
            state: values of the chains (chain, ...), the log density last.
            names: names of the numbers.
        """
        moved = np.zeros((len(state[-1]), len(state) - 1), bool)
        counts = {name: np.zeros((), np.int64) for name in names if name in COUNTED}
        return Tally(np.zeros((), np.int64), moved, counts)

    def plus(
        self, start: Sequence[Any], states: Sequence[Any], numbers: Mapping[str, Any], *, learns: bool = False
    ) -> Tally:
        """Look at further rows.

        Args:
            start: the state at the start of the run.
            states: (row, chain, ...) of each value.
            numbers: (step, chain) by name, several steps a row where draws are thinned.
            learns: whether the kernel is tuned in these steps: it then tries some that are too long.

        >>> state, rows = [np.zeros(2), np.zeros(2)], [np.array([[0.0, 1.0]]), np.zeros((1, 2))]
        >>> Tally.at_start(state, ["n_unmatched"]).plus(state, rows, {"n_unmatched": np.array([[2, 3]])}).counts
        {'n_unmatched': np.int64(5)}
        """
        rows = len(states[0])
        if not rows:
            return self
        told = {name: np.asarray(numbers[name]) for name in self.counts}
        counts = {
            name: self.counts[name] + (0 if learns and name == BROKEN else np.sum(told[name], dtype=np.int64))
            for name in told
        }
        moved = _moved(self.moved, start[:-1], states[:-1])
        return Tally(self.rows + rows, moved, counts)


def _moved(moved: np.ndarray, start: Sequence[Any], states: Sequence[Any]) -> np.ndarray:
    """Find where chains are elsewhere than at the start; a value that is so in all chains is not looked at again."""
    found = moved.copy()
    for place, (first, array) in enumerate(zip(start, states, strict=True)):
        here = np.asarray(first)
        for row in range(0, len(array), LOOKED):
            if found[:, place].all():
                break
            differs = np.asarray(array[row : row + LOOKED]) != here
            found[:, place] |= np.any(differs.reshape(*differs.shape[:2], -1), axis=(0, 2))
    return found
