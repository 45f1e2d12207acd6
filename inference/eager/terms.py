"""Terms: the log densities of the draws of eager runs, site by site, as the groups log_likelihood and log_prior.

Law: at each draw the terms of both groups sum to the log density of its run. A site that a run did not meet has the
term 0 there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from lawful.addresses import Address, names_of, show_address
from lawful.messages import FactorMessage, SampleMessage

from .columns import dims_of, table_of
from .run import Run
from .running import Runner, execute
from .scoring import bound

type Groups = dict[str, dict[str, np.ndarray]]


class Terms(NamedTuple):
    """What one run is made of: terms by address, and where its sites stand."""

    likelihood: Run
    prior: Run


def density_terms(
    model: Callable[..., Any], args: tuple[Any, ...], traces: Sequence[Sequence[Run]]
) -> tuple[Groups, dict[str, tuple[str, ...]]]:
    """Score runs, traces[chain][draw], part by part.

    Returns: log_likelihood and log_prior, name to terms (chain, draw, ...), and the names of their further axes.

    >>> import numpyro.distributions as dist, lawful
    >>> def coin():
    ...     lawful.factor("cost", -1.0 - lawful.sample("heads", dist.Bernoulli(0.5)))
    >>> groups, _ = density_terms(coin, (), [[Run({("heads",): 1}), Run({("heads",): 0})]])
    >>> groups["log_likelihood"]["cost"].tolist(), groups["log_prior"]["heads"].round(4).tolist()
    ([[-2.0, -1.0]], [[-0.6931, -0.6931]])
    """
    flat = [run for row in traces for run in row]
    known: dict[int, Terms] = {}  # copies, of a resampling or of a move that was refused, are scored once
    for run in flat:
        if id(run) not in known:
            known[id(run)] = _terms_of(model, args, run)
    found: Groups = {}
    tables = []
    for place, kind in enumerate(("log_likelihood", "log_prior")):
        rows = [known[id(run)][place] for run in flat]
        table = table_of(rows)
        tables.append(table)
        arrays = dict(table.values) | {name: _sums(rows, name) for name in table.left_out}
        lead = len(traces), len(flat) // max(len(traces), 1)
        found[kind] = {name: np.where(np.isnan(x), 0.0, x).reshape(*lead, *x.shape[1:]) for name, x in arrays.items()}
    return found, dims_of(*tables)


def _terms_of(model: Callable[..., Any], args: tuple[Any, ...], run: Run) -> Terms:
    scorer = Scorer(run)
    again = execute(model, args, scorer)
    empty = replace(Run(), plates=again.plates, loop_names=again.loop_names)
    return Terms(replace(empty, choices=scorer.likelihood), replace(empty, choices=scorer.prior))


def _sums(rows: Sequence[Run], name: str) -> np.ndarray:
    """Sum what no array of one shape can hold, as of plates whose size a choice decides."""
    total = [
        math.fsum(float(np.sum(term)) for a, term in run.choices.items() if show_address(names_of(a)) == name)
        for run in rows
    ]
    return np.array(total)


class Scorer(Runner):
    """Repeats a run, and keeps the log density of each of its statements."""

    def __init__(self, run: Run) -> None:
        super().__init__(lambda address: address, run, keep=lambda message: True, nonfinite="dead")
        self.prior: dict[Address, Any] = {}
        self.likelihood: dict[Address, Any] = {}

    def _choose(self, message: SampleMessage) -> None:
        self.prior[message.address] = _elements(message)
        super()._choose(message)

    def _given(self, message: SampleMessage) -> None:
        self.likelihood[message.address] = _weight(_elements(message))
        super()._given(message)

    def _weigh(self, log_weight: Callable[[], float], message: SampleMessage | FactorMessage) -> None:
        if isinstance(message, FactorMessage):
            terms = self.likelihood if message.role == "likelihood" else self.prior
            terms[message.address] = terms.get(message.address, 0.0) + _weight(np.asarray(message.log_weight, float))
        super()._weigh(log_weight, message)


def _elements(message: SampleMessage) -> np.ndarray:
    law, parameters, _ = bound(message.distribution)
    return np.asarray(_scorer(law)(np.asarray(message.value), *parameters), float)


def _weight(term: np.ndarray) -> np.ndarray:
    """Read NaN as zero weight, as the run did where it went on."""
    return np.where(np.isnan(term), -np.inf, term)


@functools.lru_cache(maxsize=1024)
def _scorer(law: Any) -> Callable[..., Any]:
    return jax.jit(law.log_prob_units)
