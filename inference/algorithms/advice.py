"""Advice: which inference suits a program, and what stands in the way of one that was asked for.

Law: advice looks at the form alone; nothing is run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

from lawful.addresses import Address
from lawful.distributions.bijections import supports
from lawful.errors import ImproperPriorError, LawfulError, UnsupportedProgramError
from lawful.form import Form, Loop, Site
from lawful.form.choices import finite_sites
from lawful.form.liveness import has_weight, random_values
from lawful.inspection.lint.check import found_error
from lawful.inspection.lint.form_rules import LintFinding
from lawful.tracing.trace import trace

from ..kernels import hmc, nuts, random_walk
from ..kernels.default_kernel import default_kernel
from ..kernels.gradient.gradient import Gradient
from ..registered import all_methods

LISTING = ("gibbs", "enumerate", "bp")  # methods that list the values of sites
KERNELS: dict[str, Callable[[], Any]] = {"nuts": nuts, "hmc": hmc, "random_walk": lambda: random_walk(0.5)}
SMALLEST = {"particles": 2, "chains": 1, "warmup": 0, "draws": 1}  # of what is written and not run
OPTIONS = (
    "sum it out exactly (enumerate=[...], inference.enumerate, or inference.bp over a factor graph), draw it from its "
    "conditional (kernels.gibbs), move it one site at a time (mcmc), or use particles (smc)."
)


def suited(form: Form) -> str:
    """Name the inference that a program is given where none is asked for.

    Particles for a loop with observations inside that reads no unknown parameter, which a filter would never renew;
    "nuts" where `default_kernel` is that alone; else "mcmc", which takes that kernel.

    >>> import numpyro.distributions as dist, lawful
    >>> suited(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0))))
    'nuts'
    >>> suited(lawful.trace(lambda: lawful.sample("x", dist.Poisson(1.0))))
    'mcmc'
    """
    random = random_values(form)
    steps = (node for node in form.nodes if isinstance(node, Loop) and has_weight(node.body))
    if any(random.isdisjoint(loop.constants) for loop in steps):
        return "smc"
    chosen = default_kernel(form)
    return "nuts" if isinstance(chosen.kernel, Gradient) and not chosen.summed else "mcmc"


def plan_findings(model: Any, args: tuple[Any, ...], method: str) -> tuple[LintFinding, ...]:
    """Return what keeps an inference from a program: discrete-no-plan and unsupported-site, one finding a site.

    The method is one that is registered, one of `KERNELS`, or one of `LISTING`.

    Raises: LawfulError for an unknown method.

    >>> import numpyro.distributions as dist, lawful
    >>> coin = lambda: lawful.sample("heads", dist.Bernoulli(0.5))
    >>> [(finding.code, finding.site) for finding in plan_findings(coin, (), "random_walk")]
    [('discrete-no-plan', ('heads',))]
    """
    methods = all_methods()
    known = dict.fromkeys((*methods, *KERNELS, *LISTING))
    if method not in known:
        raise LawfulError(f"algorithm '{method}': expected one of {', '.join(known)}.", method=method)
    form = trace(model, *args)
    kinds = supports(form)
    sites = {site.address: site for site in form.sites() if site.observed is None}
    if method in LISTING:
        finite = {choice.address for choice in finite_sites(form)}
        return tuple(_unlisted(site, method, kinds[a].is_discrete) for a, site in sites.items() if a not in finite)
    kind, kernel = (methods["mcmc"], {"kernel": KERNELS[method]()}) if method in KERNELS else (methods[method], {})
    try:
        kind(**kernel, **_smallest(kind)).on(model).form(*args)
    except (UnsupportedProgramError, ImproperPriorError) as error:
        return tuple(_refused(error, method, address, sites.get(address), kinds) for address in _addresses(error))
    return ()


def _smallest(kind: Any) -> dict[str, Any]:
    """Give the settings of a method that does as little as it can.

    Raises: LawfulError for a method that needs to be told more, as which sites are parameters.
    """
    needed = {f.name for f in fields(kind) if f.init and f.default is MISSING} - SMALLEST.keys()
    if needed:
        raise LawfulError(
            f"algorithm '{kind.name}' needs {', '.join(sorted(needed))}. Fix: build the plan, whose form(*args) says "
            "what it cannot move.",
            method=kind.name,
        )
    return {f.name: SMALLEST[f.name] for f in fields(kind) if f.name in SMALLEST and f.default is not None}


def _addresses(error: LawfulError) -> tuple[Address, ...]:
    """Read which sites an error is about; one empty address where it names none."""
    fields = error.fields
    return tuple(fields.get("sites") or (fields.get("site") or (),))


def _refused(
    error: LawfulError, method: str, address: Address, site: Site | None, kinds: dict[Address, Any]
) -> LintFinding:
    if site is not None and kinds[address].is_discrete:
        return _no_plan(site, f"{method} has no move for it, as it is discrete.")
    finding = found_error("unsupported-site", error)
    if site is None:
        return finding
    return LintFinding(finding.code, finding.level, address, site.source, finding.found, finding.remedy)


def _unlisted(site: Site, method: str, discrete: bool) -> LintFinding:
    if discrete:
        return _no_plan(site, f"{method} lists the values of a site, and it has no finite list of them.")
    return LintFinding(
        "unsupported-site", "error", site.address, site.source,
        f"{method} lists the values of a site, and it is continuous.",
        "use nuts, mcmc or smc, or let gibbs move the finite sites beside another kernel: "
        "kernels.cycle(kernels.gibbs(), kernels.on([...], kernels.nuts())).",
    )  # fmt: skip


def _no_plan(site: Site, found: str) -> LintFinding:
    return LintFinding("discrete-no-plan", "error", site.address, site.source, found, OPTIONS)
