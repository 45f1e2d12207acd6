"""Advice: which inference suits a program, and what stands in the way of one that was asked for.

Law: advice looks at the form alone; nothing is run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lawful.analysis import has_weight
from lawful.check import found_error
from lawful.errors import ImproperPriorError, LawfulError, UnsupportedProgramError
from lawful.form import Form, Loop
from lawful.lint import LintFinding
from lawful.supports import supports
from lawful.tracing import trace

from .kernels import random_walk
from .mcmc import mcmc
from .smc import importance, smc

METHODS = ("importance", "smc", "mcmc", "random_walk")


def suited(form: Form) -> str:
    """Name the inference that a program is given where none is asked for.

    >>> import numpyro.distributions as dist, lawful
    >>> suited(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0))))
    'mcmc'
    """
    return "smc" if any(isinstance(node, Loop) and has_weight(node.body) for node in form.nodes) else "mcmc"


def plan_findings(model: Any, args: tuple[Any, ...], method: str) -> tuple[LintFinding, ...]:
    """Return what keeps an inference from a program: discrete-no-plan and unsupported-site.

    Raises: LawfulError for an unknown method.

    >>> import numpyro.distributions as dist, lawful
    >>> coin = lambda: lawful.sample("heads", dist.Bernoulli(0.5))
    >>> [(finding.code, finding.site) for finding in plan_findings(coin, (), "random_walk")]
    [('discrete-no-plan', ('heads',))]
    """
    plans: dict[str, Callable[[], Any]] = {
        "importance": lambda: importance(model, particles=2),
        "smc": lambda: smc(model, particles=2),
        "mcmc": lambda: mcmc(model, chains=1, warmup=0, draws=1),
        "random_walk": lambda: mcmc(model, random_walk(0.5), chains=1, warmup=0, draws=1),
    }
    if method not in plans:
        raise LawfulError(f"algorithm '{method}': expected one of {', '.join(plans)}.", method=method)
    try:
        plans[method]().form(*args)
    except (UnsupportedProgramError, ImproperPriorError) as error:
        sites = dict(error.fields)
        address = sites.get("site") or next(iter(sites.get("sites", ())), ())
        found = supports(trace(model, *args)).get(address)
        if found is not None and found.is_discrete:
            return (_no_plan(found_error("discrete-no-plan", error), method),)
        return (found_error("unsupported-site", error),)
    return ()


def _no_plan(finding: LintFinding, method: str) -> LintFinding:
    remedy = "use an inference that draws it: single-site moves (mcmc), particles (smc) or enumerate; or sum it out."
    return LintFinding(
        finding.code,
        finding.level,
        finding.site,
        finding.source,
        f"{method} has no move for it, as it is discrete.",
        remedy,
    )
