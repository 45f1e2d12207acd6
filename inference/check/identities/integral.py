"""Integral (tier 0b): what is integrated out of a program is what its density says.

Law: log density of the program = log density of its marginal + log density of the integrated values given the rest, at
every value. They are drawn back as a map of standard normals, so the last term is that of the noises less log |det|
of the map, whose derivatives are taken forward through the map itself.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from lawful.backends.xla import compile, emit
from lawful.errors import UnsupportedProgramError
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import choices_of
from lawful.passes.condition import conditioned
from lawful.tracing.trace import trace

from ...contract import Transformer
from ...kernels.base.base import initial_state
from ...transformers.enumeration import enumeration
from ..statistics.keys import key_of
from ..statistics.report import Report
from ..statistics.repro import line, named

TOLERANCE = 1e-10


def integral(transformer: Transformer, model: Any, *args: Any, points: int = 5, tolerance: float = TOLERANCE) -> Report:
    """Check that a transformer integrates normal sites out of a program and draws them back from their conditional.

    Args:
        transformer: as `integrate_normals()`.
        model: a program.
        args: its arguments.
        points: number of points: the sites that stay are drawn from the prior, the noises from standard normals.
        tolerance: largest difference, relative to the larger of 1 and the density; for float64.

    Raises: UnsupportedProgramError where a covariance is singular, so that the integrated values have no density.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.inference import integrate_normals
    >>> def model():
    ...     scale = lawful.sample("scale", dist.HalfNormal(1.0))
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(x, scale), obs=1.0)
    >>> report = integral(integrate_normals(), model, tolerance=1e-4)
    >>> report.passed, report.level
    (True, 'identities')
    """
    form = trace(model, *args)
    inputs, _, _ = split_arguments(args)
    summed = enumeration(form, transformer)
    stay = {choice.address: choice.name for choice in choices_of(summed.marginal)}
    opened = conditioned(summed.full, [choice.address for choice in choices_of(summed.full)], ())
    drawn_back, start = emit(opened.form), compile(initial_state(form))

    def drawn(values: dict[str, jax.Array], noises: list[jax.Array]) -> dict[str, jax.Array]:
        left = iter(noises)
        given = [values[stay[c.address]] if c.address in stay else next(left) for c in opened.choices]
        found = drawn_back(jax.random.key(0), *inputs, *given)[0]
        return {choice.name: value for choice, value in zip(summed.choices, found, strict=True)}

    @jax.jit
    def gap(values: dict[str, jax.Array], noises: list[jax.Array]) -> tuple[jax.Array, jax.Array, Any]:
        def integrated(noises: list[jax.Array]) -> list[jax.Array]:
            whole = drawn(values, noises)
            return [whole[choice.name] for choice in summed.summed]

        of_noises = sum(jnp.sum(norm.logpdf(noise)) for noise in noises)
        parts = summed.marginal.log_density(values, *args) + of_noises
        return form.log_density(drawn(values, noises), *args), parts, jax.jacfwd(integrated)(noises)

    name = getattr(model, "__name__", type(model).__name__)
    key, rng, worst = key_of(f"integral/{name}"), np.random.default_rng(0), 0.0
    choices = choices_of(form)
    for point in range(points):
        state = start(jax.random.fold_in(key, point), *inputs)[0][: len(choices)]
        prior = dict(zip([c.address for c in choices], state, strict=True))
        values = {name: prior[address] for address, name in stay.items()}
        free = [choice for choice in opened.choices if choice.address not in stay]
        noises = [jnp.asarray(rng.normal(size=c.full_shape), c.dtype) for c in free]
        whole, parts, slopes = gap(values, noises)
        root = np.block([[np.reshape(x, (-1, n.size)) for x, n in zip(row, noises, strict=True)] for row in slopes])
        volume = np.linalg.slogdet(root)[1] if root.shape[0] == root.shape[1] else -np.inf
        if not np.isfinite(volume):
            raise UnsupportedProgramError(
                f"integral: {name} has a singular covariance: {root.shape[0]} values are drawn back from "
                f"{np.linalg.matrix_rank(root)} noises. Fix: check it with a covariance of full rank."
            )
        worst = max(worst, abs(float(whole) - float(parts) + volume) / max(1.0, abs(float(whole))))
    return Report(
        status="passed" if worst <= tolerance else "failed",
        law=f"{name}: density = density of the marginal x density of what is drawn back by {transformer}",
        level="identities",
        measure_error=worst,
        instances=points,
        worst=("relative difference", worst),
        repro=line(integral, "transformer", named(model, "model"), "*args", points=points, tolerance=tolerance),
    )
