"""Sensitivity to the prior: how the evidence changes with each scale of the priors.

Law: Z' / Z = E[p'(theta) / p(theta)] over the posterior, for priors p and p' of the same parameters; so the draws of
one posterior give the evidence under other priors, where these overlap. Where they do not, the weights of the draws are
far from equal, and a new run gives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from lawful import one_key
from lawful.errors import LawfulError
from lawful.inference import pooled_evidence

from ..model.scaling import doubly
from .bayes import climbed_for, sampled
from .posterior_summaries import PosteriorSummaries
from .priors import Priors

__all__ = ["prior_sensitivity"]

SEARCHED = 32  # starts of the search for optima


@doubly
def prior_sensitivity(
    posterior: PosteriorSummaries,
    scales: Sequence[str] | None = None,
    factors: Iterable[float] = (0.5, 2.0),
    *,
    key: Any = None,
    least: float = 0.05,
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """Tell how the log evidence changes with the scales of the priors, one at a time.

    Args:
        posterior: draws with an evidence, as method "smc" gives them.
        scales: names of fields of `Priors`; None for all on which the prior of the model depends.
        factors: by which each scale is multiplied.
        key: a key of `jax.random`, for new runs where draws do not overlap; None for no new run.
        least: the effective share of the draws below which they do not.
        settings: of new runs, as for `TrajectoryMixture.bayes`; particles and runs are those of the posterior, if not
            given.

    Returns: a frame of pandas with the columns scale, factor, value (of the scale), log_evidence, difference from that
        of the posterior, error (its standard error by the spread of the runs, NaN for one), share (the effective share
        of the draws) and new (whether a new run gave the row). A row that would need a new run has no numbers.

    Raises: LawfulError for a scale or a factor that does not exist, or a posterior without evidence.

    >>> from lawful.models.trajectories import TrajectoryMixture
    >>> data = {"Y1": [1.0, 2.0, 4.0], "Y2": [2.0, 2.5, 5.5], "T1": [0.0, 0.0, 0.0], "T2": [1.0, 1.0, 1.0]}
    >>> found = TrajectoryMixture(1, "LIN").bayes(data, "Y", "T", [1, 2], key=0, particles=64, runs=2, leapfrogs=2)
    >>> table = prior_sensitivity(found, ["level", "noise"])
    >>> [*table.scale], [*table.value]
    (['level', 'level', 'noise', 'noise'], [0.75, 3.0, 0.25, 1.0])
    """
    import pandas

    names, factors = _checked(posterior, scales, factors)
    chosen = {name: posterior.result.run[name] for name in ("particles", "runs")} | dict(settings or {})
    before = posterior.log_prior
    rows: list[tuple[Any, ...]] = []
    for name in names:
        for factor in factors:
            value = getattr(posterior.at.priors, name) * factor
            priors = posterior.at.priors._replace(**{name: value})
            log_ratio = posterior.log_prior_under(priors) - before
            if scales is None and not log_ratio.any():
                continue
            share = _effective_share(log_ratio)
            difference, error = pooled_evidence(_log_mean(log_ratio))
            apart, new = share < least, False
            if apart and key is None:
                difference = error = np.nan
            elif apart:
                new, own = True, jax.random.fold_in(one_key(key), len(rows))
                difference, error = _by_a_new_run(posterior, priors, own, chosen)
            log_evidence = posterior.log_evidence + difference
            rows.append((name, factor, float(value), log_evidence, difference, error, share, new))
    columns = ["scale", "factor", "value", "log_evidence", "difference", "error", "share", "new"]
    return pandas.DataFrame(rows, columns=columns)


def _checked(
    posterior: PosteriorSummaries, scales: Sequence[str] | None, factors: Iterable[float]
) -> tuple[tuple[str, ...], list[float]]:
    """Check what was asked for."""
    if posterior.result.log_evidence is None:
        raise LawfulError(
            f"prior_sensitivity: draws by {posterior.result.sampler} have no evidence. Fix: call bayes(method='smc')."
        )
    names = Priors._fields if scales is None else tuple(scales)
    unknown = [name for name in names if name not in Priors._fields]
    if unknown:
        known = ", ".join(Priors._fields)
        raise LawfulError(f"prior_sensitivity: scales={unknown}. Fix: name fields of Priors: {known}.")
    chosen = [float(factor) for factor in factors]
    if not all(0 < factor < np.inf for factor in chosen):
        raise LawfulError(f"prior_sensitivity: factors={chosen}, expected positive numbers. Fix: give 0.5 and 2, say.")
    return names, chosen


def _effective_share(log_ratio: np.ndarray) -> float:
    """Give the effective size of weights as a share of their number."""
    weight = np.exp(log_ratio - log_ratio.max())
    return float(weight.sum() ** 2 / (weight**2).sum() / weight.size)


def _log_mean(log_ratio: np.ndarray) -> np.ndarray:
    """Give the log of the mean ratio of each run (run,)."""
    found: np.ndarray = np.logaddexp.reduce(log_ratio, axis=1) - np.log(log_ratio.shape[1])
    return found


def _by_a_new_run(
    posterior: PosteriorSummaries, priors: Priors, key: jax.Array, settings: Mapping[str, Any]
) -> tuple[float, float]:
    """Give the difference of log evidences, and its error, by a posterior under the other prior."""
    at = posterior.at._replace(priors=priors)
    climbed = partial(climbed_for, at, posterior.model, SEARCHED, 0)
    result = sampled(key, at, posterior.model, "smc", settings, climbed, posterior.selecting > 0)
    there, here = pooled_evidence(result.log_evidence), pooled_evidence(posterior.result.log_evidence)
    return there[0] - here[0], float(np.hypot(there[1], here[1]))
