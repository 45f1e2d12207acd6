"""Improper priors: choices whose prior does not integrate to one, from which nothing can be drawn.

Law: a method that draws from the prior is refused where there is no such draw.
"""

from __future__ import annotations

from ...addresses import show_address
from ...distributions.law import IMPROPER
from ...errors import ImproperPriorError
from ...form import Form, Site


def improper_sites(form: Form) -> tuple[Site, ...]:
    """List the choices whose prior does not integrate to one."""
    return tuple(site for site in form.sites() if site.observed is None and site.law.label == IMPROPER)


def refuse_improper(form: Form, method: str) -> None:
    """Refuse to start from a prior that cannot be drawn from.

    Raises: ImproperPriorError naming the sites.

    >>> import numpyro.distributions as dist, lawful
    >>> refuse_improper(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0))), "smc")
    """
    sites = improper_sites(form)
    if sites:
        names = ", ".join(f"'{show_address(site.address)}' ({site.source})" for site in sites)
        raise ImproperPriorError(
            f"{method}: the prior of {names} does not integrate to one, so it cannot be drawn from, and there is no "
            "evidence. Fix: give a proper prior, or a proposal for these sites (the evidence is then that of the "
            "unnormalised prior), or use inference.mcmc with a start.",
            sites=tuple(site.address for site in sites),
        )
