"""The linter: what a Form alone shows to be a likely mistake.

Law: a finding never changes a program; each one says the code, the level, the site and its line, what was found and
what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from .addresses import Address, show_address
from .analysis import has_weight
from .dependence import dependence
from .form import Branch, Form, Loop, Site, constant_arrays
from .lanes import LanesLaw
from .messages import Source
from .rolling import rolled
from .straight import REMEDY, straight

MANY_TERMS = 10**6
EXACT_FLOAT32 = 2**24


@dataclass(frozen=True)
class LintFinding:
    """One finding: its code, its level ("error" or "warning"), the place, what was found and what to do."""

    code: str
    level: str
    site: Address
    source: Source
    found: str
    remedy: str

    def __str__(self) -> str:
        """Write it on one line."""
        where = f"site '{show_address(self.site)}' ({self.source})" if self.site else "program"
        return f"{self.level} {self.code}: {where}: {self.found} Fix: {self.remedy}"


def check_form(form: Form) -> tuple[LintFinding, ...]:
    """Return the findings of a form, in the order of evaluation within each rule.

    The rules: missing-plate, a batch axis that no plate declares; unused-latent, a choice that no observation or factor
    depends on, in a program that has any; unrolled-loop, more than 50 equal sites of one line that cannot be rolled
    into a loop; float32-hazard, a score of more than 10**6 terms, or an integer above 2**24, in 32 bits.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.Normal(jnp.zeros(3), 1.0)))
    >>> [(finding.code, finding.site) for finding in form.check()]
    [('missing-plate', ('x',))]
    """
    rules = (_missing_plates, _unused_latents, _unrolled_loops, _float32_hazards)
    return tuple(finding for rule in rules for finding in rule(form))


def _missing_plates(form: Form) -> Iterator[LintFinding]:
    for site in form.sites():
        batch = tuple(getattr(site.law, "units", ()))
        declared = {frame.dim for frame in site.frames}
        axes = [axis - len(batch) for axis, size in enumerate(batch) if size != 1 and axis - len(batch) not in declared]
        if axes:
            lanes = " from a plain jax.vmap" if isinstance(site.law, LanesLaw) else ""
            shown = ", ".join(f"{axis} (size {batch[axis]})" for axis in axes)
            yield LintFinding(
                "missing-plate", "warning", site.address, site.source,
                f"no plate declares batch axis {shown} of batch shape {batch}{lanes}, so results have no name for it.",
                "put the site under plate(name, size), or make the axis part of the value with .to_event().",
            )  # fmt: skip


def _unused_latents(form: Form) -> Iterator[LintFinding]:
    if not has_weight(form):
        return
    graph = dependence(form)
    weighs = [a for a, vertex in graph.vertices.items() if vertex.kind == "factor" or vertex.observed]
    used = graph.ancestors(weighs)
    for address, vertex in graph.vertices.items():
        if address not in used:
            yield LintFinding(
                "unused-latent", "warning", address, vertex.source,
                "no observation and no factor depends on it, so its posterior is its prior given its parents.",
                "remove it, or draw it after the inference, as a prediction.",
            )  # fmt: skip


def _unrolled_loops(form: Form) -> Iterator[LintFinding]:
    for group in straight(rolled(form)):
        yield LintFinding("unrolled-loop", "warning", group.address, group.source, group.found, REMEDY)


def _float32_hazards(form: Form) -> Iterator[LintFinding]:
    if jnp.result_type(float) == np.float32:
        for site, steps in _sites_with_steps(form, 1):
            terms = steps * math.prod(site.out.full_shape)
            if terms > MANY_TERMS:
                yield LintFinding(
                    "float32-hazard", "warning", site.address, site.source,
                    f"its log density sums {terms} terms in 32 bits.",
                    "enable 64 bits with jax.config.update('jax_enable_x64', True).",
                )  # fmt: skip
    arrays = constant_arrays(form)
    for site in form.sites():
        for value in site.ins:
            array = np.asarray(arrays.get(value, 0))
            if array.dtype == np.float32 and array.size and np.abs(array).max() > EXACT_FLOAT32:
                worst = array.flat[np.abs(array).argmax()]
                yield LintFinding(
                    "float32-hazard", "warning", site.address, site.source,
                    f"it reads the constant {worst:.0f}; above 2**24 a 32-bit float holds no longer every integer.",
                    "subtract an origin or change the unit, as for time stamps, or enable 64 bits.",
                )  # fmt: skip


def _sites_with_steps(form: Form, steps: int) -> Iterator[tuple[Site, int]]:
    """Walk the sites with the number of times that each runs."""
    for node in form.nodes:
        if isinstance(node, Site):
            yield node, steps
        elif isinstance(node, Loop):
            yield from _sites_with_steps(node.body, steps * node.length)
        elif isinstance(node, Branch):
            for arm in node.forms:
                yield from _sites_with_steps(arm, steps)
