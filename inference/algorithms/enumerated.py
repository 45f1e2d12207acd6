"""Enumerated: a finite list of (x, w), the whole measure of a finite program.

Meaning: the sum of w delta_x. Law: it is exact; a program that is not finite, or larger than the budget, is an error,
never a partial sum. Only where a remainder is accepted in so many words may paths be missing; then the list is a bound,
and says how much is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import show_address
from lawful.backends.enumeration import Worlds, count_worlds, emit_worlds
from lawful.errors import LawfulError, NonFiniteError, UnsupportedProgramError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.arguments.calls import positional
from lawful.inspection.lint.observed_data import checked_data
from lawful.inspection.lint.scales import checked_scales
from lawful.passes.checked_draws import allowed
from lawful.passes.record import record
from lawful.passes.thread_sites import Threaded
from lawful.tracing.number_arguments import with_inputs
from lawful.tracing.trace import trace

from ..eager.columns import numbers
from ..eager.exploration import Explored, explore
from ..plans.plan import refuse_traced

MAPPED = "inference.bp(model).beliefs(*arguments), whose log_evidence and marginals jit, vmap and grad take"

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
        log_unexplored: natural log of the mass of the paths that are missing, counted without the weight that they
            would still meet; -inf where none is.
        traces: the runs of an eager enumeration, path by path, with all that they chose and returned.
        log_overflow: natural log of the mass that the runs had which a bounded loop cut off; they are not in the list.
    """

    support: Mapping[str, np.ndarray]
    active: Mapping[str, np.ndarray]
    log_weights: np.ndarray
    paths: int
    log_unexplored: float = -np.inf
    traces: tuple[Any, ...] = ()
    log_overflow: float = -np.inf

    @property
    def log_evidence(self) -> float:
        """Log of the sum of all weights; -inf for an impossible program."""
        if not len(self.log_weights):
            return -np.inf
        top = self.log_weights.max()
        return float(top + np.log(np.sum(np.exp(self.log_weights - top))))

    @property
    def overflow(self) -> float:
        """The mass that bounded loops cut off: the probability of going beyond the bound, times the weights before."""
        return float(np.exp(self.log_overflow))

    @property
    def probabilities(self) -> np.ndarray:
        """Normalised weights (paths,).

        Raises: LawfulError where the evidence is zero.
        """
        if not len(self.log_weights):
            raise LawfulError("enumerate: the program is impossible (evidence 0), so it has no posterior.")
        return np.exp(self.log_weights - self.log_evidence)

    def log_evidence_bounds(self, largest: float = 1.0) -> tuple[float, float]:
        """Bound the log evidence where paths are missing.

        Args:
            largest: the largest weight that a missing path can still meet: the product of its later factors and
                densities of data. 1 is right where data are discrete and factors at most 1.
        """
        missing = self.log_unexplored + np.log(largest)
        return self.log_evidence, float(np.logaddexp(self.log_evidence, missing))

    def posterior_error(self, largest: float = 1.0) -> float:
        """Bound what a posterior probability may be off by, because paths are missing; 0 where none is.

        Args: largest: as for `log_evidence_bounds`.
        """
        low, high = self.log_evidence_bounds(largest)
        return float(-np.expm1(low - high)) if high > -np.inf else 0.0

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
        missing = "" if np.isneginf(self.log_unexplored) else f", unexplored mass {np.exp(self.log_unexplored):.1e}"
        count = f"{len(self.log_weights)} paths of {self.paths}"
        return f"Enumerated({count}, log evidence {self.log_evidence:.6f}{missing})"


def _tuples(array: np.ndarray) -> Any:
    return tuple(_tuples(x) for x in array) if array.ndim > 1 else tuple(array.tolist())


