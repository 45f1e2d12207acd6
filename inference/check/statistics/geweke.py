"""Geweke's check (tier 3): choices and data in turn, against draws of both together.

Law: drawing data given the choices, and moving the choices at these data, keeps the joint law of the program. A kernel
whose posterior is another one, and a program whose data are not drawn as they are scored, do not.

References: Geweke (2004), Getting it right: joint distribution tests of posterior simulators; Gandy and Scott (2020),
Unit testing for MCMC and other Monte Carlo methods, arXiv 2001.06465.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from lawful.errors import LawfulError
from lawful.form.arguments.arrays import split_arguments
from lawful.tracing.trace import trace

from .claims import claim
from .paired import keeps_exact_draws, runs_of
from .quantities import Statistic
from .report import Report
from .repro import kernel_text, named
from .sequential import SequentialRule
from .walks import joint_walk

FORMS = ("exact_rank", "two_sample")


def geweke(
    model: Any,
    kernel: Any,
    *args: Any,
    steps: int = 5,
    form: str | None = None,
    statistics: Mapping[str, Statistic] | None = None,
    n: int | None = None,
    stages: int = 5,
    key: jax.Array | None = None,
    alpha: float | None = None,
) -> Report:
    """Check that a kernel and the data that a program predicts belong together.

    Each run begins at an exact draw of choices and data and takes steps of two moves: draw the data anew given the
    choices, then apply the kernel at these data. The run is a chain in equilibrium, so nothing has to be thinned and no
    Monte Carlo error estimated.

    Args:
        model: a program with proper priors and no factors, none of whose choices depends on data.
        kernel: a kernel, as those of `inference.kernels`.
        args: arguments of the model; the data among them give shapes alone.
        steps: steps of a run.
        form: "exact_rank" places the start at random in a run that goes forth and back, which needs a reversible
            kernel; "two_sample" compares starts and ends of different runs. Default: the first where the kernel's
            contract claims it, else the second.
        statistics: further functions of choices and data by name, from their values by name to a number.
        n: runs of the first stage, 10,000 by default; each further stage doubles.
        stages: stages of the sequential rule.
        key: a random key; default: from the names of kernel and model.
        alpha: false-alarm rate; default: the share of one registered check.

    Raises:
        UnsupportedProgramError: data cannot be drawn from the choices alone.
        ImproperPriorError: a prior cannot be drawn from.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def normal(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> report = geweke(normal, kernels.mh(kernels.random_walk(1.0)), 0.0, n=1000)
    >>> report.passed, report.level
    (True, 'end_to_end')
    """
    reversible = bool(kernel.contract.reversible)
    form = form or ("exact_rank" if reversible else "two_sample")
    if form not in FORMS:
        raise LawfulError(f"geweke: expected form in {', '.join(FORMS)}, got {form!r}.", form=form)
    if form == "exact_rank" and not reversible:
        raise LawfulError(
            f"geweke: {kernel!r} does not claim to be reversible, so its runs cannot be taken backwards. Fix: "
            "form='two_sample'.",
            form=form,
        )
    if steps < 1:
        raise LawfulError(f"geweke: expected steps of at least 1, got {steps}.", steps=steps)
    traced, name = trace(model, *args), getattr(model, "__name__", type(model).__name__)
    inputs, _, _ = split_arguments(args)
    made = claim(f"geweke/{kernel!r}/{name}", key, alpha)
    rule = SequentialRule(made.alpha, stages, 10_000 if n is None else n)
    runs = runs_of(joint_walk, kernel, traced, form == "exact_rank", statistics, (steps,))
    call = f"geweke({named(model, 'model')}, {kernel_text(kernel)}, *args"
    call += ", statistics=statistics" if statistics else ""
    repro = made.repeat(call, steps=steps, form=form, n=rule.n, stages=stages)
    law = f"{name} and {kernel!r}: data in turn with choices keep their joint law"
    return keeps_exact_draws(runs, inputs, rule=rule, made=made, law=law, repro=repro, level="end_to_end")
