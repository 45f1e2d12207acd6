"""Data mixtures: the regression of losses on shares, on the mixtures and models that RegMix published.

Law: lengths and noise are fitted on mixtures of the training set alone, and the test sets are looked at once; the fit
takes FITTED of the 512 mixtures, which the seed chooses, and the predictions are given all 512.

    python -m benchmarks.studies.papers.data_mixtures

Data: https://github.com/sail-sg/regmix (MIT), folder data/, as regmix/ in the folder that LAWFUL_DATA names.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from benchmarks.studies.posteriordb import data_folder
from lawful import inference
from lawful.models.papers.data_mixtures import data_mixtures

SEEDS = range(100, 105)
FITTED = 128  # mixtures from which lengths, heights, noises and levels are fitted
DRAWS = 500
STEPS = 60
WIDTH = 1.6448536269514722  # normal quantile of an interval of 90 %


@dataclass(frozen=True)
class Mixtures:
    """Mixtures with the losses of the models that were trained on them."""

    weights: np.ndarray  # (n, 17)
    loss: np.ndarray  # (n, 13)


def read(folder: Path, name: str) -> Mixtures:
    """Read mixtures and losses, whose first column is a running number."""
    kind, size = name.split("_")
    files = (f"{kind}_mixture_{size}.csv", f"{kind}_pile_loss_{size}.csv")
    weights, loss = (np.loadtxt(folder / file, delimiter=",", skiprows=1)[:, 1:] for file in files)
    return Mixtures(weights / weights.sum(axis=1, keepdims=True), loss)


def predicted(seed: int, known: Mixtures, untried: np.ndarray) -> tuple[dict[str, np.ndarray], int]:
    """Fit one loss after the other and give mean, sd and draws in the units of the losses, and how many were not ok."""
    chosen = np.random.default_rng(seed).choice(len(known.weights), FITTED, replace=False)
    mean, sd = known.loss.mean(axis=0), known.loss.std(axis=0)
    standard = (known.loss - mean) / sd
    domains = known.weights.shape[1]
    start = {
        "log_length": jnp.zeros((1, domains)),
        "log_height": jnp.full(1, 0.5),
        "log_noise": jnp.full(1, -2.0),
        "level": jnp.zeros(1),
    }
    plan = inference.maximise(data_mixtures, starts=1, steps=STEPS, init=start)
    kept: dict[str, list[Any]] = {"mean": [], "sd": [], "untried": []}
    doubtful = 0
    for j in range(standard.shape[1]):
        result = plan(jax.random.key(seed), known.weights[chosen], standard[chosen, j : j + 1])
        doubtful += not result.ok
        loss = standard[:, j : j + 1]
        found = result.predict(data_mixtures, known.weights, loss, untried, DRAWS, key=seed)
        kept["mean"].append(mean[j] + sd[j] * found["mean"][0, 0, 0])
        kept["sd"].append(sd[j] * found["sd"][0, 0, 0])
        kept["untried"].append(mean[j] + sd[j] * found["untried"][0, 0, :, 0])
    return {name: np.stack(values, axis=-1) for name, values in kept.items()}, doubtful


def rank_correlation(mean: np.ndarray, loss: np.ndarray) -> float:
    """Average over the losses the rank correlation of predictions and losses."""
    return float(np.mean([spearmanr(mean[:, j], loss[:, j])[0] for j in range(loss.shape[1])]))


def decided(draws: np.ndarray, loss: np.ndarray) -> str:
    """Choose the mixture of least expected regret over joint draws, of the mean loss, and say how it turned out."""
    average, truth = draws.mean(axis=-1), loss.mean(axis=-1)
    regret = average - average.min(axis=1, keepdims=True)
    best = int(regret.mean(axis=0).argmin())
    chance = np.mean(average.argmin(axis=1) == best)
    return (
        f"choice {best}: probability of being the best {chance:.2f}, expected regret {regret[:, best].mean():.3f}, "
        f"90 % of draws below {np.quantile(regret[:, best], 0.9):.3f}; rank {1 + int(np.sum(truth < truth[best]))} "
        f"of {len(truth)}, regret {truth[best] - truth.min():.3f}"
    )


def main() -> int:
    """Run all seeds and print each bar beside the number measured; give the number of bars missed."""
    jax.config.update("jax_enable_x64", True)
    folder = data_folder() / "regmix"
    known, small, large = (read(folder, name) for name in ("train_1m", "test_1m", "test_1B"))
    untried, n = np.concatenate([small.weights, large.weights]), len(small.weights)
    rows = []
    for seed in SEEDS:
        began = time.perf_counter()
        found, doubtful = predicted(seed, known, untried)
        inside = np.abs(small.loss - found["mean"][:n]) < WIDTH * found["sd"][:n]
        row = [
            rank_correlation(found["mean"][:n], small.loss),
            rank_correlation(found["mean"][n:], large.loss),
            inside.mean(),
        ]
        rows.append(row)
        text = "1M {:.4f}, 1B {:.4f}, coverage {:.4f}".format(*row)
        print(f"seed {seed}: {text}; {doubtful} fits not ok; {time.perf_counter() - began:.0f} s")
        print(f"  among 1M mixtures, {decided(found['untried'][:, :n], small.loss)}")
        print(f"  among 1B mixtures, {decided(found['untried'][:, n:], large.loss)}", flush=True)
    values = np.array(rows)
    first, second, third = values.mean(axis=0)
    bars = (
        ("mean rank correlation, 1M tests", ">= 0.97", first, first >= 0.97),
        ("mean rank correlation, 1B models", ">= 0.92", second, second >= 0.92),
        ("coverage of 90 % intervals, 1M tests", "0.88 to 0.92", third, 0.88 <= third <= 0.92),
    )
    for i, (name, bar, value, met) in enumerate(bars):
        low, high = values[:, i].min(), values[:, i].max()
        print(f"{name}: bar {bar}, measured {value:.4f} ({low:.4f} to {high:.4f}): {'met' if met else 'MISSED'}")
    return sum(not met for *_, met in bars)


if __name__ == "__main__":
    sys.exit(main())
