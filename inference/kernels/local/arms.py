"""Arms: which sites run where a site that chooses between models has a given value.

Law: a site is told to run, or not to, only where that follows from the value alone, whatever the other choices are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.passes.thread_sites import score


def active_sites(form: Form, site: Any, values: tuple[Any, ...]) -> tuple[Choice, list[list[str]]]:
    """Find the site that chooses, and for each of its values the names of the other sites that run there.

    Sites that run or not by other choices alone are left out: they stay as they are.

    Raises:
        LawfulError: no such site, or none that is one integer which always runs.
        UnsupportedProgramError: a site runs by this one and by other choices together, or at some steps of a loop.

    >>> import numpyro.distributions as dist, lawful
    >>> def model():
    ...     k = lawful.sample("k", dist.Bernoulli(0.5))
    ...     lawful.cond(k == 1, lambda: lawful.sample("x", dist.Normal(0.0, 1.0)), lambda: 0.0)
    >>> active_sites(lawful.trace(model), "k", (0, 1))[1]
    [[], ['x']]
    """
    choices = choices_of(form)
    known = {c.name: c for c in choices}
    chooser = known.get(site)
    if chooser is None or chooser.full_shape or chooser.conditional or jnp.issubdtype(chooser.dtype, jnp.floating):
        why = "is no site of the program" if chooser is None else "is not one integer that always runs"
        raise LawfulError(f"jump: {site!r} {why}; the sites are: {', '.join(known)}.", site=site)
    scored = score(form)
    place = {v: i for i, v in enumerate(scored.form.inputs)}
    given = {c.address: scored.form.inputs[len(form.inputs) + i] for i, c in enumerate(scored.choices)}
    flags = dict(zip((c.address for c in choices if c.conditional), scored.parts.flags, strict=True))
    found: list[list[str]] = [[] for _ in values]
    for c in choices:
        if c.address == chooser.address:
            continue
        if not c.conditional:
            for names in found:
                names.append(c.name)
            continue
        small = without_dead_code(replace(scored.form, outputs=(flags[c.address],)))
        read = {v for node in small.nodes for v in node.ins} & set(place)
        if given[chooser.address] not in read:
            continue
        if read != {given[chooser.address]}:
            raise _mixed(c, chooser, "and of other choices")
        run = emit(small)
        for names, value in zip(found, values, strict=True):
            with jax.ensure_compile_time_eval():
                operands = [jnp.zeros(v.shape, v.dtype) for v in small.inputs]
                operands[place[given[chooser.address]]] = jnp.asarray(value, chooser.dtype)
                flag = np.asarray(run(jax.random.key(0), *operands)[0][0])
            if flag.any() != flag.all():
                raise _mixed(c, chooser, "at some steps of a loop only")
            if flag.all():
                names.append(c.name)
    return chooser, found


def _mixed(choice: Choice, chooser: Choice, how: str) -> UnsupportedProgramError:
    return UnsupportedProgramError(
        f"jump: site '{choice.name}' ({choice.source}) runs by the value of '{chooser.name}' {how}, so its models have "
        "no fixed sites. Fix: write the map for kernels.involutive, which sees the values of all sites.",
        site=choice.address,
    )
