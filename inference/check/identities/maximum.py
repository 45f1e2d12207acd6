"""Maximum (tier 0b): what a search reports as optima of a program are points of its density, none below its starts.

Law: the value told of each optimum is the log density of the program there; no search ends below where it began; and
where the mode is known, the best value is the density at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import compile
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import choices_of

from ...kernels.base.base import initial_state
from ..statistics.keys import key_of
from ..statistics.report import Report
from ..statistics.repro import line

TOLERANCE = 1e-10


def maximum(plan: Any, *args: Any, mode: Mapping[str, Any] | None = None, tolerance: float = TOLERANCE) -> Report:
    """Check what a plan of searches reports against the density of its program.

    Args:
        plan: as `inference.maximise(model, starts=8)`, of a program whose sites all have priors: the searches begin at
            draws from these.
        args: the arguments of the program.
        mode: the values of the sites at the maximum, where they are known.
        tolerance: largest difference, relative to the larger of 1 and the density; for float64.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model():
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(x, 1.0), obs=1.0)
    >>> report = maximum(inference.maximise(model, starts=2), mode={"x": 0.5}, tolerance=1e-4)
    >>> report.passed, report.level
    (True, 'identities')
    """
    form, starts = plan.marginal(*args), plan.method.starts
    inputs, _, _ = split_arguments(args)
    choices, state = choices_of(form), compile(initial_state(form))
    name = getattr(plan.model, "__name__", type(plan.model).__name__)
    keys = jax.random.split(key_of(f"maximum/{name}"), starts)
    drawn = zip(*(state(key, *inputs)[0][: len(choices)] for key in keys), strict=True)
    init = {choice.name: jnp.stack(values) for choice, values in zip(choices, drawn, strict=True)}
    optima = plan.starting(init)(0, *args).optima

    def density(values: Mapping[str, Any]) -> float:
        return float(form.log_density({choice.name: values[choice.name] for choice in choices}, *args))

    begun = [density({site: values[start] for site, values in init.items()}) for start in range(starts)]
    errors = {
        "values told": max(abs(one.log_density - density(one.values)) for one in optima),
        "searches below their starts": max(np.array(begun) - optima.search_value),
    }
    if mode is not None:
        errors["the maximum"] = abs(optima[0].log_density - density(mode))
    scale = max(1.0, abs(optima[0].log_density))
    worst = max(errors, key=lambda part: errors[part])
    return Report(
        status="passed" if max(errors.values()) <= tolerance * scale else "failed",
        law=f"{name}: each optimum has the density of the program there, and none lies below the starts",
        level="identities",
        measure_error=max(0.0, float(errors[worst]) / scale),
        instances=len(begun),
        worst=(worst, float(errors[worst]) / scale),
        repro=line(maximum, "plan", "*args", mode=mode, tolerance=tolerance),
    )
