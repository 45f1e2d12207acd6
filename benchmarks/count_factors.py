"""Cost of count factors: `python benchmarks/count_factors.py`, workload W5d, messages to every member of a bag.

Soft counts -(s - k)^2 on log odds 1.5 times normals, k = 0.8 or 0.4 of the mean count (up to 27 standard deviations off
it), float32; for each size the CPU microseconds a bag of each method, all threads, the least of several rounds, and the
largest error against a float64 recursion of the same numbers over three bags. `taskset -c 0` in front pins to one core.
Where numba can be imported, the O(n^2) recursion by hand, tilted, stands beside it. The bars are absolute: twice the
published figures of that recursion up to 512 members, 1500 us at 2048, and errors of 1e-6.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lawful.inference.numerics import counts

BAGS = {8: 7812, 64: 976, 512: 122, 2048: 30}
BARS = {8: 0.66, 64: 9.0, 512: 152.0, 2048: 1500.0}  # us a bag
ERROR_BAR = 1e-6
METHODS = ("auto", "tree", "blocks", "fourier")
CHECKED = 3


def bags(size: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Log odds and potentials of the workload, float32."""
    h = 1.5 * np.random.default_rng(5).normal(size=(BAGS[size], size))
    k = np.round(share * (1 / (1 + np.exp(-h))).sum(axis=1))
    g = -((np.arange(size + 1)[None] - k[:, None]) ** 2)
    return h.astype(np.float32), g.astype(np.float32)


def recursion(h: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Messages of one bag by the recursion in float64, tilted by bisection so that nothing underflows."""
    h, g = h.astype(np.float64), g.astype(np.float64)
    size, s, low, high = len(h), np.arange(len(g)), -100.0, 100.0
    for _ in range(60):
        theta = (low + high) / 2
        w = np.exp(g - theta * s - np.max(g - theta * s))
        above = (1 / (1 + np.exp(-h - theta))).sum() > (w * s).sum() / w.sum()
        low, high = (low, theta) if above else (theta, high)
    p, q = 1 / (1 + np.exp(-h - theta)), 1 / (1 + np.exp(h + theta))
    beta, alpha, told = np.exp(g - theta * s - np.max(g - theta * s)), np.zeros((size + 1, size + 1)), np.zeros(size)
    alpha[0, 0] = 1
    for i in range(size):
        alpha[i + 1] = q[i] * alpha[i]
        alpha[i + 1, 1:] += p[i] * alpha[i, :-1]
    for i in reversed(range(size)):
        told[i] = theta + np.log(alpha[i, :-1] @ beta[1:]) - np.log(alpha[i] @ beta)
        beta = q[i] * beta + np.append(p[i] * beta[1:], 0.0)
    return told


def cpu_seconds(run: Callable[..., Any], *data: Any, rounds: int) -> float:
    """Least CPU seconds of one call, all threads; short calls are repeated within a round."""

    def some(times: int) -> float:
        start = time.process_time()
        for _ in range(times):
            out = run(*data)
        jax.block_until_ready(out)
        return (time.process_time() - start) / times

    some(1)
    times = max(int(0.1 / max(some(1), 1e-5)), 1)
    return min(some(times) for _ in range(rounds))


def contestants() -> dict[str, Callable[..., Any]]:
    """Our methods, and the recursion by hand where numba is there."""
    ours: dict[str, Callable[..., Any]] = {m: jax.jit(partial(counts.messages, method=m)) for m in METHODS}
    by_hand = numba_floor()
    return ours if by_hand is None else ours | {"numba": by_hand}


def numba_floor() -> Callable[..., Any] | None:
    """Return the tilted recursion compiled by numba, whose laws sum to one without rescaling; None without numba."""
    try:
        import numba
    except ImportError:
        return None

    @numba.njit(fastmath=True)
    def one(h: Any, g: Any, alpha: Any, told: Any) -> None:
        size, theta = len(h), np.float32(0)
        low, high = np.float32(-60), np.float32(60)
        centre = np.argmax(g)
        for _ in range(30):
            total = np.float32(0)
            for i in range(size):
                total += 1 / (1 + np.exp(-h[i] - theta))
            gap = total - centre + theta / 2  # of -(s - k)^2, whose mean moves by -theta / 2
            if gap > 0:
                high = theta
            else:
                low = theta
            if abs(gap) < 0.5:
                break
            theta = (low + high) / 2
        beta = np.empty(size + 1, np.float32)
        for s in range(size + 1):
            beta[s] = np.exp(g[s] - theta * (s - centre))
        alpha[0, 0] = 1
        for i in range(size):
            p, q = 1 / (1 + np.exp(-h[i] - theta)), 1 / (1 + np.exp(h[i] + theta))
            alpha[i + 1, 0] = q * alpha[i, 0]
            for s in range(1, i + 1):
                alpha[i + 1, s] = q * alpha[i, s] + p * alpha[i, s - 1]
            alpha[i + 1, i + 1] = p * alpha[i, i]
        for i in range(size - 1, -1, -1):
            p, q = 1 / (1 + np.exp(-h[i] - theta)), 1 / (1 + np.exp(h[i] + theta))
            with_one, with_zero = np.float32(0), np.float32(0)
            for s in range(i + 1):
                with_one += alpha[i, s] * beta[s + 1]
                with_zero += alpha[i, s] * beta[s]
                beta[s] = q * beta[s] + p * beta[s + 1]
            told[i] = theta + np.log(with_one / with_zero)

    def run(h: jax.Array, g: jax.Array) -> np.ndarray:
        h, g = np.asarray(h), np.asarray(g)
        told, alpha = np.empty_like(h), np.zeros((h.shape[1] + 1,) * 2, np.float32)
        for row in range(len(h)):
            one(h[row], g[row], alpha, told[row])
        return told

    return run


def main() -> int:
    """Print the table; the exit status tells whether `auto` meets the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(BAGS), choices=list(BAGS))
    options = parser.parse_args()
    short = False
    print(f"{'members':>7} {'share':>5} {'method':>8} {'us a bag':>10} {'bar':>7} {'error':>9}")
    for size in options.sizes:
        for share in (0.8, 0.4):
            h, g = bags(size, share)
            exact = [recursion(h[row], g[row]) for row in range(CHECKED)]
            for name, run in contestants().items():
                data = (jnp.asarray(h), jnp.asarray(g)) if name in METHODS else (h, g)
                error = float(np.max(np.abs(np.asarray(run(*data))[:CHECKED] - exact)))
                micros = cpu_seconds(run, *data, rounds=options.rounds) / len(h) * 1e6
                short |= name == "auto" and (micros > BARS[size] or not error <= ERROR_BAR)
                print(f"{size:>7} {share:>5} {name:>8} {micros:>10.3f} {BARS[size]:>7g} {error:>9.1e}", flush=True)
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
