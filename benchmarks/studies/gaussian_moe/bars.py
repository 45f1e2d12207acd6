"""The bars of the studies: what theory says of slopes, and of the information of one observation.

Law: a bar is told with its number and the interval that was asked for; one whose study has not been run is not told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.studies.gaussian_moe.catalogue import ACTIVATED, LINEAR
from benchmarks.studies.gaussian_moe.rates import slope_of
from lawful.models.gaussian_moe import Gate, Mixture, fisher
from lawful.models.gaussian_moe.information import scaled_eigenvalues, score_information

__all__ = ["Bar", "bars_of_information", "bars_of_rates"]

ROOT_N = (-0.60, -0.40)
MEAN_D1 = 6.82  # of sqrt(n) D1 of the plain gate, n to infinity
SCALE = np.array([25.0, -8.0, 1.0]) / np.sqrt(690.0)  # direction of the scale in (beta1, beta0, tau)


class Bar(NamedTuple):
    """One number beside what it has to be."""

    name: str
    value: float
    low: float
    high: float

    @property
    def met(self) -> bool:
        """Whether the number lies in the interval."""
        return self.low <= self.value <= self.high


def bars_of_rates(frames: dict[str, Any], least: int = 1000) -> Iterator[Bar]:
    """Give the bars of all studies that have been run, by name.

    Args:
        frames: the errors of each study.
        least: smallest n of the over-specified studies.
    """
    free = -np.inf
    if "softmax" in frames:
        frame = frames["softmax"]
        yield Bar("(i) plain gate: slope of median D1", slope_of(frame, "loss"), *ROOT_N)
        large = frame[frame["n"] >= least]
        mean = float(np.mean(np.sqrt(large["n"]) * large["loss"]))
        yield Bar("(i) plain gate: mean of sqrt(n) D1, n >= 1000", mean, 0.85 * MEAN_D1, 1.15 * MEAN_D1)
    if "top-1" in frames:
        yield Bar("(i) top-1: slope of median D1", slope_of(frames["top-1"], "loss"), *ROOT_N)
        yield Bar("(i) top-1: slope of the boundary", slope_of(frames["top-1"], "boundary"), free, -0.80)
    for j in (1, 2):
        if (frame := frames.get(f"softmax-split-{j}")) is not None:
            who = f"(ii) expert {j} split"
            for name in ("beta1", "b"):
                mean, worst = (slope_of(frame, f"{each}{name}_{j}", least) for each in ("", "worst_"))
                yield Bar(f"{who}: slope of the error of {name}, members weighted", mean, -0.30, np.inf)
                # A light member hides behind a heavy one: the likelihood leaves shares free, and finds uneven ones.
                yield Bar(f"{who}: slope of the error of {name}, worst member", worst, -0.30, np.inf)
            yield Bar(f"{who}: slope of the Hellinger distance", slope_of(frame, "hellinger", least), *ROOT_N)
            large = frame[frame["n"] >= least]
            yield Bar(f"{who}: share of finished fits", float(large["converged"].mean()), 1.0, 1.0)
    if "temperature" in frames:
        frame = frames["temperature"]
        for name in ("beta1", "beta0", "tau"):
            yield Bar(f"(iii) free temperature: slope of {name}", slope_of(frame, f"raw_{name}"), -0.10, np.inf)
        for name in ("beta1", "beta0"):
            yield Bar(f"(iii) free temperature: slope of {name} / tau", slope_of(frame, f"{name}_1"), *ROOT_N)
        if "activated" in frames:
            for name in ("beta1", "beta0", "tau"):
                linear, bent = (slope_of(frames[s], f"raw_{name}") for s in ("temperature", "activated"))
                yield Bar(f"(iii) activated: slope of {name}, less that of the linear gate", bent - linear, free, 0.0)


def bars_of_information(points: int = 100_000) -> Iterator[Bar]:
    """Give the bars of the information at the truths, by quadrature and from scores of drawn data."""
    for name, mixture in (
        ("free temperature", Mixture(Gate("temperature"), LINEAR)),
        ("activated", Mixture(Gate("activated"), ACTIVATED)),
    ):
        exact = np.asarray(fisher(mixture))
        places, answers = jax.random.split(jax.random.key(0))
        x = jax.random.uniform(places, (points, 1))
        drawn = np.asarray(score_information(mixture, x, mixture.sample(answers, x)))
        for how, information in (("quadrature", exact), (f"{points} points", drawn)):
            values, vectors = scaled_eigenvalues(information)
            who = f"(iii) information, {name}, {how}"
            if name == "activated":
                yield Bar(f"{who}: least eigenvalue", values[0], 1e-3, np.inf)
                continue
            yield Bar(f"{who}: eigenvalues below 1e-10", float(np.sum(values < 1e-10)), 1, 1)
            yield Bar(f"{who}: the next one", values[1], 1e-3, np.inf)
            null = (vectors[:, 0] / np.sqrt(np.diagonal(information)))[[0, 1, -1]]
            null /= np.linalg.norm(null) * np.sign(null[0])
            yield Bar(f"{who}: distance of its vector from the scale", float(np.abs(null - SCALE).max()), 0, 1e-6)
        kept = slice(1, None) if name != "activated" else slice(None)
        one, other = (np.linalg.eigvalsh(each)[kept] for each in (exact, drawn))
        worst = float(np.abs(other / one - 1).max())
        yield Bar(f"(iii) information, {name}: relative difference of both", worst, 0, 0.10)
