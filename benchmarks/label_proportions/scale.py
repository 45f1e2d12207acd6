"""Label proportions at scale: `python benchmarks/label_proportions/scale.py`, or with the names of some parts.

sweeps: 30 sweeps over a million rows, five neighbours each, in bags of 8 to 2048, from arrays to soft labels. adult: a
hundred sweeps over Adult in bags of 2048, with all compilation. neighbours: five neighbours of a million rows in 32
dimensions, of one cloud and of clusters, by an index. pipeline: the classifier on a million rows, from arrays to
probabilities, with a small net, with the bag process and as it comes.

Every case has a process of its own, so that its peak memory is its own. Bars are wall seconds of an idle machine of two
cores, and what is held against them are CPU seconds of all threads, which are no fewer and do not depend on what else
runs; wall seconds stand beside them. The exit status tells whether all bars are met. With `--out FILE` the numbers of
a case take the place of its older ones in a table, with commit and versions.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.harness.measured import Measured, both, printed, timed
from benchmarks.harness.records import commit
from benchmarks.label_proportions.csv_file import read, write
from benchmarks.label_proportions.metrics import auc
from benchmarks.label_proportions.records import versions
from benchmarks.worker import MIB, peak_bytes
from lawful.models.llp import Bags, LabelProportionClassifier, LabelProportionSelfTraining, coupled, knn_graph, labelled
from lawful.models.llp.learners import Net
from lawful.models.llp.training.network import Recipe

ROWS = 1_000_000
K = 5
SWEEPS = 30
KAPPA = 0.95
FIELDS = ("case", "rows", "what", "value", "unit", "bar", "met", "commit", "versions")


def near_pairs(rows: int, seed: int = 0) -> np.ndarray:
    """Give pairs (E, 2) of rows at random places of a cube of which one is among the five nearest of the other."""
    from scipy.spatial import cKDTree

    places = np.random.default_rng(seed).random((rows, 3)).astype(np.float32)
    nearest = cKDTree(places).query(places, K + 1)[1][:, 1:]
    asks = np.repeat(np.arange(rows), K)
    first, second = np.minimum(asks, nearest.reshape(-1)), np.maximum(asks, nearest.reshape(-1))
    keys = np.unique(first * rows + second)
    return np.stack([keys // rows, keys % rows], axis=1).astype(np.int32)


def sweeps(bag: str, most: int) -> Iterator[Measured]:
    """Sweep over a graph that is given, compiled and then again with other logits."""
    size = int(bag)
    rows = most // size * size
    random = np.random.default_rng(1)
    z = random.normal(-1.5, 1.0, rows).astype(np.float32)
    labels = random.random(rows) < 1 / (1 + np.exp(-z))
    bags = Bags.from_labels(labels.astype(int), random.permutation(rows) // size)
    edges = near_pairs(rows)

    def run(z: np.ndarray) -> Any:
        return labelled(z, bags, coupling, max_iters=SWEEPS, tol=0.0)

    strength = timed(lambda: coupled(edges, rows, bags.base_rate, kappa=KAPPA))
    coupling = strength.value
    first, again = timed(lambda: run(z)), timed(lambda: run(z[::-1]))
    name = f"{rows} rows, {len(edges)} pairs, bags of {size}: {SWEEPS} sweeps"
    yield from both(name, again, 60.0)
    yield Measured("  strength of the coupling", strength.cpu)
    yield Measured("  set-up: strength, index arrays, compiled", strength.cpu + first.cpu - again.cpu, 15.0)
    yield Measured("  largest difference of a sum from its count", again.value.count_error, 1e-4 * size, "")
    yield Measured("  peak memory", peak_bytes() / MIB, 6 * 1024, "MiB")


def adult(bag: str, rows: int) -> Iterator[Measured]:
    """Sweep a hundred times over the rows of Adult, however many were asked for, with all that has to be compiled."""
    from benchmarks.studies.label_proportions.data import load_llp

    data, size = load_llp("adult"), int(bag)
    order = np.random.default_rng(0).permutation(len(data.y))[: len(data.y) // size * size]
    X, y = data.X[order], data.y[order]
    bags = Bags.from_labels(y, np.arange(len(y)) // size)
    graph = timed(lambda: knn_graph(X, K, "cosine"))
    z = np.random.default_rng(1).normal(-1.5, 1.0, len(y)).astype(np.float32)

    def run() -> Any:
        coupling = coupled(graph.value.edges, len(y), bags.base_rate, kappa=KAPPA)
        return labelled(z, bags, coupling, max_iters=100, tol=0.0)

    yield from both(f"Adult, bags of {size}: strength, compiled and 100 sweeps", timed(run), 10.0)
    yield Measured("  the same again", timed(run).cpu)
    yield Measured("  its neighbours", graph.cpu)
    yield Measured("  peak memory", peak_bytes() / MIB, None, "MiB")


def cloud(kind: str, rows: int, width: int) -> np.ndarray:
    """Give rows of one normal cloud, of 200 clusters of different sizes and widths, or of a curved sheet with noise."""
    random = np.random.default_rng(2)
    if kind == "normal":
        return random.standard_normal((rows, width), np.float32)
    if kind == "clusters":
        shares = random.dirichlet(np.ones(200))
        own = random.choice(200, rows, p=shares)
        middle = 3 * random.standard_normal((200, width), np.float32)
        spread = random.uniform(0.1, 1.0, (200, 1)).astype(np.float32)
        return middle[own] + spread[own] * random.standard_normal((rows, width), np.float32)
    inner = random.standard_normal((rows, 6), np.float32)
    waves = np.sin(inner @ random.standard_normal((6, width), np.float32))
    return waves + np.float32(0.1) * random.standard_normal((rows, width), np.float32)


def neighbours(kind: str, rows: int) -> Iterator[Measured]:
    """Find the neighbours of a million rows."""
    X = cloud(kind, rows, 32)
    found = timed(lambda: knn_graph(X, K, method="approximate"))
    yield from both(f"five neighbours of {rows} rows, {kind}, 32 columns", found, 180.0)
    yield Measured("  of five are missed", 1 - found.value.recall, 0.1, "")
    yield Measured("  peak memory", peak_bytes() / MIB, 6 * 1024, "MiB")


def rows_with_labels(rows: int, width: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Give covariates in clusters and labels, about a fifth ones, that follow a curved function of them."""
    X = cloud("sheet", rows, width)
    score = 2 * X[:, 0] * X[:, 1] + 1.5 * X[:, 2] - X[:, 3] - 1.7
    return X, (np.random.default_rng(3).random(rows) < 1 / (1 + np.exp(-score))).astype(int)


