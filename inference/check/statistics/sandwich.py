"""Evidence sandwich: a lower and an upper bound on the log evidence, from the two ends of one algorithm.

Law: on data that the program drew, E[log Z-hat] <= log Z <= E[log Z-hat, one path retained], where the retained path is
the one that the data were drawn with: an exact draw from the posterior. The gap is the symmetrised Kullback-Leibler
divergence of the two runs, which bounds that of the draws and the posterior: a number for quality; it is no test.

Reference: Grosse, Ghahramani and Adams (2015), Sandwiching the marginal likelihood using bidirectional Monte Carlo,
arXiv 1511.02543.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lawful.backends.xla import emit
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.tracing.trace import trace

from ...plans.plan import Plan
from ...representations.conditional import reference, retained
from ..programs.joint import joint
from . import keys


@dataclass(frozen=True)
class Sandwich:
    """Bounds on the mean log evidence of data from the program, natural log, with their standard errors.

    Attributes:
        lower: mean of log Z-hat; -inf where a run had no weight.
        lower_error: its standard error.
        upper: mean of log Z-hat with the true path retained.
        upper_error: its standard error.
        gap: mean difference of the two on the same data: the symmetrised divergence of the free and the retained run,
            which bounds that of the draws and the posterior from above.
        gap_error: its standard error.
        runs: number of data sets.
    """

    lower: float
    lower_error: float
    upper: float
    upper_error: float
    gap: float
    gap_error: float
    runs: int


def evidence_sandwich(
    model: Any,
    algorithm: Callable[[Form], Any],
    *args: Any,
    runs: int = 100,
    key: jax.Array | None = None,
) -> Sandwich:
    """Bound the log evidence from both sides, on simulated data.

    Args:
        model: a program with proper priors and no factors.
        algorithm: takes the program that observes drawn data, and gives `inference.importance`, or `inference.smc`
            without moves and not with residual resampling.
        args: arguments of the model; the data among them give shapes alone.
        runs: number of data sets, each with one run from either end.
        key: a random key; default: from the name of the model.

    Raises: UnsupportedProgramError where a path cannot be retained, or data cannot be drawn.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def normal(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> found = evidence_sandwich(normal, lambda p: inference.importance(p, particles=200), 0.0, runs=50)
    >>> found.lower < found.upper, found.gap < 0.1
    (True, True)
    """
    if runs < 2:
        raise LawfulError(f"evidence_sandwich: expected at least 2 runs for a standard error, got {runs}.", runs=runs)
    both = joint(trace(model, *args))
    inputs, _, _ = split_arguments(args)
    name = getattr(model, "__name__", type(model).__name__)
    root = keys.key_of(f"evidence_sandwich/{name}") if key is None else keys.freshened(key)
    fresh = keys.stage_keys(root, 1, runs)
    draw, n = emit(both.draw), len(both.data)
    plan = algorithm(both.posterior)
    if not isinstance(plan, Plan) or plan.method.name not in ("importance", "smc") or plan.method.enumerate is not None:
        raise LawfulError(f"evidence_sandwich: expected importance or smc of the program, got {plan!r}.")

    def simulate(key: jax.Array) -> Any:
        outs = draw(key, *inputs)[0]
        return outs[:n], outs[n : n + len(both.choices)]

    with jax.debug_key_reuse(False):  # it takes keys that vmap has moved for used ones
        first, second, third = (jax.vmap(lambda k, i=i: jax.random.fold_in(k, i))(fresh) for i in range(3))
        data, path = jax.jit(jax.vmap(simulate))(first)
        shapes = *(x[0] for x in data), *(x[0] for x in path)
        known = algorithm(reference(both.posterior).form)
        free, held = emit(plan.form(*inputs, *shapes[:n])), emit(retained(known.form(*inputs, *shapes)))
        forward = jax.jit(jax.vmap(lambda k, d: free(k, *inputs, *d)[1]))(second, data)
        backward = jax.jit(jax.vmap(lambda k, d, p: held(k, *inputs, *d, *p)[1]))(third, data, path)
    lower, upper, gap = (_mean(np.asarray(x, np.float64)) for x in (forward, backward, backward - forward))
    return Sandwich(*lower, *upper, *gap, runs)


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error, which is infinite where a value is."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if np.isfinite(values).all() else np.inf
    return float(values.mean()), float(error)
