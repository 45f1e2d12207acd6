"""Chain rows: rows of steps of chains as the result has them, with the values that are named at each draw.

Law: a row becomes the same numbers whichever rows come with it; named values are computed anew, never replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from lawful.backends.xla import emit
from lawful.form import Form
from lawful.form.choices import Choice, is_own
from lawful.passes.thread_sites import score

from ...results.record import Warmup, masked
from .one_by_one import OneByOne
from .tuned_loop import TunedLoop


class Drawn(NamedTuple):
    """What chains left: states of warm-up and draws, (step, chain, ...), and numbers of all steps, (step, chain)."""

    early: Sequence[Any]
    late: Sequence[Any]
    numbers: Sequence[Any]
    warm: int
    last: Sequence[Any]
    tuned: Mapping[str, Any]


def whole_run(loop: TunedLoop | OneByOne, out: Mapping[str, Any]) -> Drawn:
    """Read what the whole loop gave; on the host warm-up and draws are parts of one array, and none is copied."""
    early, late = loop.parts([[np.asarray(x) for x in states] for states in out["kept"]])
    return Drawn(early, late, out["numbers"], loop.warmup, out["last"], out["tuned"])


def draws_of(built: Any, inputs: Sequence[Any], states: Sequence[np.ndarray], numbers: Mapping[str, Any]) -> Warmup:
    """Give some draws, NaN where an arm did not run, with the values named at each, and the numbers of each.

    Args:
        built: what a plan of chains compiled.
        inputs: arrays of the program's arguments.
        states: of each value of a state (chain, draw, ...); the log density is the last.
        numbers: of the kernel, by name (chain, draw).
    """
    choices = built.kernel.choices
    values = dict(zip((c.name for c in choices), states, strict=False))
    flags = dict(zip((c.name for c in choices if c.conditional), states[len(choices) : -1], strict=True))
    draws = without_own(masked(values, flags) if flags else values, choices)
    if built.named is not None:
        draws |= named_values(built.named, built.named_choices, inputs, list(values.values()))
    lp = states[-1]
    if built.log_densities is not None and lp.size:  # differences were added up: compute it anew
        columns = [v.reshape(lp.size, *v.shape[2:]) for v in values.values()]
        lp = np.asarray(built.log_densities(inputs, columns)).reshape(lp.shape)
    return Warmup(draws, {"lp": lp, **numbers})


def thinned(name: str, values: np.ndarray, thin: int) -> np.ndarray:
    """Give a number of every step one value for each draw: counts add up, of others the last step tells.

    >>> steps = np.array([[1, 0, 2, 5]])
    >>> thinned("n_nonfinite", steps, 2).tolist(), thinned("accepted", steps, 2).tolist()
    ([[1, 7]], [[0, 5]])
    """
    grouped = values.reshape(len(values), values.shape[1] // thin, thin)
    found: np.ndarray = np.sum(grouped, axis=-1) if name.startswith("n_") else grouped[..., -1]
    return found


def deterministics(form: Form, own: int) -> Callable[..., Any]:
    """Compute the named values again at every draw, then whether their arms ran; they are never replayed."""
    answered = score(form)
    wanted = replace(answered.form, outputs=answered.form.outputs[own : answered.own])
    run = emit(wanted)

    def one(inputs: Any, values: Any) -> Any:
        return run(jax.random.key(0), *inputs, *values)[0]

    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (None, 0)))


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
    return masked(dict(zip((c.name for c in named), found, strict=False)), flags)


def without_own[T](values: Mapping[str, T], choices: Sequence[Choice]) -> dict[str, T]:
    """Leave out what an algorithm inside the program drew, as the noise of a filter."""
    own = {c.name for c in choices if is_own(c)}
    return {name: value for name, value in values.items() if name not in own}
