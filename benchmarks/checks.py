"""What the checks for numbers that are not finite cost in compiled programs: the same inference with them and without.

    taskset -c 0 python benchmarks/checks.py

Without them, `isnan`, `isinf` and `isfinite` are constants while a program is traced and compiled, so XLA drops what
hangs on them. On sound numbers the answers are equal but for rounding, which grows along a chain. The two take
turns; a ratio is that of two calls of one round. A filter that reads NaN as weight zero has no bar: that is a policy,
which looks at every weight.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import models
from benchmarks.workloads import REGRESSION_MEAN, observations, regression
from lawful import inference
from lawful.inference import kernels

ROUNDS, BAR = 20, 1.03
TESTS = {"isnan": False, "isinf": False, "isposinf": False, "isneginf": False, "isfinite": True}


@contextmanager
def without_checks() -> Iterator[None]:
    """Take every number for finite, in what is traced meanwhile."""
    kept = {name: getattr(jnp, name) for name in TESTS}
    for name, answer in TESTS.items():
        setattr(jnp, name, lambda x, answer=answer, **_: jnp.full(jnp.shape(x), answer))
    try:
        yield
    finally:
        for name, test in kept.items():
            setattr(jnp, name, test)


def cases() -> dict[str, tuple[Callable[[], Callable[[int], Any]], bool]]:
    """Name the inferences; each is built anew when it is asked for. And whether the bar holds for it."""
    series = jnp.asarray(observations("LG"), "float32")
    data = tuple(jnp.asarray(x, kind) for x, kind in zip(regression(), ("float32", "int32"), strict=True))
    start = {"coefficients": jnp.asarray(REGRESSION_MEAN, "float32")}

    def filtered(particles: int, nonfinite: Any) -> Callable[[int], Any]:
        plan = inference.smc(models.lg, particles=particles, keep="last", nonfinite=nonfinite)
        return lambda i: plan(jax.random.key(i), series).log_evidence

    def chains(kernel: Any, draws: int) -> Callable[[int], Any]:
        plan = inference.mcmc(models.logistic, kernel, chains=16, warmup=0, draws=draws, init=start)
        return lambda i: plan(jax.random.key(i), *data).posterior["coefficients"]

    return {
        "particle filter, 1,000 particles": (lambda: filtered(1_000, "error"), True),
        "particle filter, 20,000 particles": (lambda: filtered(20_000, "error"), True),
        "particle filter, 20,000 particles, NaN reads as zero": (lambda: filtered(20_000, "dead"), False),
        "HMC, 8 leapfrogs": (lambda: chains(kernels.hmc(0.05, 8), 300), True),
        "NUTS": (lambda: chains(kernels.nuts(0.05), 40), True),
    }


def main() -> None:
    """Measure and print."""
    for name, (build, has_bar) in cases().items():
        checked, plain = build(), build()
        first = checked(0)
        with without_checks():
            jax.clear_caches()
            other = plain(0)
        np.testing.assert_allclose(np.ravel(first)[:20], np.ravel(other)[:20], rtol=1e-4, err_msg=name)
        checked(0)
        spent: list[list[float]] = [[], []]
        for number in range(ROUNDS):
            for which in (0, 1) if number % 2 else (1, 0):
                start = time.process_time()
                (checked, plain)[which](number)
                spent[which].append(time.process_time() - start)
        ratios = np.divide(*spent)
        bar = f"bar {BAR}: {'met' if np.median(ratios) <= BAR else 'MISSED'}" if has_bar else "no bar"
        print(
            f"{name}: {np.median(spent[0]):.4f} s with checks, {np.median(spent[1]):.4f} s without; median ratio "
            f"{np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f}), of minima "
            f"{min(spent[0]) / min(spent[1]):.3f}; {bar}",
            flush=True,
        )


if __name__ == "__main__":
    main()
