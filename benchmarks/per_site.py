"""Plain Python per site: a statement under a trivial handler, and tracing the chain of W7.

The distribution of the handler's statement is made once, apart; tracing makes those of the program. Bars of W7: 3
microseconds and 0.15 milliseconds a site. Run: `python benchmarks/per_site.py`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpyro.distributions as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lawful
from benchmarks.models import unrolled_chain
from benchmarks.workloads import chain_data
from lawful.messages import Handler, Message, SampleMessage, installed

LATENTS, ROUNDS = 2500, 11


class Zero(Handler):
    """Gives every choice the value zero."""

    def process(self, message: Message) -> None:
        """Set the value."""
        if isinstance(message, SampleMessage):
            message.value = 0.0


def least(function: Callable[[], object]) -> float:
    """Least CPU seconds of some runs."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    """Measure and print."""
    normal, names, data = dist.Normal(0.0, 1.0), [f"x{i}" for i in range(2 * LATENTS)], jnp.asarray(chain_data(LATENTS))

    def statements() -> None:
        for name in names:
            lawful.sample(name, normal)

    with installed(Zero()):
        handled = least(statements)
    traced = least(lambda: lawful.trace(unrolled_chain(), data))
    print(f"handlers {handled / len(names) * 1e6:.2f} us a site (bar 3)")
    print(f"tracing {traced / len(names) * 1e3:.3f} ms a site (bar 0.15)")


if __name__ == "__main__":
    main()
