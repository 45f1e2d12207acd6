"""Collect: arrays of runs or of chains into one result, checked for their leading axes.

Law: nothing is averaged or dropped; the draws of a run are only put in random order, the same for every variable.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from lawful.errors import LawfulError
from lawful.form import Factor, walk
from lawful.messages import OVERFLOW

from ..findings.loop_overflow import overflow_findings
from .record import Arrays, Warmup, WeightedParticles
from .result import Result


def from_population(
    values: Arrays,
    log_weight: Any,
    log_evidence: Any,
    *,
    draws: Arrays,
    stats: Arrays | None = None,
    dead_at: Any = None,
    roots: Any = None,
    observed: Arrays | None = None,
    constants: Arrays | None = None,
    log_likelihood: Arrays | None = None,
    sampler: str = "smc",
    shuffle: int | None = 0,
    **fields: Any,
) -> Result:
    """Make the result of R independent runs of a population method.

    Args:
        values: variable to (run, particle, ...), before the last resampling.
        log_weight: (run, particle), natural log, unnormalised, -inf allowed.
        log_evidence: (run,), natural log of an unbiased estimate.
        draws: variable to (run, draw, ...), equal-weight draws.
        stats: arrays (run, stage) or (run,), as ess, acceptance_rate, log_evidence_increment, n_unique, n_stages.
        dead_at: (run,), the stage at which every weight was zero, or -1; by default the last stage where
            `log_evidence` is -inf.
        roots: (run, particle), which particle of the start each last particle descends from; None where no value that
            is asked for is older than the last resampling.
        observed: observations by site name.
        constants: arguments of the program by name.
        log_likelihood: site name to (run, draw, ...), pointwise.
        sampler: the name of the method.
        shuffle: seed of the order of the draws within each run, or None where they are in random order already.
            Resampling leaves copies side by side, which reads as autocorrelation; a fixed order is independent of the
            draws.
        fields: `found`, `limits`, `interrupted`, `finished`, `state`, `form`, `dims`, `coords`, `run` of `Result`.

    >>> import numpy as np
    >>> x = np.array([[1.0, 2.0], [1.0, 3.0]])
    >>> result = from_population({"x": x}, np.zeros((2, 2)), [-1.0, -1.0], draws={"x": x})
    >>> result.log_evidence_pooled, result.log_evidence_error
    (-1.0, 0.0)
    """
    log_evidence = np.asarray(log_evidence)
    if np.ndim(log_weight) != 2 or log_evidence.shape != np.shape(log_weight)[:1]:
        raise LawfulError(
            f"population: expected log_weight (run, particle) and log_evidence (run,), got {np.shape(log_weight)} and "
            f"{log_evidence.shape}."
        )
    stats = dict(stats or {})
    _lead(values, "particles", *np.shape(log_weight))
    size = _lead(draws, "draws", len(log_evidence))
    stages = max([np.shape(a)[1] for a in stats.values() if np.ndim(a) > 1], default=1)
    if dead_at is None:
        dead_at = np.where(np.isneginf(log_evidence), stages - 1, -1)
    stats["dead_at"] = np.asarray(dead_at)
    if roots is not None:
        counts = [np.unique(row, return_counts=True)[1] for row in np.asarray(roots)]
        stats["n_roots"] = np.array([len(count) for count in counts])
        stats["root_share"] = np.array([count.max() / count.sum() for count in counts])
    return Result(
        sampler,
        draws if shuffle is None else _shuffled(draws, _order(*size, shuffle)),
        WeightedParticles(values, log_weight),
        stats,
        log_evidence=log_evidence,
        groups=_groups(observed, constants, log_likelihood),
        **_noticed({"finished": stages, **fields}),
    )


def from_chains(
    posterior: Arrays,
    *,
    stats: Arrays | None = None,
    warmup: Warmup | tuple[Arrays, Arrays] | None = None,
    observed: Arrays | None = None,
    constants: Arrays | None = None,
    log_likelihood: Arrays | None = None,
    sampler: str = "mcmc",
    **fields: Any,
) -> Result:
    """Make the result of Markov chains.

    Args:
        posterior: variable to (chain, draw, ...).
        stats: arrays (chain, draw) or (chain,), under ArviZ's names where they exist: acceptance_rate, lp, diverging;
            ours are accepted and n_nonfinite.
        warmup: None, or draws and statistics of the warmup.
        observed: observations by site name.
        constants: arguments of the program by name.
        log_likelihood: site name to (chain, draw, ...), pointwise.
        sampler: the name of the method.
        fields: `found`, `limits`, `interrupted`, `finished`, `state`, `form`, `dims`, `coords`, `run` of `Result`.

    >>> import numpy as np
    >>> result = from_chains({"x": np.arange(8.0).reshape(2, 4)})
    >>> result.ok, sorted({finding.code for finding in result.reasons})
    (False, ['HIGH_RHAT', 'LOW_ESS'])
    """
    lead = _lead(posterior, "draws")
    return Result(
        sampler,
        posterior,
        None,
        dict(stats or {}),
        warmup=None if warmup is None else Warmup(*warmup),
        groups=_groups(observed, constants, log_likelihood),
        **_noticed({"finished": lead[1], **fields}),
    )


def _noticed(fields: dict[str, Any]) -> dict[str, Any]:
    """Add what the bounds of the program's loops cut off to what was found."""
    if fields.get("form") is None or fields.get("args") is None:
        return fields
    loops = [node for node in walk(fields["form"]) if isinstance(node, Factor) and node.role == OVERFLOW]
    if not loops:
        return fields
    return {**fields, "found": (*fields.get("found", ()), *overflow_findings(fields["form"], fields["args"], loops))}


def _groups(observed: Arrays | None, constants: Arrays | None, log_likelihood: Arrays | None) -> Mapping[str, Arrays]:
    named = {"observed_data": observed, "constant_data": constants, "log_likelihood": log_likelihood}
    return {name: group for name, group in named.items() if group}


def _lead(arrays: Arrays, second: str, *known: int) -> tuple[int, ...]:
    """Give the two leading axes that all arrays have, of which some may be known."""
    first = np.shape(next(iter(arrays.values()), np.empty((0, 0))))[:2]
    lead = (*known, *first[len(known) :])
    for name, array in arrays.items():
        if np.shape(array)[:2] != lead:
            raise LawfulError(
                f"variable '{name}': expected the leading axes (chains, {second}) = {lead}, got shape "
                f"{np.shape(array)}.",
                site=name,
            )
    return lead


def _shuffled(draws: Arrays, order: np.ndarray) -> Arrays:
    return {name: array[np.arange(len(order))[:, None], order] for name, array in draws.items()}


@functools.lru_cache(maxsize=8)
def _order(runs: int, length: int, seed: int) -> np.ndarray:
    return np.argsort(np.random.default_rng(seed).random((runs, length)), axis=1)
