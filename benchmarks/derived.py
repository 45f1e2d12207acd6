"""What is derived from a program beside what was written by hand: `python benchmarks/derived.py`, or some parts.

trajectories: the mixture with 47 parameters on the 500 persons of the demonstration file, growth factors integrated and
classes summed out by transformers, beside `models.trajectories.likelihood.density`. experts: three experts on 2,000
rows, labels summed out, beside `models.gaussian_moe.density`. For both, value and gradient. labels: messages on 20,000
rows in bags of 32 with 74,569 pairs of neighbours, on the graph that is read off `llp_program`, reading included,
beside that made of arrays by hand, making included.

Law: both have the same numbers, to 1e-10, or as far as messages in single precision go. They run in turn in one
process; a ratio is that of the medians of CPU seconds, and its bar is absolute. The exit status tells whether all are
met.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lawful
from benchmarks.harness.measured import Measured, run_parts
from benchmarks.trajectories.run import NAMES, demonstration
from lawful import inference
from lawful.inference.graphs import FactorGraph, propagated
from lawful.models.gaussian_moe import Gate, Mixture, Parameters, gaussian_moe
from lawful.models.llp import Bags, Coupling
from lawful.models.llp.labelling import label_graph
from lawful.models.trajectories import TrajectoryMixture, log_likelihood_by_person, trajectory_mixture, unpack

PERSONS, ROWS, EXPERTS, COUNTED, BAG, PAIRS = 500, 2_000, 3, 20_000, 32, 74_569
STRENGTH = 0.1
Run = Callable[[], Any]


def compared(what: str, derived: Run, written: Run, calls: int, rounds: int, bar: float) -> Iterator[Measured]:
    """Give milliseconds of both and their ratio, from rounds in turn, after one that compiles."""
    seconds: dict[int, list[float]] = {0: [], 1: []}
    runs = (derived, written)
    for i in range(rounds + 1):
        for which in (0, 1) if i % 2 else (1, 0):
            start = time.process_time()
            for _ in range(calls):
                jax.block_until_ready(runs[which]())
            if i:  # the first round compiles
                seconds[which].append((time.process_time() - start) / calls)
    ours, theirs = median(seconds[0]), median(seconds[1])
    yield Measured(f"{what}: derived", 1e3 * ours, unit="ms")
    yield Measured("  written by hand", 1e3 * theirs, unit="ms")
    yield Measured("  ratio", ours / theirs, bar, "")


def same(first: Any, second: Any, tolerance: float) -> None:
    """Refuse to compare the times of what has other numbers."""
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * max(1.0, float(np.max(np.abs(other)))))


def trajectories(rounds: int) -> Iterator[Measured]:
    """Compare value and gradient by the parameters, at the end of a fit."""
    fit = TrajectoryMixture(2, n_starts=1, seed=0).fit(demonstration(PERSONS), **NAMES)
    model, problem = fit.model, fit.problem
    with jax.enable_x64(True):
        free, width = jnp.asarray(fit.free)[:, None], problem.width

        def program(data: Any, at: Any) -> None:
            trajectory_mixture(data, at, model, width)

        def at(free: jax.Array) -> Any:
            return jax.tree.map(lambda leaf: leaf[..., 0], unpack(free, model, problem.bounds))

        out = inference.integrate_normals(["eta"]) >> inference.marginalise(["z"])
        left = inference.enumeration(lawful.trace(program, problem.panel, at(free)), out).marginal
        derived = jax.jit(jax.value_and_grad(lambda free: left.log_density({}, problem.panel, at(free))))
        written = jax.jit(
            jax.value_and_grad(
                lambda free: log_likelihood_by_person(
                    unpack(free, model, problem.bounds), problem.panel, model, width
                ).sum()
            )
        )
        same(derived(free), written(free), 1e-10)
        what = f"trajectories, {fit.n_parameters} parameters, {PERSONS} persons"
        yield from compared(what, lambda: derived(free), lambda: written(free), 200, rounds, 1.5)


def experts(rounds: int) -> Iterator[Measured]:
    """Compare value and gradient by the parameters of a mixture with a softmax gate."""
    with jax.enable_x64(True):
        rng, gate = np.random.default_rng(0), Gate()
        x, y = jnp.asarray(rng.normal(size=(ROWS, 1))), jnp.asarray(rng.normal(size=ROWS))
        slopes, levels = rng.normal(size=(2, EXPERTS, 1)), rng.normal(size=(2, EXPERTS))
        at = jax.tree.map(jnp.asarray, Parameters(slopes[0], levels[0], slopes[1], levels[1], np.ones(EXPERTS)))
        left = inference.enumeration(
            lawful.trace(lambda X, y, at: gaussian_moe(X, y, at, gate), x, y, at), inference.marginalise(["z"])
        ).marginal
        derived = jax.jit(jax.value_and_grad(lambda at: left.log_density({}, x, y, at)))
        written = jax.jit(jax.value_and_grad(lambda at: jnp.sum(Mixture(gate, at).log_density(x, y))))
        same(derived(at), written(at), 1e-10)
        what = f"experts, {EXPERTS} of them, {ROWS} rows"
        yield from compared(what, lambda: derived(at), lambda: written(at), 500, rounds, 1.3)


def labels(rounds: int) -> Iterator[Measured]:
    """Compare the beliefs of all rows after a hundred sweeps."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=COUNTED).astype(np.float32)
    ids = rng.permutation(COUNTED) // BAG
    ones = np.bincount(ids, rng.random(COUNTED) < 1 / (1 + np.exp(-z)), minlength=ids.max() + 1).astype(int)
    bags = Bags.from_ids(ids, ones)
    edges = np.unique(np.sort(rng.integers(0, COUNTED, (2 * PAIRS, 2)), axis=1), axis=0)
    edges = rng.permutation(edges[edges[:, 0] != edges[:, 1]])[:PAIRS]
    near = Coupling(edges, STRENGTH, bags.base_rate, np.nan)
    table = np.asarray(near.log_table, np.float32)

    def swept(graph: FactorGraph) -> Any:
        found = propagated(graph, damping=0.5, max_iters=100, tol=0.0, certify=False, factors=False)
        return found.beliefs["y"]

    def written() -> FactorGraph:
        graph = FactorGraph()
        y = graph.variables("y", (COUNTED,), 2, np.stack([np.zeros_like(z), z], axis=1))
        for number, chosen in enumerate(bags.size_classes):
            own = bags.take(chosen)
            rows = np.reshape(own.members, (own.n_bags, -1))
            graph.count(f"count {number}", y[rows], np.asarray(own.log_weights(), np.float32))
        graph.factors("near", [y[edges[:, 0]], y[edges[:, 1]]], table)
        return graph

    def derived() -> Any:
        return swept(label_graph(z, bags, near))

    same(derived(), swept(written()), 1e-4)
    what = f"labels, {COUNTED} rows, bags of {BAG}, {PAIRS} pairs"
    yield from compared(what, derived, lambda: swept(written()), 1, rounds, 1.3)


PARTS = {"trajectories": trajectories, "experts": experts, "labels": labels}


if __name__ == "__main__":
    sys.exit(run_parts(__doc__, PARTS, rounds=11))
