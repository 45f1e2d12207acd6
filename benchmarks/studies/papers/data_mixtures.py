"""`python -m benchmarks.studies.papers.data_mixtures`: losses on mixtures of training data, as RegMix published them.

Law: form of the program, hyper-parameters and width of the intervals come from the 512 training mixtures alone; the
test mixtures are predicted once. A seed chooses FITTED of the 512, on which the hyper-parameters are fitted; the
forecasts are given all 512, and the others say by how many of its standard deviations a forecast is off.

Data: https://github.com/sail-sg/regmix (MIT), folder data/, as regmix/ in the folder that LAWFUL_DATA names.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from scipy.stats import spearmanr

from benchmarks.studies.posteriordb import data_folder
from lawful import inference
from lawful.inference import kernels
from lawful.models.papers.data_mixtures import choose, data_mixtures

from .bars import judge

SEEDS = range(100, 105)
FITTED = 256  # mixtures on which the hyper-parameters are fitted
DRAWS = 1_000
STEPS = 100
FLOOR = (
    0.9  # of the least known loss: of 0, 0.7 and 0.9 that of greatest density at training mixtures left out in fours
)
WIDTH = 1.6448536269514722  # half the normal interval of 90 %, in standard deviations
TARGET = 8  # the loss on Pile-CC, which the paper makes least
FEW = 96  # mixtures for chains


@dataclass(frozen=True)
class Mixtures:
    """Mixtures with the losses of the models that were trained on them."""

    weights: np.ndarray  # (n, 17)
    loss: np.ndarray  # (n, 13)


@dataclass(frozen=True)
class Forecast:
    """Forecasts of the logarithms of losses above a floor.

    Attributes:
        mean: (m, 13).
        sd: (m, 13), error included.
        left_out: (512 - FITTED, 13), how known losses meet forecasts from all the others, in standard deviations.
        target: (DRAWS, m), joint draws of the target loss.
    """

    mean: np.ndarray
    sd: np.ndarray
    left_out: np.ndarray
    target: np.ndarray


def read(folder: Path, name: str) -> Mixtures:
    """Read mixtures and losses, whose first column is a running number."""
    kind, size = name.split("_")
    files = (f"{kind}_mixture_{size}.csv", f"{kind}_pile_loss_{size}.csv")
    weights, loss = (np.loadtxt(folder / file, delimiter=",", skiprows=1)[:, 1:] for file in files)
    return Mixtures(weights / weights.sum(axis=1, keepdims=True), loss)


def search() -> Callable[..., inference.Result]:
    """Build the search for the hyper-parameters of one loss."""
    start = {name: jnp.full(1, value) for name, value in START.items()}
    return inference.maximise(data_mixtures, starts=1, steps=STEPS, init={**start, "log_length": jnp.zeros((1, 17))})


START = {"log_power": -1.0, "log_height": 0.5, "level": 0.0, "log_noise": -3.0, "growth": 0.0}


def heights(loss: np.ndarray, known: Mixtures) -> np.ndarray:
    """Take logarithms of losses above a floor, where the errors of small and of large losses are more alike."""
    return np.log(loss - FLOOR * known.loss.min(axis=0))


def forecast(seed: int, known: Mixtures, untried: np.ndarray) -> tuple[Forecast, int]:
    """Fit one loss after the other and forecast it; also give how many fits were not ok."""
    order = np.random.default_rng(seed).permutation(len(known.weights))
    fitted, others = order[:FITTED], order[FITTED:]
    log_loss = heights(known.loss, known)
    centre, unit = log_loss.mean(axis=0), log_loss.std(axis=0)
    standard = (log_loss - centre) / unit
    plan, columns, doubtful, target = search(), [], 0, np.empty(0)
    for j in range(standard.shape[1]):
        loss = standard[:, j : j + 1]
        result = plan(jax.random.key(seed), known.weights[fitted], loss[fitted])
        doubtful += not result.ok
        found = result.predict(data_mixtures, known.weights, loss, untried, DRAWS if j == TARGET else 1, key=seed)
        mean, sd, left_out = (np.asarray(found[name])[0, 0, 0] for name in ("mean", "sd", "left_out"))
        columns.append((centre[j] + unit[j] * mean, unit[j] * sd, left_out[others]))
        if j == TARGET:
            target = np.exp(centre[j] + unit[j] * np.asarray(found["untried"])[0, 0, :, 0])
            target += FLOOR * known.loss[:, j].min()
    return Forecast(*(np.stack(parts, axis=-1) for parts in zip(*columns, strict=True)), target), doubtful


def rank_correlation(mean: np.ndarray, loss: np.ndarray) -> float:
    """Average over the losses the rank correlation of forecasts and losses."""
    return float(np.mean([spearmanr(mean[:, j], loss[:, j])[0] for j in range(loss.shape[1])]))


def decided(draws: np.ndarray, loss: np.ndarray) -> str:
    """Choose among mixtures by the expected target loss, and say how that turned out."""
    found, truth = choose(draws), loss[:, TARGET]
    rank = 1 + int(np.sum(truth < truth[found.mixture]))
    return (
        f"mixture {found.mixture}, best with probability {found.chance:.2f}, expected regret {found.regret:.4f}; "
        f"rank {rank} of {len(truth)}, regret {truth[found.mixture] - truth.min():.4f}"
    )


def chains(known: Mixtures) -> tuple[float, float]:
    """Compare NUTS with weighed draws of a normal law at the mode, for the target loss of a few mixtures.

    Give the largest difference of two means of hyper-parameters, in their standard errors, and in posterior standard
    deviations.
    """
    loss = heights(known.loss, known)[:FEW, TARGET : TARGET + 1]
    args = (known.weights[:FEW], (loss - loss.mean()) / loss.std())
    nuts = inference.mcmc(data_mixtures, kernels.nuts(), chains=4, warmup=300, draws=300)
    laplace = inference.guide(data_mixtures, family="laplace", paths=2, particles=10_000, runs=4)
    first, second = (plan(jax.random.key(100), *args) for plan in (nuts, laplace))
    print(f"       NUTS: ok {first.ok}; guide: ok {second.ok} {[finding.code for finding in second.reasons]}")
    errors, shifts = [], []
    for name in (*START, "log_length"):
        one, other = (np.asarray(result.posterior[name]) for result in (first, second))
        one, other = (x.reshape(*x.shape[:2], -1) for x in (one, other))
        for k in range(one.shape[-1]):
            mine = float(array_stats.mcse(one[..., k], chain_axis=0, draw_axis=1, method="mean"))
            runs = other[..., k].mean(axis=1)
            gap = abs(one[..., k].mean() - runs.mean())
            errors.append(gap / np.hypot(mine, runs.std(ddof=1) / np.sqrt(len(runs))))
            shifts.append(gap / one[..., k].std())
    return max(errors), max(shifts)


def main() -> int:
    """Run all seeds and print each bar beside the number measured; give the number of bars missed."""
    jax.config.update("jax_enable_x64", True)
    folder = data_folder() / "regmix"
    known, small, middle, large = (read(folder, name) for name in ("train_1m", "test_1m", "test_60m", "test_1B"))
    untried, n, rows = np.concatenate([small.weights, large.weights]), len(small.weights), []
    for seed in SEEDS:
        began = time.process_time()
        found, doubtful = forecast(seed, known, untried)
        off = np.abs(heights(small.loss, known) - found.mean[:n]) / found.sd[:n]
        width = np.quantile(np.abs(found.left_out), 0.9, axis=0)
        rows.append(
            [
                rank_correlation(found.mean[:n], small.loss),
                rank_correlation(found.mean[:n], middle.loss),
                rank_correlation(found.mean[n:], large.loss),
                np.mean(off < WIDTH),
                np.mean(off < width),
                np.mean(np.abs(found.left_out) < WIDTH),
            ]
        )
        numbers = "1M {:.4f}, 60M {:.4f}, 1B {:.4f}, coverage {:.4f}, by others {:.4f}, of others {:.4f}"
        print(f"       seed {seed}: {numbers.format(*rows[-1])}; {doubtful} fits not ok", end="; ")
        print(f"{time.process_time() - began:.0f} CPU s")
        print(f"         of the 1M models, {decided(found.target[:, :n], small.loss)}")
        print(f"         of the 1B models, {decided(found.target[:, n:], large.loss)}", flush=True)
    values, missed = np.array(rows), 0
    bars = (
        ("mean rank correlation, 1M tests", "0.97 or more", 0, 0.97, 1.0),
        ("mean rank correlation, 1B models", "0.92 or more", 2, 0.92, 1.0),
        ("coverage of normal intervals of 90 %, 1M tests", "0.88 to 0.92", 3, 0.88, 0.92),
        ("coverage of intervals as wide as the other training mixtures need", "0.88 to 0.92", 4, 0.88, 0.92),
    )
    for name, bar, i, low, high in bars:
        mean = values[:, i].mean()
        measured = f"{mean:.4f} ({values[:, i].min():.4f} to {values[:, i].max():.4f})"
        missed += judge(name, bar, measured, low <= mean <= high)
    print(f"       coverage of normal intervals, training mixtures that were not fitted on: {values[:, 5].mean():.4f}")
    errors, shift = chains(known)
    name = f"NUTS against weighed Laplace draws, {FEW} mixtures: 22 means apart, in standard errors"
    missed += judge(name, "5", f"{errors:.2f} ({shift:.2f} sd)", errors < 5)
    return missed


if __name__ == "__main__":
    sys.exit(main())
