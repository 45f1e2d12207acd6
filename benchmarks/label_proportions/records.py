"""One method on one cell: a row of the table of results.

Law: a row holds what its tables show, how it came about (versions, commit, seed, hash of the data), and no name of a
machine. "last" takes the net after its last epoch; "by labels" is the published rule, the epoch of the best area on
the labels of validation rows, and never ours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.harness.records import commit
from benchmarks.label_proportions import metrics
from benchmarks.label_proportions.catalogue import Fit
from benchmarks.label_proportions.protocol import Cell, Split
from benchmarks.studies.label_proportions.data import fingerprint
from benchmarks.worker import MIB, peak_bytes
from lawful.models.llp import count_log_likelihood, posterior_given_counts
from lawful.models.llp.training.fitted import Fitted

FIELDS = (
    "data", "size", "columns", "seed", "method", "selection", "epoch", "auc", "log_loss", "calibration_error",
    "train_auc", "bag_log_likelihood", "wall_s", "cpu_s", "peak_mb", "verdict", "commit", "versions", "data_sha256",
)  # fmt: skip
PACKAGES = ("jax", "numpy", "optax", "scikit-learn")


def records(cell: Cell, parts: Split, name: str, fit: Fit) -> Iterator[dict[str, Any]]:
    """Fit, and judge on the test rows: a record, and one of the published rule where there are validation rows."""
    wall, cpu = time.perf_counter(), time.process_time()
    fitted = fit(parts, cell.seed)
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    common = {
        **cell._asdict(),
        "method": name,
        **spent,
        "peak_mb": peak_mb(),
        "verdict": fitted.details.get("verdict", ""),
    }
    common |= {"commit": commit(), "versions": versions(), "data_sha256": fingerprint(cell.data)[:16]}
    score, z = fitted.decision_function(parts.test.X), fitted.logits(parts.test.X)
    yield common | {"selection": "last", "epoch": ""} | judged(parts, score, z) | seen(parts, fitted)
    network = fitted.details.get("network")
    if network is not None and len(parts.validation.y):
        epochs = range(len(network.losses))
        found = [metrics.auc(parts.validation.y, network.logits(parts.validation.X, epoch)) for epoch in epochs]
        best = int(np.argmax(found))
        z = network.logits(parts.test.X, best)
        yield common | {"selection": "by labels", "epoch": best + 1} | judged(parts, z, z)


def judged(parts: Split, score: np.ndarray, z: np.ndarray) -> dict[str, float]:
    """Compare scores and log odds of the test rows with their labels and with the counts of test bags."""
    y, bags = parts.test.y, parts.test_bags
    return {
        "auc": metrics.auc(y, score),
        "log_loss": metrics.log_loss(y, z),
        "calibration_error": metrics.calibration_error(y, z),
        "bag_log_likelihood": float(np.mean(count_log_likelihood(z, bags))) if bags.n_bags else float("nan"),
    }


def seen(parts: Split, fitted: Fitted) -> dict[str, float]:
    """Return the area of the posterior of the training rows, which knows their counts, against their hidden labels."""
    posterior = fitted.details.get("posterior")
    if posterior is None:
        posterior = np.asarray(posterior_given_counts(fitted.logits(parts.train.X), parts.bags))
    inside = parts.bags.memberships > 0
    return {"train_auc": metrics.auc(parts.train.y[inside], posterior[inside])}


def peak_mb() -> float:
    """Return the largest memory that the process has had so far."""
    return peak_bytes() / MIB


@cache
def versions() -> str:
    """Name what the numbers depend on."""
    return "; ".join(f"{package} {version(package)}" for package in PACKAGES)
