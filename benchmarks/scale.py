"""Factor graphs at scale: `python benchmarks/scale.py`, or with the names of some parts.

grid: a binary grid of a million variables, built and swept. trees: exact marginals of a star, a caterpillar and a
binary tree of 100,000 variables with four states. counts: all messages of a million members in bags of 32 and of 2048.
network: a query of the alarm network. program: a graph read off a program with a million elements in three plates.
counted: W5e with bags of 2048 as counts, from arrays to beliefs; their pairs would be eight million factors. CPU
seconds, all threads, the least of several runs after the first; the first, which compiles, stands apart. The bars are
absolute, for two cores; the exit status tells whether all are met.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lawful
from benchmarks.contestants.w5c.ours import alarm_graph
from benchmarks.harness.measured import Measured, run_parts
from benchmarks.worker import MIB, peak_bytes
from benchmarks.workloads import ALARM_EVIDENCE, ATTRACTION, COUPLING, count_scores, pairs
from lawful.inference.graphs import FactorGraph, counts, infer, propagated, to_factor_graph

SWEEPS = 20


def cpu_seconds(run: Callable[[], Any], rounds: int = 1) -> float:
    """Least CPU seconds of a call."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        jax.block_until_ready(run())
        found.append(time.process_time() - start)
    return min(found)


def grid_graph(side: int) -> FactorGraph:
    """A binary grid of normal scores whose neighbours are drawn to be equal."""
    scores = np.random.default_rng(3).normal(size=(side, side, 2)).astype(np.float32)
    graph = FactorGraph()
    z = graph.variables("z", (side, side), 2, scores)
    table = np.float32(COUPLING) * np.eye(2, dtype=np.float32)
    graph.factors("down", [z[:-1], z[1:]], table)
    graph.factors("right", [z[:, :-1], z[:, 1:]], table)
    return graph


def grid(rounds: int, side: int = 1000) -> Iterator[Measured]:
    """Build time, and the time of a sweep from runs of different lengths."""
    messages = 4 * side * (side - 1)
    grid_graph(4)  # what is compiled once for all graphs
    yield Measured(f"grid {side} x {side}: built", cpu_seconds(lambda: grid_graph(side)), 1.0)
    graph = grid_graph(side)

    def run(sweeps: int) -> Any:
        return propagated(graph, damping=0.5, max_iters=sweeps, tol=0.0, certify=False).beliefs["z"]

    yield Measured("  first call, compiled", cpu_seconds(lambda: run(1)))
    one = cpu_seconds(lambda: run(1), rounds)
    run(1 + SWEEPS)
    sweep = (cpu_seconds(lambda: run(1 + SWEEPS), rounds) - one) / SWEEPS
    yield Measured("  one sweep and the answer", one)
    yield Measured("  a sweep", sweep, 0.25)
    yield Measured("  a million messages", 1e6 * sweep / messages, 1 / 16)


def tree_graph(parent: np.ndarray, states: int = 4) -> FactorGraph:
    """A tree: the parent of each variable but the first, by number."""
    rng = np.random.default_rng(4)
    graph = FactorGraph()
    z = graph.variables("z", (len(parent) + 1,), states, rng.normal(size=(len(parent) + 1, states)).astype(np.float32))
    tables = rng.normal(size=(len(parent), states, states)).astype(np.float32)
    graph.factors("edge", [z[parent], z[1:]], tables)
    return graph


def trees(rounds: int, size: int = 100_000) -> Iterator[Measured]:
    """Exact marginals of trees of three forms."""
    child = np.arange(1, size)
    forms = {
        "star": np.zeros(size - 1, int),
        "caterpillar": np.where(child % 2, np.maximum(child - 1, 0), np.maximum(child - 2, 0)),
        "binary tree": (child - 1) // 2,
    }
    for name, parent in forms.items():
        graph = tree_graph(parent)

        def run(graph: FactorGraph = graph) -> Any:
            return infer(graph, "exact", compiled=True).beliefs["z"]

        yield Measured(f"{name} of {size}: first call, planned and compiled", cpu_seconds(run))
        yield Measured("  exact marginals", cpu_seconds(run, rounds), 2.0)


