"""Eager algorithms under the law: each is a program, so the reference enumerator lists its picks, coins and choices.

Law: on random finite programs a population means the program's measure, before and after one particle is picked, and
the trace kernel keeps the posterior and is reversible; to 1e-12, every decision seen with both outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful.addresses import Address
from lawful.messages import SampleMessage

from ...eager.population import Settings, collapsed, filtered
from ...eager.run import Run
from ...eager.running import placed_in, run
from ...eager.trace_mh import move
from ...laws.resampling_schemes import scheme
from ..exact.exact_checks import TOLERANCE, Tally
from ..exact.measure import Measure, Trace, differences, exact_sum, freeze
from ..exact.reference import enumerate_measure
from ..exact.shrinking import smallest_failure
from ..exact.suite import Instance, Needs
from ..statistics.report import Report

MAX_PATHS = 200_000


@dataclass(frozen=True)
class EagerRow:
    """One row: a name, the settings of a population or None for the trace kernel, and the programs that it needs."""

    name: str
    settings: Settings | None
    particles: int = 2
    max_paths: int = 30
    programs: int = 50


EAGER_ROWS = (
    EagerRow("eager importance", Settings(2, scheme("systematic"), pauses=False)),
    EagerRow("eager smc multinomial", Settings(2, scheme("multinomial"), None), max_paths=8, programs=12),
    EagerRow("eager smc systematic adaptive", Settings(2, scheme("systematic"), 0.9)),
    EagerRow("eager smc residual, N = 3", Settings(3, scheme("residual"), 0.9), 3, 24),
    EagerRow("eager mh single site", None, 1, 24, 60),  # some have evidence zero, and no posterior to keep
)


def population_report(
    name: str, settings: Settings, instances: Iterable[Instance], repro: str, needs: Needs | None = None
) -> Report:
    """Compare the measure of a population, and of one particle picked from it, with that of its program.

    Where `needs` are given, a random program on which they differ is made as small as these allow.
    """

    def tally(chosen: Iterable[Instance]) -> Tally:
        found = Tally(TOLERANCE)
        for instance in chosen:
            for measure in (population_measure, collapsed_measure):
                found.add(measure(instance.program, instance.args, settings), instance.truth(), instance)
        return found

    found, smallest = tally(instances), ""
    if found.failed and needs is not None:
        start = min(found.failed, key=lambda instance: len(instance.name))
        smallest = smallest_failure(start, needs, lambda instance: tally([instance]).differs)
    return found.report(f"{name} keeps the measure", True, repro, smallest)


def trace_of(record: Run) -> Trace:
    """Read a run as an outcome of the program."""
    choices = frozenset((address, freeze(value)) for address, value in record.choices.items())
    return Trace(choices, freeze(record.value))


def collapsed_measure(program: Callable[..., Any], args: tuple[Any, ...], settings: Settings) -> Measure:
    """Enumerate a population that is collapsed to one particle: the measure of what it picks.

    >>> import numpyro.distributions as dist, lawful
    >>> coin = lambda: lawful.sample("coin", dist.Bernoulli(0.25))
    >>> measure = collapsed_measure(coin, (), Settings(2, scheme("systematic")))
    >>> {trace.output: round(float(weight), 12) for trace, weight in measure.items()} == {0: 0.75, 1: 0.25}
    True
    """

    def algorithm() -> Any:
        picked = collapsed(filtered(program, args, settings))
        return trace_of(picked) if picked.finished else None

    measure = enumerate_measure(algorithm, max_paths=MAX_PATHS)
    return _of_traces(measure.marginal(lambda outcome: outcome.output))


def population_measure(program: Callable[..., Any], args: tuple[Any, ...], settings: Settings) -> Measure:
    """Enumerate a population: E[ Z-hat mean_i w_i delta(x_i) ]."""

    def algorithm() -> Any:
        end = filtered(program, args, settings)
        mass = 0.0 if end.dead else np.exp(end.log_evidence) / len(end.runs)
        weights = np.where(np.isneginf(end.log_weight), 0.0, np.exp(end.log_weight)) * mass
        return tuple((trace_of(r), float(w)) for r, w in zip(end.runs, weights, strict=True) if r.finished)

    measure = enumerate_measure(algorithm, max_paths=MAX_PATHS)
    parts: dict[Any, list[float]] = {}
    for outcome, probability in measure.traces():
        particles: Any = outcome.output
        for (choices, output), weight in particles:
            parts.setdefault(Trace(choices, output), []).append(float(probability) * weight)
    totals = {trace: exact_sum(weights) for trace, weights in parts.items()}
    return Measure(totals, 0.0, measure.probability, measure.paths, measure.coverage)


def _of_traces(measure: Measure) -> Measure:
    """Read outcomes as traces; a population that died gives none, and has no weight."""
    pairs: list[Any] = [(outcome, weight) for outcome, weight in measure.weights.items() if outcome is not None]
    weights: Any = {Trace(*outcome): weight for outcome, weight in pairs}
    return Measure(weights, measure.log_scale, measure.probability, measure.paths, measure.coverage)


def trace_kernel_report(instances: Iterable[Instance], repro: str, needs: Needs | None = None) -> Report:
    """Check the trace kernel on programs that have a posterior: pi K = pi, and that the flux is symmetric.

    Where `needs` are given, a random program on which it fails is made as small as these allow.
    """
    error = asymmetry = 0.0
    paths = count = 0
    coverage: set[bool] = set()
    remarks = ""
    for instance in instances:
        this, unequal, seen, rows, differ = _errors(instance)
        if max(this, unequal) > max(TOLERANCE, error, asymmetry):
            remarks = f"worst instance:\n{instance.name}\n{differ}"
            worst = instance
        error, asymmetry = max(error, this), max(asymmetry, unequal)
        coverage |= seen
        paths, count = paths + rows, count + 1
    passed = error <= TOLERANCE and asymmetry <= TOLERANCE
    if not passed and needs is not None:
        remarks = smallest_failure(worst, needs, lambda instance: _errors(instance)[-1])
    return Report(
        status="failed" if not passed else "passed" if len(coverage) == 2 else "inconclusive",
        law="single-site trace moves: pi K = pi, reversible",
        level="exact",
        tv=error,
        measure_error=max(error, asymmetry),
        paths=paths,
        instances=count,
        coverage={"accept?": frozenset(coverage)},
        worst=("total variation", error),
        repro=repro,
        remarks=remarks if passed else f"flux asymmetric by {asymmetry:.3g}; {remarks}",
    )


def _errors(instance: Instance) -> tuple[float, float, set[bool], int, str]:
    """Error of pi K, asymmetry of the flux, outcomes of the coin, paths, and how pi K and pi differ."""
    truth = instance.truth()
    matrix, pi, seen, rows = transition(instance.program, instance.args, truth)
    flux, after = pi[:, None] * matrix, pi @ matrix
    asymmetry = float(np.abs(flux - flux.T).max(initial=0.0))
    error = max(float(np.abs(after - pi).sum() / 2), float(np.abs(matrix.sum(axis=1) - 1).max(initial=0.0)))
    states = [trace for trace, weight in truth.traces() if weight > 0]
    moved, kept = (Measure(dict(zip(states, weights.tolist(), strict=True))) for weights in (after, pi))
    lines = differences(moved, kept, TOLERANCE) or [f"flux asymmetric by {asymmetry:.3g}"] * (asymmetry > TOLERANCE)
    return error, asymmetry, seen, rows, "\n".join(lines)


def transition(
    program: Callable[..., Any], args: tuple[Any, ...], truth: Measure
) -> tuple[np.ndarray, np.ndarray, set[bool], int]:
    """Enumerate every row of the trace kernel: (matrix, pi, outcomes of the coin that were seen, paths)."""
    states = [trace for trace, weight in truth.traces() if weight > 0]
    weights = np.array([float(truth.weights[trace]) for trace in states])
    pi = weights / weights.sum() if len(states) else weights
    place: dict[Any, int] = {trace: index for index, trace in enumerate(states)}
    matrix = np.zeros((len(states), len(states)))
    seen: set[bool] = set()
    paths = 0
    for row, state in enumerate(states):
        here = run_of(program, args, state)
        if not here.free:
            matrix[row, row] = 1.0
            continue
        measure = enumerate_measure(lambda here=here: trace_of(move(program, args, here, 0).run), max_paths=MAX_PATHS)
        paths += measure.paths
        seen |= measure.coverage.get("accept?", frozenset())
        for outcome, probability in measure.traces():
            column = place.get(outcome.output)
            if column is not None:
                matrix[row, column] += float(probability)
    return matrix, pi, seen, paths


def run_of(program: Callable[..., Any], args: tuple[Any, ...], state: Trace) -> Run:
    """Run a program at the choices of an outcome, and score it."""
    choices: dict[Address, Any] = {address: np.asarray(value) for address, value in state.choices}

    def keep(message: SampleMessage) -> bool:
        """Give a value its shape: an empty array froze into an empty tuple, and lost shape and type."""
        array = choices[message.address].reshape(message.distribution.shape())
        choices[message.address] = (array if array.size else array.astype(int))[()]
        return True

    return run(program, args, placed_in(last=0), after=Run(choices), keep=keep, scored=True)
