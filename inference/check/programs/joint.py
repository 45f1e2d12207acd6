"""Joint: a program as the law of its choices and its data together, whose draws are exact posterior draws.

Law: choices that were drawn with the data are one draw from the posterior of the program at these data.

Reference: Geweke (2004), Getting it right: joint distribution tests of posterior simulators.
"""

from __future__ import annotations

from dataclasses import dataclass

from lawful.addresses import show_address
from lawful.distributions.law import IMPROPER
from lawful.errors import ImproperPriorError, UnsupportedProgramError
from lawful.form import Factor, Form, walk
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.passes.condition import conditioned
from lawful.passes.predict import unobserved
from lawful.passes.record import record

from ...representations.kernel_form import scored


@dataclass(frozen=True)
class Joint:
    """A program that draws its own data.

    Attributes:
        draw: inputs are the program's; outputs the data, then a state of the posterior (`kernels.State`).
        posterior: the program that observes them; inputs are the program's, then the data.
        data: the observed sites.
        choices: the choices of the posterior.
    """

    draw: Form
    posterior: Form
    data: tuple[Choice, ...]
    choices: tuple[Choice, ...]


def joint(form: Form) -> Joint:
    """Split a program into draws of choices and data, and the posterior at such data.

    Raises:
        UnsupportedProgramError: a factor, or an observation under a scale or in one arm of a branch, has no law from
            which data could be drawn.
        ImproperPriorError: a prior cannot be drawn from.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> both = joint(lawful.trace(model, 0.3))
    >>> [c.name for c in both.data], [c.name for c in both.choices], len(both.posterior.inputs)
    (['y'], ['mu'], 2)
    """
    _refuse(form)
    alone = unobserved(form)
    observed = {c.address for c in choices_of(form, ("observed",))}
    posterior = conditioned(alone, observed)
    recorded = record(alone, ("sample",))
    block = Block()
    inputs = tuple(v.like() for v in form.inputs)
    values = recorded.spliced(block, inputs).values
    data = [v for c, v in zip(recorded.choices, values, strict=True) if c.address in observed]
    latent = [v for c, v in zip(recorded.choices, values, strict=True) if c.address not in observed]
    log_density, flags = scored(block, posterior.form, [*inputs, *data], latent)
    draw = without_dead_code(block.form(inputs, (*data, *latent, *flags, log_density)))
    return Joint(draw, posterior.form, posterior.choices, choices_of(posterior.form))


def _refuse(form: Form) -> None:
    for node in walk(form):
        if isinstance(node, Factor):
            raise UnsupportedProgramError(
                f"factor '{show_address(node.address)}' ({node.source}) has no law, so no data can be drawn for it, "
                "and there is no exact start. Fix: write it as an observed site, or check a finite program with "
                "level='exact'.",
                site=node.address,
            )
    for data in choices_of(form, ("observed",)):
        if data.conditional:
            raise UnsupportedProgramError(
                f"site '{data.name}' ({data.source}) is observed in one arm of a branch: where another arm runs there "
                "are no data to draw, but the posterior has them all the same. Fix: observe it outside the branch, "
                "with parameters from its arms.",
                site=data.address,
            )
    for site in form.sites():
        if site.law.scaled:
            raise UnsupportedProgramError(
                f"site '{show_address(site.address)}' ({site.source}) is observed under a scale: a power of a density "
                "is no law, so no data can be drawn for it. Fix: check the program without the scale.",
                site=site.address,
            )
        if site.law.label == IMPROPER:
            raise ImproperPriorError(
                f"site '{show_address(site.address)}' ({site.source}) has a flat prior (ImproperUniform), which does "
                "not integrate to one, so there is no exact start. Fix: give a proper prior.",
                site=site.address,
            )
