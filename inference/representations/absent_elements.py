"""Absent elements: which elements of the choices of a program are there, as kernels that move coordinates have to know.

Law: whether an element of a guarded choice is there depends on the arguments alone, so a chain has the same elements in
every state, and a kernel that leaves the others where they are keeps the measure of those that are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import Address, show_address
from lawful.distributions.absent import is_guarded
from lawful.distributions.families import core_of
from lawful.distributions.law import position_of
from lawful.errors import UnsupportedProgramError
from lawful.form import Factor, Form, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice
from lawful.form.liveness import moved_operands, without_dead_code
from lawful.form.pipeline import per_form
from lawful.passes.fill_absent import guarded_choices, unguarded
from lawful.passes.probe import Probe, probed
from lawful.passes.thread_sites import score


@dataclass(frozen=True, eq=False)
class Presence:
    """What tells which elements are there: a Form from the program's inputs to one mask for each guarded choice."""

    form: Form
    addresses: tuple[Address, ...]

    def masks(self, block: Block, inputs: Sequence[Var]) -> dict[Address, Var]:
        """Append the masks: loops, then the batch axes of each guarded choice."""
        return dict(zip(self.addresses, block.splice(self.form, inputs), strict=True))

    def vector(
        self, block: Block, inputs: Sequence[Var], choices: Sequence[Choice], shapes: Sequence[tuple[int, ...]]
    ) -> Var | None:
        """Append 1 for each coordinate of an element that is there, 0 for the others; None where all always are.

        `shapes` are those of the coordinates of each choice, loops first.
        """
        wanted = tuple(choice.address for choice in choices)
        if not set(self.addresses) & set(wanted):
            return None
        masks = self.masks(block, inputs)
        given = [masks[address] for address in wanted if address in masks]
        joined = _Joined(tuple(shapes), tuple(address in masks for address in wanted))
        vector: Var = block.det(joined, *given, label="which coordinates are there")
        return vector


def stay(block: Block, mask: Var | None, new: Var, old: Var) -> Var:
    """Append that what is absent keeps its value, to the last bit; without a mask nothing can be absent."""
    if mask is None:
        return new
    kept: Var = block.det(_stays, mask, new, old, label="what is absent stays")
    return kept


def _stays(present: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(over(present, new.shape), new, old)


@dataclass(frozen=True)
class _Joined:
    shapes: tuple[tuple[int, ...], ...]
    guarded: tuple[bool, ...]

    def __call__(self, *masks: jax.Array) -> jax.Array:
        rest = iter(masks)
        parts = [
            over(next(rest), shape) if guarded else jnp.ones(shape, bool)
            for shape, guarded in zip(self.shapes, self.guarded, strict=True)
        ]
        return jnp.concatenate([jnp.ravel(part) for part in parts]).astype(jnp.result_type(float))


def over(mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Spread a mask of loops and batch over the axes of one element.

    >>> over(jnp.array([True, False]), (2, 3)).tolist()
    [[True, True, True], [False, False, False]]
    """
    return jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (len(shape) - mask.ndim)), shape)


@per_form
def presence_of(program: Form) -> Presence:
    """Find which elements of the choices of a program are there.

    Raises: UnsupportedProgramError where that depends on choices.

    >>> import numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))
    >>> presence_of(form).addresses
    ()
    """
    if not guarded_choices(program):
        return Presence(Form(tuple(v.like() for v in program.inputs), (), ()), ())
    _refuse(_moving(program))
    return _presence(program)


def _presence(program: Form) -> Presence:
    with jax.ensure_compile_time_eval():  # the caller may be traced; the constants of a Form never are
        asked, recorded = probed(program, _question)
        scoring = score(recorded.form)
    answers = recorded.split(scoring.parts.own).values
    inputs = scoring.form.inputs[: len(program.inputs)]
    form = without_dead_code(replace(scoring.form, inputs=inputs, outputs=answers))
    return Presence(form, tuple(part.address for part in asked))


def _question(node: Site | Factor) -> Iterable[Probe]:
    if isinstance(node, Site) and node.observed is None and is_guarded(node.law):
        shape = core_of(node.law.numbered).batch_shape
        yield Probe("present", lambda present: jnp.broadcast_to(present, shape), (_present(node),))


def _present(site: Site) -> Var:
    place = position_of(site.law, "present")
    assert place is not None
    return site.parameters[place]


def keeps_absent(kernel: Any) -> bool:
    """Tell whether a kernel leaves what is absent where it is; a kernel says so itself, else it does not."""
    return bool(getattr(kernel, "keeps_absent", False))


def form_for(kernel: Any, program: Form) -> Form:
    """Return the program as a kernel can move it: where it does not know of absent elements, they have their law.

    So have those that choices decide about, of continuous sites: else chains would jump between numbers of coordinates.
    """
    if not keeps_absent(kernel):
        return unguarded(program)
    moving = {site.address for site in _moving(program) if jnp.issubdtype(site.out.dtype, jnp.floating)}
    return unguarded(program, lambda site: site.address in moving)


def refuse_absent(kernel: Any, program: Form, what: str) -> None:
    """Refuse to move particles that were drawn with absent elements by a kernel that does not know of them.

    Raises: UnsupportedProgramError naming the site.
    """
    guarded = guarded_choices(program)
    if guarded and not keeps_absent(kernel):
        raise UnsupportedProgramError(
            f"{what}: {kernel!r} moves every element of site '{show_address(guarded[0].address)}' ({guarded[0].source})"
            ", some of which may be absent. Fix: move by random_walk, hmc, nuts, slice or single_site.",
            site=guarded[0].address,
        )
    _refuse([site for site in _moving(program) if jnp.issubdtype(site.out.dtype, jnp.floating)])


def _refuse(moving: list[Site]) -> None:
    if moving:
        raise UnsupportedProgramError(
            f"site '{show_address(moving[0].address)}' ({moving[0].source}): choices decide which of its elements are "
            "there, so a kernel cannot leave the others out. Fix: compute the mask from the arguments.",
            site=moving[0].address,
        )


def _moving(program: Form) -> list[Site]:
    """Find the guarded choices whose elements other choices decide about."""
    found = moved_operands(program).items()
    return [s for s, moved in found if s.observed is None and is_guarded(s.law) and _present(s) in moved]
