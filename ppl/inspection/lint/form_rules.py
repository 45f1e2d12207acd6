"""Form rules of the linter: what a form alone, without data, shows to be a likely mistake.

Law: a finding never changes a program; each one says the code, the level, the site and its line, what was found and
what to do.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...form import Det, Form, walk
from ...form.dependence import dependence
from ...form.liveness import has_weight
from ...form.operations.equation import Equation
from ...passes.rolling.roll import rolled
from ...passes.rolling.unrolled_sites import REMEDY, straight
from .finding import LintFinding as LintFinding
from .precision import precision_findings

BLOCKED = {
    "block": "handlers.block hides it, so no inference moves it and no result shows it.",
    "seed": "handlers.seed inside the program draws it by a key of its own, once for all runs: it counts as observed.",
}


def check_form(form: Form) -> tuple[LintFinding, ...]:
    """Return the findings of a form, in the order of evaluation within each rule.

    The rules: missing-plate, a batch axis that no plate declares; unused-latent, a choice that no observation or factor
    depends on, in a program that has any; unrolled-loop, more than 50 equal sites of one line that cannot be rolled
    into a loop; float32-hazard, a score of more than 10**6 terms, or an integer above 2**24, in 32 bits; blocked-site,
    a choice that a handler inside the program answers; unseeded, random numbers that belong to no site.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.Normal(jnp.zeros(3), 1.0)))
    >>> [(finding.code, finding.site) for finding in check_form(form)]
    [('missing-plate', ('x',))]
    """
    rules = (_missing_plates, _unused_latents, _unrolled_loops, precision_findings, _blocked_sites, _unseeded)
    return tuple(finding for rule in rules for finding in rule(form))


def _missing_plates(form: Form) -> Iterator[LintFinding]:
    for site in form.sites():
        batch = site.law.units
        declared = {frame.dim for frame in site.frames}
        axes = [axis - len(batch) for axis, size in enumerate(batch) if size != 1 and axis - len(batch) not in declared]
        if axes:
            lanes = " from a plain jax.vmap" if site.law.lanes else ""
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


def _blocked_sites(form: Form) -> Iterator[LintFinding]:
    for note in form.hidden:
        yield LintFinding(
            "blocked-site", "warning", note.address, note.source, BLOCKED[note.handler],
            "take the handler off, and give the inference the key; a fixed value is given by handlers.substitute.",
        )  # fmt: skip


def _unseeded(form: Form) -> Iterator[LintFinding]:
    told = {note.source for note in form.hidden}
    for node in walk(form):
        if not (isinstance(node, Det) and isinstance(node.function, Equation) and node.function.draws):
            continue
        if node.source not in told:
            told.add(node.source)
            yield LintFinding(
                "unseeded", "warning", (), node.source,
                "random numbers that belong to no site are drawn here, by a key that no inference gives: they are the "
                "same in every run.",
                "make the draw a site, lawful.sample(name, distribution); inside a program a site needs no key.",
            )  # fmt: skip
