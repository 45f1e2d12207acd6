"""Advice: which inference suits a program, and what stands in the way of one that was asked for.

Law: advice looks at the form alone; nothing is run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lawful.addresses import Address
from lawful.distributions.bijections import supports
from lawful.errors import ImproperPriorError, LawfulError, UnsupportedProgramError
from lawful.form import Form, Loop, Site
from lawful.form.liveness import has_weight, random_values
from lawful.inspection.lint.check import found_error
from lawful.inspection.lint.form_rules import LintFinding
from lawful.tracing.trace import trace

from ..kernels import hmc, nuts, random_walk
from ..kernels.default_kernel import default_kernel
from ..kernels.gradient.gradient import Gradient
from ..summing.summed_form import finite_sites
from .mcmc import mcmc
from .smc import importance, smc
from .tempered_smc import tempered_smc

LISTING = ("gibbs", "enumerate", "bp")  # methods that list the values of sites
METHODS = ("importance", "smc", "tempered_smc", "mcmc", "nuts", "hmc", "random_walk", *LISTING)
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

    Args:
        model: the program.
        args: its arguments.
        method: one of `METHODS`.

    Raises: LawfulError for an unknown method.

    >>> import numpyro.distributions as dist, lawful
    >>> coin = lambda: lawful.sample("heads", dist.Bernoulli(0.5))
    >>> [(finding.code, finding.site) for finding in plan_findings(coin, (), "random_walk")]
    [('discrete-no-plan', ('heads',))]
    """
    if method not in METHODS:
        raise LawfulError(f"algorithm '{method}': expected one of {', '.join(METHODS)}.", method=method)
    form = trace(model, *args)
    kinds = supports(form)
    sites = {site.address: site for site in form.sites() if site.observed is None}
    if method in LISTING:
        finite = {choice.address for choice in finite_sites(form)}
        return tuple(_unlisted(site, method, kinds[a].is_discrete) for a, site in sites.items() if a not in finite)
    plans: dict[str, Callable[[], Any]] = {
        "importance": lambda: importance(model, particles=2).form(*args),
        "smc": lambda: smc(model, particles=2).form(*args),
        "tempered_smc": lambda: tempered_smc(model, particles=2).form(*args),
        "mcmc": lambda: mcmc(model, chains=1, warmup=0, draws=1).form(*args),
        "random_walk": lambda: mcmc(model, random_walk(0.5), chains=1, warmup=0, draws=1).form(*args),
        "nuts": lambda: nuts().plan(form),
        "hmc": lambda: hmc().plan(form),
    }
    try:
        plans[method]()
    except (UnsupportedProgramError, ImproperPriorError) as error:
        return tuple(_refused(error, method, address, sites.get(address), kinds) for address in _addresses(error))
    return ()


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