def enumerate(
    model: Callable[..., Any] | Form,
    *,
    mode: str = "auto",
    max_paths: int = MAX_WORLDS,
    unexplored: float = 0.0,
) -> Callable[..., Enumerated]:
    """Build the exact enumeration of a finite program.

    Args:
        model: a program whose sites are all finite.
        mode: "staged", all paths at once in one compiled program; "eager", one path at a time in plain Python, which
            needs no bound on the number of choices and follows only paths of positive probability; "auto", the first
            where it applies.
        max_paths: budget of paths; with `unexplored`, of runs.
        unexplored: how much may be missing, as a share of the evidence: then the paths are listed one by one, the
            heaviest first, until no more is left. This is how a program without a bound on its choices is enumerated.
            The result is a bound and says how much is missing; see `Enumerated.log_evidence_bounds`.

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
    if not 0 <= unexplored < 1:
        raise LawfulError(f"enumerate: expected 0 <= unexplored < 1, a share of the evidence, got {unexplored!r}.")
    if unexplored and mode == "staged":
        raise LawfulError("enumerate: unexplored needs mode='eager' or 'auto': a staged enumeration lists all paths.")
    runs: dict[Form, tuple[Threaded, Callable[..., Any]]] = {}

    def plan(*args: Any, **named: Any) -> Enumerated:
        args = positional(model, args, named)
        refuse_traced(args, MAPPED)
        if mode != "eager" and not unexplored:
            try:
                given = with_inputs(model, args)
                form = trace(model, *given)
                if mode == "staged" or count_worlds(form) <= max_paths:
                    return _staged(form, given, runs, max_paths)
            except UnsupportedProgramError:
                if mode == "staged":
                    raise
        return _eager(explore(model, args, max_paths, unexplored))

    return plan


def _staged(form: Form, args: tuple[Any, ...], runs: dict[Form, Any], max_paths: int) -> Enumerated:
    inputs, _, _ = split_arguments(args)
    checked_scales(form, inputs)
    checked_data(form, inputs)
    if form not in runs:
        recorded = record(form, ("sample",))
        runs[form] = recorded, jax.jit(emit_worlds(recorded.form, max_paths))
    recorded, run = runs[form]
    worlds = jax.device_get(run(*inputs))
    _refuse_broken(worlds, recorded, inputs, max_paths)
    kept = np.flatnonzero(worlds.log_mass > -np.inf)
    parts = recorded.split(np.asarray(x)[kept] for x in worlds.outputs)
    values = dict(zip([c.name for c in recorded.choices], parts.values, strict=True))
    active = dict(zip([c.name for c in recorded.choices if c.conditional], parts.flags, strict=True))
    if len(parts.own) == 1:
        values[RETURNED] = parts.own[0]
    log_overflow = -np.inf if worlds.log_overflow is None else float(np.logaddexp.reduce(worlds.log_overflow))
    log_weights = np.asarray(worlds.log_mass)[kept]
    return Enumerated(values, active, log_weights, len(worlds.log_mass), log_overflow=log_overflow)


def _refuse_broken(worlds: Worlds, recorded: Threaded, inputs: Sequence[Any], max_paths: int) -> None:
    """Refuse a measure that is not finite.

    Raises: NonFiniteError naming the factor or the observation, and the choices where it is NaN or +inf.
    """
    log_mass = np.asarray(worlds.log_mass)
    bad = np.flatnonzero(np.isnan(log_mass) | (log_mass == np.inf))
    if not len(bad):
        return
    found = jax.device_get(jax.jit(emit_worlds(recorded.form, max_paths, blame=True))(*inputs))
    term = next((name for name, flags in found.broken.items() if flags[bad[0]]), "a probability of a choice")
    values = zip(recorded.choices, recorded.split(worlds.outputs).values, strict=True)
    at = ", ".join(f"{choice.name} = {np.asarray(value[bad[0]]).tolist()}" for choice, value in values)
    kind = "not a number" if np.isnan(log_mass[bad[0]]) else "+inf"
    drawn = (site for site in recorded.form.sites() if site.observed is None)
    laws = (allowed(site.law) for site in drawn if term == f"site '{show_address(site.address)}' ({site.source})")
    raise NonFiniteError(
        f"enumerate: the log weight of {term} is {kind} at {at or 'every run'}{next(map(': {}'.format, laws), '')}. "
        "Fix: guard its arithmetic there; a run that is impossible has log weight -inf.",
        term=term,
        value=float(log_mass[bad[0]]),
    )


def _eager(explored: Explored) -> Enumerated:
    """Lay the paths of an eager enumeration out as columns; names carry the index of their loop."""
    runs = [path.run for path in explored.paths]
    addresses = dict.fromkeys(address for run in runs for address in run.choices)
    support, active = {}, {}
    for address in sorted(addresses, key=repr):
        there = np.array([address in run.choices for run in runs])
        example = next(run.choices[address] for run in runs if address in run.choices)
        zero = np.zeros_like(np.asarray(example))
        name = show_address(address)
        support[name] = np.array([np.asarray(run.choices.get(address, zero)) for run in runs])
        if not there.all():
            active[name] = there
    returned = numbers([run.value for run in runs])
    if returned is not None and len(runs):
        support[RETURNED] = returned
    log_weights = np.array([path.log_mass for path in explored.paths])
    return Enumerated(
        support, active, log_weights, explored.listed, explored.log_unexplored, tuple(runs), explored.log_cut
    )
