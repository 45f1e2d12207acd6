"""Integrator (tier 0b): the leapfrog on a program's density, at states from the prior.

Law: some steps with the momentum negated at their end are an involution; one step keeps volume; half the step leaves a
quarter of the error in the energy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import compile
from lawful.form.arguments.arrays import split_arguments
from lawful.form.builder import Block
from lawful.tracing.trace import trace

from ...kernels.base.base import initial_state
from ...kernels.base.frame import Frame, frame_of
from ...kernels.gradient import trajectories
from ...kernels.gradient.hmc import involution as along
from ..statistics.keys import key_of
from ..statistics.report import Report

INVOLUTION, VOLUME, ORDER = 1e-9, 1e-10, 0.4  # the last: how far from 4 the ratio of energy errors may lie
STEP, STEPS = 0.02, 12


def integrator(model: Any, *args: Any, points: int = 5) -> Report:
    """Check reversibility, volume and order of the leapfrog on a program, for random scales of the coordinates.

    Args:
        model: a program without discrete or conditional sites.
        args: its arguments.
        points: number of states.

    Returns: a report whose `measure_error` is the largest error, each in units of its tolerance.

    Reference: Neal (2011), MCMC using Hamiltonian dynamics, section 2.3.

    >>> import lawful, numpyro.distributions as dist
    >>> report = integrator(lambda: lawful.sample("x", dist.Gamma(2.0, 1.0)), points=2)
    >>> report.passed, report.instances
    (True, 2)
    """
    with jax.enable_x64(True):
        form = trace(model, *args)
        inputs, _, _ = split_arguments(args)
        frame = frame_of(form, "integrator")
        rng = np.random.default_rng(0)
        errors = _errors(frame, inputs)
        starts = _starts(form, frame, inputs, points)
        rows = [[float(x) for x in errors(start, *_momentum_and_root(rng, frame.size))] for start in starts]
    involution, volume, coarse, fine = np.array(rows).T
    order = abs(coarse.sum() / fine.sum() - 4.0)
    found = {
        "involution": involution.max() / INVOLUTION, "volume": volume.max() / VOLUME, "order": order / ORDER,
    }  # fmt: skip
    worst = max(found, key=lambda name: found[name] if np.isfinite(found[name]) else np.inf)
    error = float(found[worst])
    return Report(
        status="passed" if error <= 1 else "failed", law="the leapfrog is reversible, keeps volume, and is of order 2",
        level="identities", measure_error=error, instances=points, worst=(worst, error),
        repro=f"lawful.inference.check.integrator(model, *args, points={points})",
    )  # fmt: skip


def _starts(form: Any, frame: Frame, inputs: Any, points: int) -> list[jax.Array]:
    """Draw states from the prior, in coordinates."""
    block = Block()
    given = tuple(v.like() for v in form.inputs)
    values = block.splice(initial_state(form), given)[: len(frame.choices)]
    run = compile(block.form(given, (frame.enter(block, given, values),)))
    key = key_of("integrator")
    return [run(jax.random.fold_in(key, i), *inputs)[0][0] for i in range(points)]


def _errors(frame: Frame, inputs: Any) -> Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, ...]]:
    """Compile `(position, momentum, root) -> errors` of involution and volume, and of the energy at two step sizes."""
    inputs, d, step = tuple(map(jnp.asarray, inputs)), frame.size, jnp.asarray(STEP)

    def target(x: jax.Array) -> Any:
        return frame.value_and_grad(inputs, x)

    def errors(position: jax.Array, momentum: jax.Array, root: jax.Array) -> tuple[jax.Array, ...]:
        start = trajectories.Phase(position, momentum, *target(position))
        there, _ = along(target, root, step, start, STEPS)
        back, _ = along(target, root, step, there, STEPS)
        involution = jnp.maximum(*(jnp.max(jnp.abs(a - b)) for a, b in zip(back[:2], start[:2], strict=True)))

        def one(both: jax.Array) -> jax.Array:
            end = trajectories.leapfrog(target, root, step, trajectories.Phase(both[:d], both[d:], *target(both[:d])))
            return jnp.concatenate(end[:2])

        volume = jnp.abs(jnp.linalg.slogdet(jax.jacfwd(one)(jnp.concatenate([position, momentum])))[1])
        ends = [trajectories.flow(target, root, step / divided, start, STEPS * divided)[0] for divided in (1, 2)]
        return involution, volume, *(jnp.abs(trajectories.energy(end) - trajectories.energy(start)) for end in ends)

    return jax.jit(errors)


def _momentum_and_root(rng: np.random.Generator, d: int) -> tuple[jax.Array, jax.Array]:
    """Draw a momentum and a root of scales."""
    root = jnp.linalg.cholesky(jnp.asarray(np.cov(rng.normal(size=(d, 4 * d))).reshape(d, d)))
    return jnp.asarray(rng.normal(size=d)), root
