"""Integrator (tier 0b): the leapfrog on a program's density, at states from the prior.

Law: some steps with the momentum negated at their end are an involution; one step keeps volume; half the step leaves a
quarter of the error in the energy.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.block import Block
from lawful.emitter import emit
from lawful.tracing import split_arguments, trace

from ..kernels import leapfrog
from ..kernels.base import initial_state
from ..kernels.frame import Frame, frame_of
from ..kernels.hmc import involution as along
from .keys import key_of
from .report import Report

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
        rows = [_errors(frame, inputs, vector, rng) for vector in _starts(form, frame, inputs, points)]
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
    run = jax.jit(emit(block.form(given, (frame.enter(block, given, values),))))
    key = key_of("integrator")
    return [run(jax.random.fold_in(key, i), *inputs)[0][0] for i in range(points)]


def _errors(frame: Frame, inputs: Any, vector: jax.Array, rng: np.random.Generator) -> tuple[float, ...]:
    """Errors of involution and volume, and of the energy at two step sizes."""
    inputs = tuple(map(jnp.asarray, inputs))
    target = jax.jit(lambda x: frame.value_and_grad(inputs, x))
    d = frame.size
    root = jnp.linalg.cholesky(jnp.asarray(np.cov(rng.normal(size=(d, 4 * d))).reshape(d, d)))
    momentum = jnp.asarray(rng.normal(size=d))
    start = leapfrog.Phase(vector, momentum, *target(vector))
    step = jnp.asarray(STEP)
    there, _ = along(target, root, step, start, STEPS)
    back, _ = along(target, root, step, there, STEPS)
    involution = max(float(jnp.max(jnp.abs(a - b))) for a, b in zip(back[:2], start[:2], strict=True))

    def one(both: jax.Array) -> jax.Array:
        end = leapfrog.leapfrog(target, root, step, leapfrog.Phase(both[:d], both[d:], *target(both[:d])))
        return jnp.concatenate(end[:2])

    jacobian = jax.jacfwd(one)(jnp.concatenate([vector, momentum]))
    volume = abs(float(jnp.linalg.slogdet(jacobian)[1]))
    errors = []
    for divided in (1, 2):
        end, _ = leapfrog.flow(target, root, step / divided, start, STEPS * divided)
        errors.append(abs(float(leapfrog.energy(end) - leapfrog.energy(start))))
    return involution, volume, *errors
