"""The recursion of W5d by hand in numba, tilted, one thread: what no program of JAX is asked to reach."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from benchmarks.contestants.bags import BagRun
from benchmarks.workloads import bags

PACKAGES = ("numba", "numpy")
DTYPE = "float32"


@numba.njit(fastmath=True)
def tilt_of(h: Any, k: Any) -> Any:
    """A t with sum sigma(h + t) - k + t / 2 within half of zero, by Newton steps inside a bracket: any t serves."""
    tilt, low, high = np.float32(0), np.float32(-40), np.float32(40)
    for _ in range(30):
        total, slope = tilt * np.float32(0.5) - k, np.float32(0.5)
        for i in range(len(h)):
            p = np.float32(1) / (np.float32(1) + np.exp(-h[i] - tilt))
            total += p
            slope += p * (np.float32(1) - p)
        if abs(total) < np.float32(0.5):
            break
        if total > 0:
            high = tilt
        else:
            low = tilt
        tilt -= total / slope
        if not low < tilt < high:
            tilt = (low + high) * np.float32(0.5)
    return tilt


@numba.njit(fastmath=True)
def one_bag(h: Any, k: Any, one: Any, law: Any, weight: Any, out: Any) -> None:
    """Messages of one bag; one, law and weight, of the sizes that `build` gives them, are room to work in."""
    size, tilt = len(h), tilt_of(h, k)
    for s in range(size + 1):
        off = np.float32(s) - k
        weight[s] = np.exp(-off * off - tilt * off)
    law[0, 0] = np.float32(1)
    for i in range(size):
        one[i] = p = np.float32(1) / (np.float32(1) + np.exp(-h[i] - tilt))
        q = np.float32(1) / (np.float32(1) + np.exp(h[i] + tilt))
        law[i + 1, 0] = q * law[i, 0]
        for s in range(1, i + 1):
            law[i + 1, s] = q * law[i, s] + p * law[i, s - 1]
        law[i + 1, i + 1] = p * law[i, i]
    for i in range(size - 1, -1, -1):
        p, q = one[i], np.float32(1) / (np.float32(1) + np.exp(h[i] + tilt))
        with_one, with_zero = np.float32(0), np.float32(0)
        for s in range(i + 1):
            with_one += law[i, s] * weight[s + 1]
            with_zero += law[i, s] * weight[s]
            weight[s] = q * weight[s] + p * weight[s + 1]
        out[i] = tilt + np.log(with_one / with_zero)


def build(settings: dict[str, Any]) -> BagRun:
    """The contestant for one variant."""
    h, k = bags(settings["members"], settings["share"])
    size = h.shape[1]
    one, law, weight = (np.zeros(n, np.float32) for n in (size, (size + 1, size + 1), size + 1))

    def messages() -> np.ndarray:
        found = np.empty_like(h)
        for row in range(len(h)):
            one_bag(h[row], k[row], one, law, weight, found[row])
        return found

    return BagRun(messages, (), settings)
