"""Enumerated: a finite list of (x, w), the whole measure of a finite program.

Meaning: the sum of w delta_x. Law: it is exact; a program that is not finite, or larger than the budget, is an
error, never a partial sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import show_address
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form
from lawful.observed import checked_data
from lawful.record import Recorded, record
from lawful.tracing import split_arguments, trace
from lawful.worlds import count_worlds, emit_worlds

from ..check.measure import Measure
from ..check.reference import enumerate_measure

MAX_WORLDS = 1 << 20
RETURNED = "return"


@dataclass(frozen=True)
class Enumerated:
    """All paths of positive weight.

    Attributes:
        support: name -> array (paths, ...); a choice that is not active on a path holds zero there. The value that the
            program returns stands under "return" where it is one array.
        active: name -> array (paths,) or (paths, steps), for choices that are not active on all paths.
        log_weights: natural log of the unnormalised weights (paths,).
        paths: number of paths before those of weight zero were dropped.
    """

    support: Mapping[str, np.ndarray]
    active: Mapping[str, np.ndarray]
    log_weights: np.ndarray
    paths: int

    @property
    def log_evidence(self) -> float:
        """Log of the sum of all weights; -inf for an impossible program."""
        if not len(self.log_weights):
            return -np.inf
        top = self.log_weights.max()
        return float(top + np.log(np.sum(np.exp(self.log_weights - top))))

    @property
    def probabilities(self) -> np.ndarray:
        """Normalised weights (paths,).

        Raises: LawfulError where the evidence is zero.
        """
        if not len(self.log_weights):
            raise LawfulError("enumerate: the program is impossible (evidence 0), so it has no posterior.")
        return np.exp(self.log_weights - self.log_evidence)

    def expectation(self, function: Callable[[dict[str, Any]], Any]) -> Any:
        """Posterior mean of a function of the choices of one path, given as a dict from name to value.

        The function is mapped over the paths by `jax.vmap`.
        """
        values = jax.vmap(function)({name: jnp.asarray(v) for name, v in self.support.items()})
        weights = self.probabilities
        return jax.tree.map(lambda x: np.tensordot(weights, np.asarray(x), axes=(0, 0)), values)

    def marginal(self, name: str) -> dict[Any, float]:
        """Posterior probabilities of the values of one choice; None stands for "not active".

        Array values are tuples. Raises: LawfulError for an unknown name.
        """
        if name not in self.support:
            raise LawfulError(
                f"enumerate: no choice is called '{name}'; there are: {', '.join(self.support)}.", site=name
            )
        values, weights = self.support[name], self.probabilities
        on = self.active.get(name)
        found: dict[Any, float] = {}
        flat = values.reshape(len(values), -1)
        rows, group = np.unique(flat, axis=0, return_inverse=True)
        group = group.reshape(-1)
        shape = values.shape[1:]
        if on is not None and on.ndim == 1:
            silent = float(weights[~on].sum())
            if silent:
                found[None] = silent
            weights = np.where(on, weights, 0.0)
        totals = np.bincount(group, weights=weights, minlength=len(rows))
        for row, total in zip(rows, totals, strict=True):
            if total > 0:
                key = row[0].item() if shape == () else _tuples(row.reshape(shape))
                found[key] = float(total)
        return found

    def __repr__(self) -> str:
        """Short description."""
        return f"Enumerated({len(self.log_weights)} paths of {self.paths}, log evidence {self.log_evidence:.6f})"


def _tuples(array: np.ndarray) -> Any:
    return tuple(_tuples(x) for x in array) if array.ndim > 1 else tuple(array.tolist())


def enumerate(
    model: Callable[..., Any] | Form, *, mode: str = "auto", max_paths: int = MAX_WORLDS
) -> Callable[..., Enumerated]:
    """Build the exact enumeration of a finite program.

    Args:
        model: a program whose sites are all finite.
        mode: "staged", all paths at once in one compiled program; "eager", one path at a time in plain Python, which
            needs no bound on the number of choices and follows only paths of positive probability; "auto", the first
            where it applies.
        max_paths: budget of paths.

    Returns: `plan(*args) -> Enumerated`.

    Raises:
        UnsupportedProgramError: a site is not finite.
        PathLimitError: the budget is exceeded; the message has the number needed.

    >>> import numpyro.distributions as dist, lawful
    >>> def coins():
    ...     a = lawful.sample("a", dist.Bernoulli(0.5))
    ...     lawful.sample("b", dist.Bernoulli(jnp.where(a == 1, 0.9, 0.3)), obs=1)
    >>> exact = enumerate(coins)()
    >>> round(float(np.exp(exact.log_evidence)), 6), {k: round(p, 6) for k, p in exact.marginal("a").items()}
    (0.6, {0: 0.25, 1: 0.75})
    """
    if mode not in ("auto", "staged", "eager"):
        raise LawfulError(f"enumerate: expected mode 'auto', 'staged' or 'eager', got {mode!r}.")
    runs: dict[Form, tuple[Recorded, Callable[..., Any]]] = {}

    def plan(*args: Any) -> Enumerated:
        if mode != "eager":
            try:
                form = trace(model, *args)
                if mode == "staged" or count_worlds(form) <= max_paths:
                    return _staged(form, args, runs, max_paths)
            except UnsupportedProgramError:
                if mode == "staged":
                    raise
        return _eager(enumerate_measure(model, *args, max_paths=max_paths))

    return plan


def _staged(form: Form, args: tuple[Any, ...], runs: dict[Form, Any], max_paths: int) -> Enumerated:
    inputs, _, _ = split_arguments(args)
    checked_data(form, inputs)
    if form not in runs:
        recorded = record(form, ("sample",))
        runs[form] = recorded, jax.jit(emit_worlds(recorded.form, max_paths))
    recorded, run = runs[form]
    worlds = jax.device_get(run(*inputs))
    kept = np.flatnonzero(worlds.log_mass > -np.inf)
    outputs = [np.asarray(x)[kept] for x in worlds.outputs]
    values = dict(zip([c.name for c in recorded.choices], outputs[recorded.own :], strict=False))
    flags = outputs[recorded.own + len(recorded.choices) :]
    active = dict(zip([c.name for c in recorded.choices if c.conditional], flags, strict=True))
    if recorded.own == 1:
        values[RETURNED] = outputs[0]
    return Enumerated(values, active, np.asarray(worlds.log_mass)[kept], len(worlds.log_mass))


def _eager(measure: Measure) -> Enumerated:
    """Lay the paths of an eager enumeration out as columns; names carry the index of their loop."""
    items = [(dict(t.choices), t.output, w) for t, w in measure.traces() if w > 0]
    addresses = dict.fromkeys(a for choices, _, _ in items for a in choices)
    support, active = {}, {}
    for address in sorted(addresses, key=repr):
        there = np.array([address in choices for choices, _, _ in items])
        example = next(choices[address] for choices, _, _ in items if address in choices)
        zero = np.zeros_like(np.asarray(example))
        name = show_address(address)
        support[name] = np.array([np.asarray(choices.get(address, zero)) for choices, _, _ in items])
        if not there.all():
            active[name] = there
    returned = [np.asarray(output) for _, output, _ in items if isinstance(output, int | float)]
    if len(returned) == len(items):
        support[RETURNED] = np.array(returned)
    log_weights = np.array([np.log(float(w)) + measure.log_scale for _, _, w in items])
    return Enumerated(support, active, log_weights, measure.paths)
