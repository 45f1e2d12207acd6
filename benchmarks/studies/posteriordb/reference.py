"""The reference values: reading them, and how far draws are from them.

Law: the data have the sum that their reference states, or reading fails. For draws of the posterior every z of
`comparisons` is close to standard normal; with p of them the largest exceeds `bound(p)` once in a million tables.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from lawful.errors import LawfulError

QUANTILES = ("0.05", "0.25", "0.5", "0.75", "0.95")
ALPHA = 1e-6  # probability that a correct sampler exceeds the bound of a table


@dataclass(frozen=True)
class Reference:
    """Data of one posterior, and for each scalar its mean, sd, quantiles and their Monte Carlo errors."""

    data: Mapping[str, Any]
    scalars: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """One estimate beside its reference."""

    scalar: str
    quantity: str  # "mean", or the probability of a quantile
    z: float
    mcse_share: float  # own Monte Carlo error in posterior standard deviations


def data_folder() -> Path:
    """Give the folder of reference data: LAWFUL_DATA, or ../shared/data beside the current folder.

    Raises: LawfulError where there is none.
    """
    folder = Path(os.environ.get("LAWFUL_DATA") or Path.cwd().parent / "shared" / "data")
    if not folder.is_dir():
        raise LawfulError(
            f"no reference data: {folder} is not a folder. Fix: run from the root of the project, or set LAWFUL_DATA "
            "to the folder that holds posteriordb/."
        )
    return folder


def read(folder: Path, name: str) -> Reference:
    """Read one posterior.

    Args:
        folder: the folder of reference data, which holds `posteriordb/`.
        name: the posterior's name.

    Raises: LawfulError where the data have another sum than the reference was made with.
    """
    place = folder / "posteriordb" / name
    data, told = (json.loads((place / file).read_text()) for file in ("data.json", "reference.json"))
    found = hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    if found != told["data_sha256"]:
        raise LawfulError(
            f"posteriordb '{name}': data.json has the sha256 {found}, expected {told['data_sha256']}. "
            "Fix: take data.json from where its reference.json comes from."
        )
    return Reference(data, told["parameters"])


def scalar_draws(draws: Mapping[str, Any], scalar: str) -> np.ndarray:
    """Find the draws of a scalar by its name in the reference, (chains, draws): "mu", or "beta[1]" counted from 1.

    >>> scalar_draws({"beta": np.arange(6.0).reshape(1, 3, 2)}, "beta[2]").tolist()
    [[1.0, 3.0, 5.0]]
    """
    match = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", scalar)
    if match is None or match[1] not in draws:
        raise LawfulError(f"no draws of '{scalar}'; there are: {', '.join(draws)}.", site=scalar)
    values = np.asarray(draws[match[1]], np.float64)
    return values if match[2] is None else values[..., int(match[2]) - 1]


def comparisons(
    draws: Mapping[str, Any], scalars: Mapping[str, Mapping[str, Any]], *, independent: bool = False
) -> list[Comparison]:
    """Compare means and quantiles of draws with a reference.

    Args:
        draws: name -> (chains, draws, ...).
        scalars: the reference of each scalar.
        independent: each chain is a run of its own, as of a particle method: errors come from the spread of the runs,
            of which there should be 30 or more. Otherwise chains are those of MCMC, and errors are ArviZ's.
    """
    return [
        _compare(scalar, quantity, scalar_draws(draws, scalar), told, independent)
        for scalar, told in scalars.items()
        for quantity in ("mean", *QUANTILES)
    ]


def _compare(scalar: str, quantity: str, values: np.ndarray, told: Mapping[str, Any], independent: bool) -> Comparison:
    prob = None if quantity == "mean" else float(quantity)
    if independent:
        runs = values.mean(axis=1) if prob is None else np.quantile(values, prob, axis=1)
        estimate, error = float(runs.mean()), float(runs.std(ddof=1) / np.sqrt(len(runs)))
    else:
        estimate = float(values.mean() if prob is None else np.quantile(values, prob))
        from arviz_stats.base.array import array_stats

        method = "mean" if prob is None else "quantile"
        error = float(array_stats.mcse(values, chain_axis=0, draw_axis=1, method=method, prob=prob))
    expected = told["mean"] if prob is None else told["quantiles"][quantity]
    expected_error = told["mcse_mean"] if prob is None else told["mcse_quantiles"][quantity]
    z = (estimate - expected) / float(np.hypot(error, expected_error))
    return Comparison(scalar, quantity, z, error / told["sd"])


def bound(comparisons: int) -> float:
    """Give the largest |z| that so many comparisons may show: the normal quantile at 1e-6 / (2 p).

    >>> round(bound(86), 2), round(bound(55), 2)
    (5.71, 5.63)
    """
    return float(stats.norm.isf(ALPHA / (2 * comparisons)))
