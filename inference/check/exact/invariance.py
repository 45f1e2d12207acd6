"""Invariance of kernels: pi K = pi, by the strongest check that applies.

Law: a finite program's transition matrix is enumerated, which is exact; any other program with proper priors gives
exact draws of choices and data to start from, which a lawful kernel leaves as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import choices_of
from lawful.tracing.trace import trace

from ..programs.programs import FiniteProgram
from ..statistics.claims import claim
from ..statistics.paired import keeps_exact_draws, runs_of
from ..statistics.quantities import Statistic
from ..statistics.report import Report
from ..statistics.repro import kernel_text, line, named
from ..statistics.sequential import SequentialRule
from ..statistics.walks import posterior_walk
from .measure import Trace
from .outcomes import on_choices
from .reference import enumerate_measure
from .transition import TOLERANCE, stationary

LEVELS = ("auto", "exact", "statistical")


def invariant(
    kernel: Any,
    model: Any,
    *args: Any,
    level: str = "auto",
    reversible: bool | None = None,
    tolerance: float = TOLERANCE,
    irreducible: bool = True,
    max_paths: int = 100_000,
    steps: Sequence[int] = (1, 10),
    statistics: Mapping[str, Statistic] | None = None,
    n: int | None = None,
    stages: int = 5,
    key: jax.Array | None = None,
    alpha: float | None = None,
) -> Report:
    """Check that a kernel keeps a program's posterior: pi K = pi.

    Args:
        kernel: a kernel with `build(form)`, as those of `inference.kernels`.
        model: a program, or a `FiniteProgram`.
        args: its arguments. With level="statistical" the data among them give shapes alone: data are drawn.
        level: "exact" enumerates the transition matrix of a finite program; "statistical" runs the kernel from exact
            draws of choices and data, for any program with proper priors and no factors; "auto" is "exact" where all
            sites are finite, else "statistical".
        reversible: whether pi(dx) K(x, dy) must be symmetric; default: what the kernel's contract claims.
        tolerance: exact: largest total variation of pi K and pi.
        irreducible: exact: whether every state of the support must be reachable from every other.
        max_paths: exact: path budget of one row.
        steps: statistical: numbers of steps after which the states are compared with their starts.
        statistics: statistical: further functions of the state by name, each from its choices by name to a number.
            Choices (of many, some), products of pairs, log densities and the number of active sites are always there.
        n: statistical: runs of the first stage, 10,000 by default; each further stage doubles.
        stages: statistical: stages of the sequential rule.
        key: statistical: a random key; default: from the names of kernel and model.
        alpha: statistical: false-alarm rate; default: the share of one registered check.

    Raises:
        UnsupportedProgramError: a factor leaves no way to draw data.
        ImproperPriorError: a prior cannot be drawn from.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def coins():
    ...     a = lawful.sample("a", dist.Bernoulli(0.3))
    ...     lawful.factor("f", 0.5 * a)
    >>> report = invariant(kernels.mh(), coins)
    >>> report.passed, report.tv < 1e-12
    (True, True)
    >>> def normal(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> report = invariant(kernels.mh(kernels.random_walk(1.0)), normal, 0.0, n=1000)
    >>> report.passed, report.level
    (True, 'statistical')
    """
    if level not in LEVELS:
        raise LawfulError(f"invariant: expected level in {', '.join(LEVELS)}, got {level!r}.", level=level)
    if isinstance(model, FiniteProgram):
        args = (model.default_tables(),) if not args else args
        model = model.program
    form = trace(model, *args)
    inputs, _, _ = split_arguments(args)
    if level == "exact" or (level == "auto" and _is_finite(form)):
        whole = on_choices(enumerate_measure(model, *args, max_paths=max_paths), choices_of(form))
        truth = whole.marginal(lambda t: Trace(t.choices, None))
        asked: dict[str, Any] = {
            "tolerance": tolerance, "reversible": reversible, "irreducible": irreducible, "max_paths": max_paths,
        }  # fmt: skip
        repro = line(invariant, kernel_text(kernel), "model", "*args", level="exact", **asked)
        return stationary(kernel, form, inputs, truth, **asked, repro=repro)
    if not steps or min(steps) < 1:
        raise LawfulError(f"invariant: expected steps of at least 1, got {tuple(steps)}.", steps=tuple(steps))
    name = getattr(model, "__name__", type(model).__name__)
    made = claim(f"invariant/{kernel!r}/{name}", key, alpha)
    rule = SequentialRule(made.alpha, stages, 10_000 if n is None else n)
    claims = kernel.contract.reversible if reversible is None else reversible
    call = f"invariant({kernel_text(kernel)}, {named(model, 'model')}, *args"
    call += ", statistics=statistics" if statistics else ""
    settings = {"level": "statistical", "steps": tuple(steps), "reversible": bool(claims)}
    repro = made.repeat(call, **settings, n=rule.n, stages=stages)
    runs = runs_of(posterior_walk, kernel, form, bool(claims), statistics, steps)
    return keeps_exact_draws(
        runs, inputs, rule=rule, made=made, law=f"{kernel!r} keeps pi", repro=repro, level="statistical"
    )


def _is_finite(form: Form) -> bool:
    return all(site.law.atoms is not None for site in form.sites() if site.observed is None)