CLASSIFIERS: dict[str, Any] = {
    "net": LabelProportionSelfTraining(Net(Recipe(hidden=(32,), epochs=3)), random_state=0),
    "default": LabelProportionClassifier(random_state=0),
}


def pipeline(case: str, rows: int) -> Iterator[Measured]:
    """Fit the classifier to counts of a million rows, and score as many as it has for a test."""
    name, size = case.split("-")
    X, y = rows_with_labels(rows + 20_000)
    ids = np.arange(rows) // int(size)
    counts = np.bincount(ids, y[:rows])
    model = clone(CLASSIFIERS[name])
    fit = timed(lambda: model.fit_bags(X[:rows], ids, counts))
    yield from both(f"{rows} rows, bags of {size}, {name}: fit from arrays", fit, 600.0)
    score = timed(lambda: model.decision_function(X[rows:])).value
    yield Measured("  rows of other bags told apart wrongly", 1 - auc(y[rows:], score), None, "")
    yield Measured("  peak memory", peak_bytes() / MIB, 6 * 1024, "MiB")


PARTS: dict[str, tuple[Callable[[str, int], Iterator[Measured]], tuple[str, ...]]] = {
    "sweeps": (sweeps, ("8", "64", "512", "2048")),
    "adult": (adult, ("2048",)),
    "neighbours": (neighbours, ("normal", "clusters", "sheet")),
    "pipeline": (pipeline, tuple(f"{name}-{size}" for name in CLASSIFIERS for size in (8, 512))),
}


def store(file: Path, case: str, rows: int, found: Sequence[Measured]) -> None:
    """Keep what was measured of a case, in place of what was known of it."""
    kept = [row for row in read(file, FIELDS) if (row["case"], row["rows"]) != (case, str(rows))]
    common = {"case": case, "rows": str(rows), "commit": commit(), "versions": versions()}
    for one in found:
        bar, met = ("", "") if one.bar is None else (f"{one.bar:.4g}", str(bool(one.met)))
        told = {"what": one.what.strip(), "value": f"{one.value:.4g}", "unit": one.unit, "bar": bar, "met": met}
        kept.append(common | told)
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, FIELDS, kept)


def main() -> int:
    """Print what was asked for, every case from a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*PARTS, *(f"{part}:{case}" for part, (_, cases) in PARTS.items() for case in cases)]
    parser.add_argument("parts", nargs="*", choices=[[], *names], metavar="PART[:CASE]", help=f"of {', '.join(names)}")
    parser.add_argument("--here", action="store_true", help="in this process")
    parser.add_argument("--rows", type=int, default=ROWS, help="fewer for a look; the bars are for a million")
    parser.add_argument("--out", type=Path, help="table that keeps the numbers")
    options = parser.parse_args()
    out = [] if options.out is None else ["--out", str(options.out)]
    cases = [(*(name.split(":")[:1]), case) for name in options.parts or PARTS
             for case in (name.split(":")[1:] or PARTS[name][1])]  # fmt: skip
    missed = 0
    for part, case in cases:
        if not options.here:
            again = [sys.executable, __file__, f"{part}:{case}", "--here", "--rows", str(options.rows), *out]
            missed |= subprocess.run(again, check=False).returncode
            continue
        found = printed(PARTS[part][0](case, options.rows))
        missed |= any(not one.met for one in found)
        if options.out is not None:
            store(options.out, f"{part}:{case}", options.rows, found)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
