"""Enumerate sites: a transformer that sums finite sites out of a program, exactly.

Law: [[enumerate_sites(p)]] = [[p]]: the sites become factors, the logs of the sums over their values, and are drawn
back from their exact conditional where an output reads them. So any inference that runs on the result is the inference
on the marginal, and its results still hold the sites.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lawful.addresses import Address, as_address
from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.choices import Choice, choices_of, finite_sites
from lawful.form.liveness import without_dead_code
from lawful.form.rewriting import unnamed
from lawful.passes.condition import conditioned
from lawful.passes.record import record

from ..contract import PRESERVES, Transformer
from ..missing_call import refuse_uncalled
from ..representations.standard_normals import without_names
from .summed_form import refuse_plates, summed_form
from .tables import MAX_TABLE, PREFIX, unknown

type Sites = None | Literal["all"] | str | Sequence[str | Address] | Callable[[Choice], bool] | Transformer


def enumerate_sites(sites: Sites = None, *, max_table: int = MAX_TABLE) -> Transformer:
    """Sum finite sites out of a program.

    Sites of an array whose elements are read apart from each other are summed element by element (K N work); a chain in
    a scan is summed by the forward recursion; any other dependence by eliminating the sites one after the other.

    Args:
        sites: names of the sites, or a rule that takes a choice and says whether it is summed; default: all finite
            ones.
        max_table: largest number of entries of a table.

    Returns: a transformer of programs and Forms that keeps the measure on the outputs.

    Raises:
        LawfulError: a name is no finite site of the program.
        PathLimitError: a table would be larger than the cap; says the number needed.
        UnsupportedProgramError: a site cannot be summed, and why.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> def mixture(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     with lawful.plate("point", 3):
    ...         z = lawful.sample("z", dist.Bernoulli(0.5))
    ...         lawful.sample("y", dist.Normal(mu * z, 1.0), obs=y)
    >>> form = enumerate_sites(["z"])(lawful.trace(mixture, jax.numpy.zeros(3)))
    >>> [site.address for site in marginal(form).sites()]
    [('mu',)]
    """
    name = shown_sites(sites)
    contract = PRESERVES
    return Transformer(f"enumerate_sites({name})", lambda form: _apply(form, sites, max_table), contract)


def shown_sites(sites: Sites) -> str:
    """Say which sites are asked for.

    >>> shown_sites(["z"]), shown_sites(None), shown_sites(as_address)
    ("'z'", 'all finite sites', 'as_address')
    """
    if sites is None:
        return "all finite sites"
    if isinstance(sites, Sequence):
        return repr(sites) if isinstance(sites, str) else ", ".join(map(repr, sites))
    return str(getattr(sites, "__name__", sites))


def _apply(form: Form, sites: Sites, max_table: int) -> Form:
    refuse_plates(form)
    summed = frozenset(c.address for c in chosen_sites(form, sites))
    return summed_form(without_names(form, summed), summed, max_table)


def chosen_sites(form: Form, sites: Sites, who: str = "enumerate") -> tuple[Choice, ...]:
    """Find the finite sites that are asked for, by addresses or by names as results show them.

    Args:
        form: the program.
        sites: as for `enumerate_sites`.
        who: who asks, for the error.

    Raises: LawfulError for a name that is no finite site.
    """
    finite = finite_sites(form)
    if sites is None or sites == "all":
        return finite
    if callable(sites):
        return tuple(c for c in finite if sites(c))
    shown = {c.name: c.address for c in finite}
    asked = [sites] if isinstance(sites, str) else sites
    names = {shown.get(name) or as_address(name) if isinstance(name, str) else tuple(name) for name in asked}
    missing = names - {c.address for c in finite}
    if missing:
        raise unknown(missing, choices_of(form), finite, who)
    return tuple(c for c in finite if c.address in names)


@dataclass(frozen=True)
class Enumeration:
    """A program whose finite sites are summed.

    Attributes:
        program: the program.
        marginal: the program of the sites that stay.
        full: the same, with all choices of the program, and what it names, among its outputs.
        choices: the outputs of `full`, in order.
        summed: the sites that are summed.
        by: the transformer that sums them, where it is another one than `enumerate_sites`.
        max_table: largest number of entries of a table of `enumerate_sites`.
    """

    program: Form
    marginal: Form
    full: Form
    choices: tuple[Choice, ...]
    summed: tuple[Choice, ...]
    by: Transformer | None = None
    max_table: int = MAX_TABLE

    def sums(self, form: Form) -> Form:
        """Sum the sites out of a form that has them, as out of the program."""
        by = self.by or enumerate_sites(tuple(c.address for c in self.summed), max_table=self.max_table)
        return by(form)

    def plan(self) -> list[str]:
        """Say in words what is summed and how."""
        if self.by is not None:
            how = f"summed out by {self.by}, " + ("drawn back after the run" if self.by.contract.exact else "not exact")
            return [f"{choice.name}: {how}" for choice in self.summed]
        return [_in_words(self.marginal, choice) for choice in self.summed]


def enumeration(form: Form, sites: Sites, max_table: int = MAX_TABLE) -> Enumeration:
    """Sum sites out of a program, and keep what draws them back.

    Args:
        form: the program.
        sites: as for `enumerate_sites`; or a transformer that sums sites, as `marginalise()`.
        max_table: largest number of entries of a table.

    Raises: as `enumerate_sites`, or the transformer.
    """
    refuse_uncalled(sites, "enumerate")
    recorded = record(form)
    source = replace(recorded.form, outputs=recorded.form.outputs[recorded.own :], out_tree=None)
    if isinstance(sites, Transformer):
        full = unnamed(sites(source))  # sites that it wrote as functions of others are among the outputs
        left = {c.address for c in choices_of(full)}
        summed = tuple(c for c in choices_of(form) if c.address not in left)
        return Enumeration(form, marginal(full, summed), full, recorded.choices, summed, sites)
    summed = chosen_sites(form, sites)
    full = enumerate_sites(tuple(c.address for c in summed), max_table=max_table)(source)
    return Enumeration(form, marginal(full, summed), full, recorded.choices, summed, None, max_table)


def marginal(form: Form, summed: Sequence[Choice] = ()) -> Form:
    """Drop from a summed form what only draws sites back.

    Raises: UnsupportedProgramError where a weight reads a site that was drawn.
    """
    recorded = record(form, ("sample",))
    gone = {c.address for c in summed}
    kept = [
        value
        for choice, value in zip(recorded.choices, recorded.parts.values, strict=True)
        if choice.address[0] != PREFIX and choice.address not in gone
    ]
    small = without_dead_code(replace(recorded.form, outputs=tuple(kept), out_tree=None))
    small = without_dead_code(replace(small, outputs=()), keep_sites=True)
    left = [c for c in choices_of(small) if c.address[0] == PREFIX or c.address in gone]
    if left:
        names = ", ".join(sorted({c.name for c in left}))
        raise UnsupportedProgramError(
            f"site {names} cannot be summed: it is read outside the arm or loop that draws it, next to sites that are "
            "not summed. Fix: leave it out of enumerate=[...].",
            sites=tuple(c.address for c in left),
        )
    return small


def _in_words(form: Form, choice: Choice) -> str:
    law = choice.law
    elements = math.prod(choice.full_shape)
    values = round(law.atoms ** (1 / max(math.prod(choice.shape), 1))) if law.atoms else 0
    count = "" if choice.full_shape == () else f", {elements} elements"
    return f"{choice.name}: summed out exactly ({values} values{count}), drawn back after the run"


def given_sites(full: Form, kept: Sequence[Address]) -> Form:
    """Fix the sites that stay, as inputs after the form's own: what is left is drawn from its conditional."""
    return conditioned(full, kept).form
