"""Guide build: the paths, the fit and the guide at its end, written for the form of a program.

Law: what is written is a function of the form and the settings alone; a guide at the end has the law that the fit kept,
with the tails that its weights need, and beside it stands how the laws of the paths are weighed for it, and chains that
begin at its draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from lawful.backends.compile_options import sparing
from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.choices import choices_of
from lawful.passes.condition import conditioned
from lawful.passes.fill_absent import unguarded
from lawful.passes.unconstrain import refuse_conditional

from ...laws.grid import COUNTS
from ...running.timed_program import Program
from ...transformers.propose.guide import Guide, is_finite
from ..searches.target import target_of
from .batches import batches_of
from .families import FAMILIES, Family
from .fit import Fit, Uphill
from .guide_course import Ended, GuideState, GuideSteps
from .guide_plan import TAILS, Guides
from .paths import Normal, Path, Paths, draws_on
from .programs import ProgramFamily, program_family
from .reach import FIRST, begun, walked
from .tables import Tables
from .tails import pilot, tailed


def guides(plan: Any, form: Form) -> Guides:
    """Write the fit of a guide to a program.

    Raises: UnsupportedProgramError for a site that has no finite list of values, is a point mass, or is made in one arm
        of a branch only; for finite sites of a family that has no steps, or without others beside them; and for
        batches of elements that are not apart, or of a model that is another one on some rows.
    """
    method, form = plan.method, unguarded(form)  # absent elements have their prior, as other choices
    refuse_conditional(form)
    own, asker = len(form.inputs), plan.asked.name
    program: ProgramFamily | None = None
    if callable(method.family):
        target, tables, given = target_of(_without_finite(form, asker), asker), None, form
        pathwise = method.objective != "forward"
        program = program_family(method.family, method.parameters, form, target.frame, asker, pathwise)
        family = program.at(form.inputs)
    else:
        family = FAMILIES[method.family]
        tables, given = _tables(form, asker, family)
        target = target_of(given, asker)
    if family.name == "grid" and target.frame.size > len(COUNTS):
        raise UnsupportedProgramError(
            f"{asker}: family='grid' has cells in {len(COUNTS)} coordinates at most, and the model has "
            f"{target.frame.size}. Fix: sum or integrate the others out, enumerate=inference.integrate_normals(); or "
            "family='lowrank'."
        )

    def family_at(inputs: Sequence[Any]) -> Family:
        return family if program is None else program.at(inputs)

    frame = target.frame
    batches = None if method.batch is None else batches_of(form, plan.model, method.batch, asker)
    fitted = frame if batches is None else batches.frame
    uphill = Uphill(fitted, family, method.objective, method.noise, tables, batches)
    whole = replace(uphill, frame=frame, batches=None)
    ways = len(given.inputs)

    def of_paths(inputs: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(inputs[:ways])

    def begin(inputs: Sequence[Any], paths: Path | None) -> Any:
        assert family.begin is not None
        law = family.begin(None if paths is None else _best(paths))
        if tables is None:
            return law
        named = (choice.name for choice in tables.choices)
        return {"law": law, "tables": dict(zip(named, inputs[ways:], strict=True))}

    def go(key: jax.Array, inputs: Sequence[Any], paths: Path, steps: jax.Array) -> Path:
        return Paths(frame).go(key, of_paths(inputs), paths, steps)

    def turn(inputs: Sequence[Any], paths: Path | None) -> Any:
        return uphill.begin(begin(inputs, paths))

    def climb(key: jax.Array, inputs: Sequence[Any], fit: Fit, steps: jax.Array) -> Fit:
        return replace(uphill, family=family_at(inputs[:own])).go(key, inputs[:own], fit, steps)

    sites = tuple((choice.name, prod(shape)) for choice, shape in zip(frame.choices, frame.shapes, strict=True))

    def last(inputs: Sequence[Any], state: GuideState) -> Ended:
        """Give the guide, and how it would weigh draws that are not its own."""
        if state.fit is not None:
            looked = jnp.isfinite(state.fit.best)  # else no window was finished
            parameters = jax.tree.map(partial(jnp.where, looked), state.fit.kept, state.fit.parameters)
        elif family.begin is not None:  # stopped on the paths
            parameters = begin(inputs, state.paths)
        else:
            parameters = family.end(frame, inputs[:ways], state.paths)
        if tables is None:
            law, own_tables = family_at(inputs[:own]).law(parameters), {}
        else:
            law, own_tables = family.law(parameters["law"]), parameters["tables"]

        keys = [jax.random.fold_in(jax.random.key(TAILS), number) for number in range(5)]
        chosen, paths = method.corrected and family.tailed, state.paths
        walks = method.corrected and family.walks and tables is None
        if paths is None and not chosen:
            return Ended(Guide(law, sites, own_tables, family.name), jnp.zeros(0), jnp.zeros(0))
        tails = jnp.zeros((0, frame.size))
        if chosen or walks:
            tails = pilot(law, keys[0]) if chosen else law.sample(keys[0], (FIRST,))
        seen = jnp.zeros((0, 1, frame.size)) if paths is None else draws_on(paths, keys[1])
        drawn = jnp.concatenate([tails, seen.reshape(-1, frame.size)])
        if tables is None:
            log_p = whole.score(inputs[:own], drawn, ())
        else:
            numbers = tables.draw(keys[2], own_tables, len(drawn))
            log_p = whole.score(inputs[:own], drawn, tables.values(numbers)) - tables.log_mass(own_tables, numbers)
        if chosen:
            law = tailed(law, tails, log_p[: len(tails)])
        log_ratio = log_p[len(tails) :].reshape(seen.shape[:2]) - law.log_prob(seen)
        chains = jnp.zeros(0)
        if walks:
            starts = begun(keys[3], tails, log_p[: len(tails)] - law.log_prob(tails))
            ends = walked(keys[4], frame, inputs[:own], tails, starts)
            chains = ends.log_density - law.log_prob(ends.position)
        return Ended(Guide(law, sites, own_tables, family.name), jnp.mean(log_ratio, axis=1), chains)

    made = [Program(step, options=sparing()) for step in (go, turn, climb, last)]
    steps = GuideSteps(made[0], made[1], made[2], made[3], of_paths)
    return Guides(plan, form, target, family, uphill, steps, tables, program, batches)


def _without_finite(form: Form, name: str) -> Form:
    """Refuse finite sites, which the draws of a program would have to carry gradients through."""
    finite = tuple(choice for choice in choices_of(form) if is_finite(choice))
    if finite:
        named = ", ".join(f"'{choice.name}' ({choice.source})" for choice in finite)
        raise UnsupportedProgramError(
            f"{name}: the model draws {named}, which is discrete, and draws of a program that is fitted have to carry "
            "a gradient. Fix: enumerate='all', which sums it out, and leave it out of the program; or a family by "
            "name, as family='normal', which fits a table of its values.",
            sites=tuple(choice.address for choice in finite),
        )
    return form


def _tables(form: Form, name: str, family: Family) -> tuple[Tables | None, Form]:
    """Give the finite sites of a program, and the program given their values."""
    choices = choices_of(form)
    finite = tuple(choice for choice in choices if is_finite(choice))
    if not finite or any(choice.law.element_values is None for choice in finite):
        return None, form  # whose other sites are refused by what looks for coordinates
    named = ", ".join(f"'{choice.name}' ({choice.source})" for choice in finite)
    if family.begin is None:
        raise UnsupportedProgramError(
            f"{name}: family={family.name!r} has no steps in which tables of finite sites are fitted, and {named} are "
            "finite. Fix: enumerate='all', which sums them out; or a family with steps, as family='normal'.",
            sites=tuple(choice.address for choice in finite),
        )
    if len(finite) == len(choices):
        raise UnsupportedProgramError(
            f"{name}: all sites are finite ({named}), so there are no coordinates in which to search. Fix: "
            "inference.bp(model) or inference.enumerate(model), which are exact.",
            sites=tuple(choice.address for choice in finite),
        )
    return Tables(finite), conditioned(form, {choice.address for choice in finite}).form


def _best(paths: Path) -> Normal:
    """Give the law of the path with the greatest ELBO."""
    best = jnp.argmax(paths.elbo)
    return Normal(paths.normal.loc[best], paths.normal.root[best])
