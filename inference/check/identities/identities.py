"""Identities (tier 0b): laws of densities at generated points, for kernels that no enumeration can reach.

Law: for Metropolis-Hastings, log pi(x) + log q(y | x) + log a(x, y) is symmetric in (x, y).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import compile
from lawful.errors import UnsupportedProgramError
from lawful.form.arguments.arrays import split_arguments
from lawful.passes.thread_sites import score
from lawful.tracing.trace import trace

from ...kernels.base.base import initial_state
from ...kernels.walks.random_walk import RandomWalk
from ..statistics.keys import key_of
from ..statistics.report import Report
from ..statistics.repro import kernel_text, line, named

TOLERANCE = 1e-10


def mh_symmetry(kernel: Any, model: Any, *args: Any, points: int = 20, tolerance: float = TOLERANCE) -> Report:
    """Check a random-walk kernel by detailed balance of densities, at prior states and steps of the kernel's kind.

    The kernel is opened: its step e and its coin become inputs. From x the step e leads to y and -e leads back, so in
    unconstrained coordinates `log pi(x) + log |dx/du| + log q(e) + log a(x, y)` must equal the same with (y, -e).

    Args:
        kernel: `mh(random_walk(...))`.
        model: a program.
        args: its arguments.
        points: number of generated points.
        tolerance: largest difference, relative to the larger of 1 and the density.

    Raises: UnsupportedProgramError for another kernel.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> report = mh_symmetry(kernels.mh(kernels.random_walk(0.5)), lambda: lawful.sample("x", dist.Gamma(2.0, 1.0)))
    >>> report.level, report.instances
    ('identities', 20)
    """
    walk = getattr(kernel, "proposal", None)
    if not isinstance(walk, RandomWalk):
        raise UnsupportedProgramError(
            f"mh_symmetry: expected a random-walk kernel, got {kernel!r}; see check.invariant."
        )
    form = trace(model, *args)
    inputs, _, _ = split_arguments(args)
    built = kernel.build(form)
    opened = score(built.form)
    run = compile(opened.form)
    start = compile(initial_state(form))
    key = key_of(f"mh_symmetry {kernel!r}")
    worst, seen = 0.0, 0
    for point in range(points):
        k_state, k_step = jax.random.split(jax.random.fold_in(key, point))
        state = start(k_state, *inputs)[0]
        steps = [_step(choice, jax.random.fold_in(k_step, i)) for i, choice in enumerate(opened.choices)]
        proposed, forth = _propose(run, opened.own, built.size, inputs, state, steps)
        returned, back = _propose(run, opened.own, built.size, inputs, proposed, [_reverse(s) for s in steps])
        count = len(built.choices)
        left = float(state[-1]) + forth + walk.log_jacobian(built.choices, state[:count])
        right = float(proposed[-1]) + back + walk.log_jacobian(built.choices, proposed[:count])
        if np.isneginf(left) and np.isneginf(right):
            continue  # the step leaves the support: no flux either way
        seen += 1
        gaps = [
            np.max(np.abs(np.asarray(a) - np.asarray(b)), initial=0.0) for a, b in zip(returned, state, strict=True)
        ]
        worst = max(worst, abs(left - right) / max(1.0, abs(left)), float(max(gaps[:-1], default=0.0)))
    return Report(
        status="inconclusive" if not seen else "passed" if worst <= tolerance else "failed",
        law=f"{kernel!r}: log pi(x) + log q(y|x) + log a(x, y) is symmetric",
        level="identities",
        measure_error=worst,
        instances=seen,
        worst=("relative asymmetry", worst),
        repro=line(
            mh_symmetry, kernel_text(kernel), named(model, "model"), "*args", points=points, tolerance=tolerance
        ),
    )


def _step(choice: Any, key: jax.Array) -> jax.Array:
    """A step of the size that the kernel takes; the coin shows heads."""
    if choice.dtype == jnp.dtype(bool):
        return jnp.ones(choice.full_shape, bool)
    return 0.5 * jax.random.normal(key, choice.full_shape, choice.dtype)


def _reverse(step: jax.Array) -> jax.Array:
    return step if step.dtype == jnp.dtype(bool) else -step


def _propose(
    run: Any, own: int, size: int, inputs: Sequence[Any], state: Sequence[Any], steps: Sequence[Any]
) -> tuple[list[Any], float]:
    """Give the proposed state, and the log density of the kernel's own draws: step and accepted coin."""
    outputs = run(jax.random.key(0), *inputs, *state, *steps)[0]
    return outputs[:size], float(outputs[own])
