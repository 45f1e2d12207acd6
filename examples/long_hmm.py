"""A hidden Markov model of a million steps as a factor graph: evidence, marginals and best path, in seconds.

    python examples/long_hmm.py

A machine runs, idles or fails; what is measured at each step is normal around the mean of the state. The graph is one
array of variables and one table for all pairs of neighbours; `infer` finds that it is a chain, and sums it by loops
over the steps. Nothing underflows: the log of the mass is of the order of minus a million.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lawful.inference import graphs
from lawful.inference.graphs import FactorGraph

STATES = ("runs", "idles", "fails")
START = np.array([0.8, 0.2, 0.0])
MOVES = np.array([[0.990, 0.008, 0.002], [0.030, 0.970, 0.000], [0.050, 0.000, 0.950]])
MEANS, NOISE = np.array([2.0, 0.5, -1.0]), 1.0


def simulated(steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """States and measurements (T,): each next state by one uniform."""
    rng = np.random.default_rng(seed)
    below, uniforms = np.cumsum(MOVES, axis=1).tolist(), rng.random(steps).tolist()
    path = [int(np.searchsorted(np.cumsum(START), uniforms[0], side="right"))]
    for u in uniforms[1:]:
        first, second, _ = below[path[-1]]
        path.append((u >= first) + (u >= second))
    states = np.array(path)
    return states, MEANS[states] + NOISE * rng.normal(size=steps)


def posterior(measured: np.ndarray) -> FactorGraph:
    """Give the graph of the states, given the measurements; what cannot happen has the log -inf."""
    graph = FactorGraph()
    scores = -0.5 * ((measured[:, None] - MEANS) / NOISE) ** 2 - 0.5 * np.log(2 * np.pi * NOISE**2)
    with np.errstate(divide="ignore"):
        start, moves = np.log(START), np.log(MOVES)
    scores[0] += start
    state = graph.variables("state", (len(measured),), states=STATES, log_potential=scores)
    graph.factors("move", [state[:-1], state[1:]], moves)
    return graph


def timed(what: str, action: Callable[[], Any]) -> Any:
    """Do something, and say how long it took."""
    start = time.perf_counter()
    found = jax.block_until_ready(action())
    print(f"  {what}: {time.perf_counter() - start:.2f} s")
    return found


def peak_mib() -> float:
    """Largest memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main(given: Sequence[str] | None = None) -> dict[str, float]:
    """Simulate, infer, compare with the true states; gives what was found."""
    parser = argparse.ArgumentParser(description="Infer the states of a long hidden Markov model.")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(given)
    jax.config.update("jax_enable_x64", True)
    states, measured = simulated(options.steps, options.seed)
    graph = timed("graph built", lambda: posterior(measured))
    print(timed("planned", lambda: graphs.plan(graph)))
    found = timed("log evidence and all marginals, compilation included", lambda: graphs.infer(graph))
    timed("the same again", lambda: graphs.infer(graph))
    best = timed("best path", lambda: graphs.most_probable(graph))
    print(found)
    marginal = np.asarray(found.beliefs["state"])
    answer = {
        "log_evidence": float(found.log_z),
        "log_score": float(best.log_score),
        "wrong_by_marginals": float(np.mean(marginal.argmax(axis=1) != states)),
        "expected_wrong": float(np.mean(1 - marginal.max(axis=1))),
        "wrong_by_path": float(np.mean(np.asarray(best.states["state"]) != states)),
    }
    print(f"log evidence {answer['log_evidence']:.6f}, {answer['log_evidence'] / options.steps:.6f} a step")
    print(f"log score of the best path {answer['log_score']:.6f}")
    print(
        f"wrong states: {answer['wrong_by_marginals']:.3%} by largest marginals, expected "
        f"{answer['expected_wrong']:.3%}; {answer['wrong_by_path']:.3%} by the best path"
    )
    print(f"peak memory {peak_mib():.0f} MiB")
    return answer


if __name__ == "__main__":
    main()
