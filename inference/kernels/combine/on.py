"""On: a kernel applied to some sites, the others held at their values.

Law: given the other choices the kernel keeps the posterior of these, so it keeps the posterior. Only the terms that
these sites reach are scored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lawful.addresses import Address
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.builder import Block
from lawful.form.choices import choices_of
from lawful.form.markov_blanket import Blanket, reached
from lawful.passes.condition import conditioned

from ...contract import Contract
from ...registered import stored_as
from ...representations.absent_elements import keeps_absent
from ...representations.kernel_form import KernelForm, exact, scored, state_inputs
from ...representations.naming import named_sites
from ..base.base import finished, scored_anew
from .mh import as_kernel


@stored_as("kernels.on")
@dataclass(frozen=True)
class On:
    """A kernel on some sites."""

    sites: tuple[Any, ...]
    kernel: Any

    @property
    def contract(self) -> Contract:
        """What the kernel claims."""
        contract: Contract = self.kernel.contract
        return contract

    @property
    def keeps_absent(self) -> bool:
        """Whether the kernel leaves what is absent where it is."""
        return keeps_absent(self.kernel)

    def build(self, program: Form) -> KernelForm:
        """Build the kernel for the program given the other choices, and put these around it."""
        moved, reach = self._moved(program)
        part = conditioned(program, {c.address for c in choices_of(program)} - moved, reach.terms)
        built: KernelForm = exact(self.kernel.build(part.form), "on")
        choices = choices_of(program)
        block, inputs, state = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
        values = dict(zip((c.address for c in choices), state.values, strict=True))
        flags = dict(zip((c.address for c in choices if c.conditional), state.flags, strict=True))
        given = [*inputs, *(values[c.address] for c in part.choices)]
        own = [values[c.address] for c in built.choices]
        own_flags = [flags[c.address] for c in built.choices if c.conditional]
        before, _ = scored(block, part.form, given, own)
        outs = block.splice(built.form, [*given, *own, *own_flags, before])
        n, size = len(built.choices), built.size
        values |= dict(zip((c.address for c in built.choices), outs[:n], strict=True))
        flags |= dict(zip((c.address for c in built.choices if c.conditional), outs[n : size - 1], strict=True))
        there = (*values.values(), *flags.values(), state.log_density)
        form = finished(block.form((*inputs, *state.flat), (*there, *outs[size:])))
        return KernelForm(form, choices, built.info, leave=scored_anew(program))

    def plan(self, program: Form) -> list[str]:
        """Say which site is moved how."""
        moved, reach = self._moved(program)
        part = conditioned(program, {c.address for c in choices_of(program)} - moved, reach.terms)
        lines = {c.name: "not moved" for c in choices_of(program)}
        lines |= dict(line.split(": ", 1) for line in self.kernel.plan(part.form) if ": " in line)
        return [f"{name}: {text}" for name, text in lines.items()]

    def _moved(self, program: Form) -> tuple[set[Address], Blanket]:
        """Find the sites, with those that they switch on or off."""
        choices = choices_of(program)
        wanted = set(named_sites(choices, self.sites, "on"))
        reach = reached(program, wanted)
        return wanted | reach.switched, reach

    def __repr__(self) -> str:
        """Show sites and kernel."""
        return f"on({list(self.sites)}, {self.kernel!r})"


def on(sites: Any, kernel: Any = None) -> On:
    """Apply a kernel to some sites, and hold the others at their values.

    Args:
        sites: the name of a site, or several; sites that they switch on or off move along.
        kernel: a kernel or a bare proposal; default: single-site moves.

    >>> from lawful.inference import kernels
    >>> on("mu", kernels.random_walk(0.5)), on(["a", "b"])
    (on(['mu'], mh(random_walk(0.5))), on(['a', 'b'], mh(single_site())))
    """
    several = isinstance(sites, Iterable) and not isinstance(sites, str) and not _is_address(sites)
    chosen = tuple(sites) if several else (sites,)
    if not chosen:
        raise LawfulError("on: expected the name of a site or more, got none.")
    return On(chosen, as_kernel(kernel))


def _is_address(sites: Any) -> bool:
    """Tell one address, a tuple of names, from several names: names stand in a list."""
    return isinstance(sites, tuple)