def bags(rounds: int, members: int = 1 << 20) -> Iterator[Measured]:
    """Messages of soft counts to all members, and the memory that they take beside the numbers themselves."""
    for bag in (32, 2048):
        h = 1.5 * np.random.default_rng(5).normal(size=(members // bag, bag)).astype(np.float32)
        k = np.round(0.8 * (1 / (1 + np.exp(-h))).sum(axis=1))
        g = -((np.arange(bag + 1, dtype=np.float32) - k[:, None]) ** 2)
        data = jnp.asarray(h), jnp.asarray(g)
        send = jax.jit(counts.messages).lower(*data).compile()
        scratch = send.memory_analysis().temp_size_in_bytes / MIB
        yield Measured(f"counts, {members} members in bags of {bag}: memory", scratch, 512.0, "MiB")
        yield Measured("  all messages", cpu_seconds(lambda: send(*data), rounds), 1.0)


def network(rounds: int) -> Iterator[Measured]:
    """A query of the alarm network: 34 marginals given three observations."""
    graph = alarm_graph()

    def run(times: int = 1) -> Any:
        for _ in range(times):
            found = infer(graph.observe(ALARM_EVIDENCE), compiled=True)
        return found.beliefs

    yield Measured("alarm: first call, planned and compiled", cpu_seconds(run))
    yield Measured("  34 marginals", cpu_seconds(lambda: run(100), rounds) / 100, 2e-3)


def plates_program(sites: int, edges: int, readings: int) -> Callable[[jax.Array], None]:
    """Labels in a plate, pairs of them in another, and noisy readings of some in a third."""
    rng = np.random.default_rng(7)
    first, read = rng.integers(0, sites, edges), rng.integers(0, sites, readings)
    second = (first + rng.integers(1, sites, edges)) % sites

    def labels(y: jax.Array) -> None:
        with lawful.plate("site", sites):
            z = lawful.sample("z", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
        with lawful.plate("edge", edges):
            lawful.factor("alike", jnp.where(z[first] == z[second], 0.5, 0.0))
        with lawful.plate("reading", readings):
            lawful.sample("y", dist.Normal(jnp.array([-1.0, 0.0, 1.0])[z[read]], 1.0), obs=y)

    return labels


def program(rounds: int, elements: int = 1_000_000) -> Iterator[Measured]:
    """Build times of one program and of another of its shapes: the first has all operations to compile."""
    sizes = 3 * elements // 10, 4 * elements // 10, 3 * elements // 10
    y = jnp.asarray(np.random.default_rng(8).normal(size=sizes[2]).astype(np.float32))

    def built() -> Any:
        return to_factor_graph(plates_program(*sizes), y).potentials

    yield Measured(f"program of {elements} elements in 3 plates: first graph", cpu_seconds(built), 5.0)
    yield Measured("  another", cpu_seconds(built, min(rounds, 3)))


def counted_graph(variables: int, bag: int) -> FactorGraph:
    """The graph of W5e with bags as counts."""
    given = pairs(variables, bag)
    graph = FactorGraph()
    y = graph.variables("y", (variables,), 2, np.stack([np.zeros_like(given.odds), given.odds], axis=1))
    graph.count("bag", y[given.bags], count_scores(bag).astype(np.float32))
    graph.factors("near", [y[given.near[:, 0]], y[given.near[:, 1]]], np.float32(ATTRACTION) * np.eye(2, dtype="f4"))
    return graph


def counted(rounds: int, variables: int = 8192, bag: int = 2048) -> Iterator[Measured]:
    """From arrays to beliefs after a hundred sweeps, compiled and then again."""
    pairs(variables, bag)

    def run() -> Any:
        graph = counted_graph(variables, bag)
        return propagated(graph, damping=0.5, max_iters=100, tol=0.0, certify=False, factors=False).beliefs["y"]

    yield Measured(f"bags of {bag} as counts, {variables} variables: first beliefs", cpu_seconds(run), 10.0)
    yield Measured("  built and swept again", cpu_seconds(run, rounds))


PARTS: dict[str, Callable[[int], Iterator[Measured]]] = {
    "grid": grid,
    "trees": trees,
    "counts": bags,
    "network": network,
    "program": program,
    "counted": counted,
}


if __name__ == "__main__":
    status = run_parts(__doc__, PARTS, rounds=5)
    print(f"peak memory of the process {peak_bytes() / MIB:.0f} MiB")
    sys.exit(status)
