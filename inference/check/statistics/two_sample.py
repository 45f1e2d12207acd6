"""Two samples: whether draws of two independent samplers have one law, column by column and all together.

Law: where they have, each p-value is valid: that of Kolmogorov and Smirnov by the exact law of its statistic, that of
the maximum mean discrepancy by a bound, those of rank sums by a normal approximation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import gammaln
from scipy.stats import mannwhitneyu

from lawful.errors import LawfulError, NonFiniteError

from ...results.result import Result
from .claims import claim
from .mmd import energy_distance, mmd_p_value
from .power import min_detectable
from .quantities import MOST
from .report import Report, environment

POWER = 0.99
SCREENED = 2_000  # rows whose joint laws are compared


def two_sample(
    first: Result | Mapping[str, Any], second: Result | Mapping[str, Any], *, alpha: float | None = None
) -> Report:
    """Check that two samples have one law.

    Args:
        first: independent draws: a `Result`, whose draws have to be thinned to independence, or a mapping from names to
            arrays (n, ...).
        second: the same of the other sampler; of the larger sample evenly spaced draws are taken.
        alpha: false-alarm rate; default: the share of one registered check.

    Returns: a Report whose effects are shifts in standard deviations. Half of alpha goes to tests with a proof
        (Kolmogorov-Smirnov for each column, maximum mean discrepancy for all together), half to rank sums of each
        column and of its distance to the median. The energy distance is told besides.

    Raises:
        LawfulError: the samples have different names or shapes.
        NonFiniteError: a draw is NaN.

    >>> rng = np.random.default_rng(0)
    >>> x, y = {"x": rng.normal(size=2000)}, {"x": rng.normal(size=2000)}
    >>> two_sample(x, y).status, two_sample(x, {"x": y["x"] + 0.5}).status
    ('passed', 'failed')
    """
    names, a, b = _columns(first, second)
    made, n = claim("two_sample/" + ",".join(names), alpha=alpha), len(a)
    pooled = np.median(np.concatenate([a, b]), axis=0)
    proved = {f"distribution of {name}": ks_p_value(a[:, j], b[:, j]) for j, name in enumerate(names)}
    proved["joint distribution"] = _joint(a, b)
    normal = {f"rank sum of {name}": _rank_sum(a[:, j], b[:, j]) for j, name in enumerate(names)}
    away = np.abs(a - pooled), np.abs(b - pooled)
    normal |= {f"distance of {name} to its median": _rank_sum(*(x[:, j] for x in away)) for j, name in enumerate(names)}
    shares = {name: 2 * len(kind) * p for kind in (proved, normal) for name, p in kind.items()}
    worst = min(shares, key=lambda name: shares[name])
    p_value = min(1.0, shares[worst])
    screened = a[:SCREENED], b[:SCREENED]
    return Report(
        status="failed" if p_value <= made.alpha else "passed",
        law="two samples have one law",
        level="statistical",
        bound="normal",
        p_value=p_value,
        stage=1,
        n_used=2 * n,
        alpha_spent=made.alpha,
        min_detectable_effect=min_detectable("mean_rank", max(n // 2, 1), made.alpha / 2, POWER, m=len(normal)),
        power=POWER,
        instances=1,
        worst=(worst, (proved | normal)[worst]),
        repro=f"lawful.inference.check.two_sample(first, second, alpha={made.alpha!r})",
        remarks=f"{n} draws of each, taken as independent; energy distance {energy_distance(*screened):.3g}",
        environment=environment(str(a.dtype)),
    )


def ks_p_value(a: np.ndarray, b: np.ndarray) -> float:
    """Return the exact p-value of the largest distance of two distribution functions; with ties it is too large.

    Of the longer sample the first values are taken, as many as the other has.

    >>> ks_p_value(np.arange(100.0), np.arange(100.0)), ks_p_value(np.arange(100.0), np.arange(100.0) + 80) < 1e-6
    (1.0, True)
    """
    n = min(len(a), len(b))  # for samples of one size the law is a short sum: paths that reach a line, by reflections
    a, b = np.sort(a[:n]), np.sort(b[:n])
    both = np.concatenate([a, b])
    far = int(np.abs(np.searchsorted(a, both, "right") - np.searchsorted(b, both, "right")).max())
    if far == 0:
        return 1.0
    reflected = np.arange(far, n + 1, far)
    terms = np.exp(2 * gammaln(n + 1) - gammaln(n - reflected + 1) - gammaln(n + reflected + 1))
    return float(np.clip(2 * np.sum(terms[0::2]) - 2 * np.sum(terms[1::2]), 0.0, 1.0))


def _rank_sum(a: np.ndarray, b: np.ndarray) -> float:
    return float(mannwhitneyu(a, b, method="asymptotic").pvalue) if np.ptp(np.concatenate([a, b])) else 1.0


def _joint(a: np.ndarray, b: np.ndarray) -> float:
    """Compare the rows: scales come from a tenth of them, which is not compared."""
    pilot = max(len(a) // 10, 2)
    early = np.concatenate([a[:pilot], b[:pilot]])
    scale = early.std(axis=0)
    scale[scale == 0] = 1.0
    rows = slice(pilot, pilot + SCREENED)
    return mmd_p_value(a[rows] / scale, b[rows] / scale, width=float(np.sqrt(a.shape[1])))


def _columns(first: Any, second: Any) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Read both samples as columns, of equally many rows; of very many columns evenly spaced ones are taken."""
    held = [_arrays(given) for given in (first, second)]
    shapes = [{name: x.shape[1:] for name, x in arrays.items()} for arrays in held]
    if shapes[0] != shapes[1] or not shapes[0]:
        raise LawfulError(f"two_sample: expected samples of one set of names and shapes, got {shapes[0]}, {shapes[1]}.")
    n = min(len(x) for arrays in held for x in arrays.values())
    if n < 20:
        raise LawfulError(f"two_sample: {n} draws show nothing. Fix: give at least 20 of each.")
    names = [
        name + (f"[{k}]" if np.prod(shape, dtype=int) > 1 else "")
        for name, shape in shapes[0].items()
        for k in range(int(np.prod(shape, dtype=int)))
    ]
    taken = list(range(len(names))) if len(names) <= MOST else np.linspace(0, len(names) - 1, MOST).round().astype(int)
    tables = []
    for arrays in held:
        rows = [x[np.linspace(0, len(x) - 1, n).round().astype(int)].reshape(n, -1) for x in arrays.values()]
        table = np.concatenate(rows, axis=1).astype(float)[:, taken]
        if np.isnan(table).any():
            bad = names[taken[int(np.isnan(table).any(axis=0).argmax())]]
            raise NonFiniteError(
                f"two_sample: draws of '{bad}' are NaN. Fix: compare draws of choices that always run."
            )
        tables.append(table)
    return [names[k] for k in taken], tables[0], tables[1]


def _arrays(given: Any) -> dict[str, np.ndarray]:
    if isinstance(given, Result):
        return {name: (x := np.asarray(v)).reshape(-1, *x.shape[2:]) for name, v in given.posterior.items()}
    return {name: np.asarray(v) for name, v in given.items()}
