"""The data of a posterior for its contestants, and what is told of their draws; needs NumPy and ArviZ alone.

Law: bulk effective sample sizes and Monte Carlo errors are those of ArviZ, for each scalar of the reference; where runs
are independent, as of a particle method, errors come from the spread of the runs. Independent draws with weights have
errors and sizes of their own, which count what the weights are worth: that many draws of the posterior have the error
of the weighed mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from arviz_stats.base import array_stats

RUNS = 16  # from so many independent runs on, their spread tells errors


def columns(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read the data of a posterior: lists as arrays, numbers as they are."""
    file = Path(settings["folder"]) / "posteriordb" / settings["posterior"] / "data.json"
    read = json.loads(file.read_text())
    return {name: np.asarray(x) if isinstance(x, list) else x for name, x in read.items()}


def start(settings: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Give values that chains of peers start at, or None where their usual starts serve.

    Chains of prey and predators may stay in a minor mode, in which all is noise, from usual starts and also from the
    centre of the prior; those who see that start them near a fit: here at rough values of it, and at the first counts.
    """
    if settings["posterior"] != "hudson_lynx_hare-lotka_volterra":
        return None
    first = np.asarray(columns(settings)["y_init"], np.float64)
    return {"theta": np.array([0.5, 0.025, 0.8, 0.025]), "sigma": np.array([0.3, 0.3]), "z_init": first}


def scalars(draws: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Give the draws (chain, draw) of each scalar under its name: "mu", or "beta[1]" counted from 1.

    >>> {name: x.tolist() for name, x in scalars({"mu": np.ones((1, 2)), "b": np.arange(2.0).reshape(1, 1, 2)}).items()}
    {'mu': [[1.0, 1.0]], 'b[1]': [[0.0]], 'b[2]': [[1.0]]}
    """
    found: dict[str, np.ndarray] = {}
    for name, given in draws.items():
        values = np.asarray(given, np.float64)
        if values.ndim == 2:
            found[name] = values
        elif values.ndim == 3:
            found |= {f"{name}[{i + 1}]": values[..., i] for i in range(values.shape[2])}
    return found


def told(draws: Mapping[str, Any], wanted: list[str], independent: bool = False) -> dict[str, float]:
    """Effective size, mean and sd of each wanted scalar with their Monte Carlo errors, as "mean mu" and "mcse_sd mu".

    >>> found = told({"mu": np.random.default_rng(0).normal(size=(4, 500))}, ["mu"])
    >>> sorted(found), abs(found["mean mu"]) < 5 * found["mcse_mean mu"]
    (['ess mu', 'mcse_mean mu', 'mcse_sd mu', 'mean mu', 'sd mu'], True)
    """
    every, found = scalars(draws), dict[str, float]()
    for name in wanted:
        values = every[name]
        axes = {"chain_axis": 0, "draw_axis": 1}
        own = {"ess": array_stats.ess(values, **axes, method="bulk"), "mean": values.mean(), "sd": values.std()}
        if independent and len(values) >= RUNS:
            each = {"mean": values.mean(axis=1), "sd": values.std(axis=1)}
            own |= {f"mcse_{what}": x.std(ddof=1) / len(x) ** 0.5 for what, x in each.items()}
        else:
            own |= {f"mcse_{what}": array_stats.mcse(values, **axes, method=what) for what in ("mean", "sd")}
        found |= {f"{what} {name}": float(x) for what, x in own.items()}
    return found


def told_weighted(values: Mapping[str, Any], log_weight: Any, wanted: list[str]) -> dict[str, float]:
    """Tell the same of independent draws (run, draw) of one law with weights (Owen 2013, 9.2).

    >>> values = {"mu": np.random.default_rng(0).normal(size=(4, 500))}
    >>> found = told_weighted(values, np.zeros((4, 500)), ["mu"])
    >>> round(found["ess mu"]), abs(found["mean mu"]) < 5 * found["mcse_mean mu"]
    (2000, True)
    """
    every, found = scalars(values), dict[str, float]()
    log_w = np.asarray(log_weight, np.float64)
    share = np.exp(log_w - log_w.max())
    share /= share.sum()
    for name in wanted:
        away = every[name] - (mean := np.sum(share * every[name]))
        sd = np.sqrt(np.sum(share * away**2))
        mean_error = np.sqrt(np.sum((share * away) ** 2))
        sd_error = np.sqrt(np.sum((share * (away**2 - sd**2)) ** 2)) / (2 * sd)
        own = {"ess": (sd / mean_error) ** 2, "mean": mean, "sd": sd, "mcse_mean": mean_error, "mcse_sd": sd_error}
        found |= {f"{what} {name}": float(x) for what, x in own.items()}
    return found


class DrawsRun:
    """`run(i)` with seed i gives draws by name; `told` makes named scalars of them, off the clock."""

    def __init__(self, function: Callable[[int], Mapping[str, Any]], settings: Mapping[str, Any], how: str) -> None:
        self._function, self._wanted, self.notes = function, settings["scalars"], {"how": how}

    def __call__(self, i: int) -> Mapping[str, Any]:
        """One run with seed i."""
        return self._function(i)

    def told(self, draws: Mapping[str, Any]) -> dict[str, float]:
        """What is told of a run."""
        return told(draws, self._wanted)
