"""Reduction: the part of a program that is summed and integrated exactly, and the program of what is left.

Law: the sums and integrals keep the measure, and what is gone is drawn back from its exact conditional; so an inference
on what is left is one on the program. Nothing is taken away that leaves a smooth site without its gradient, or that
costs many times what the program does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp

from lawful.addresses import Address
from lawful.errors import LawfulError, without_fix
from lawful.form import Form
from lawful.form.choices import choices_of, finite_sites
from lawful.form.markov_blanket import work
from lawful.form.pipeline import per_form

from ...contract import Transformer
from ...kernels.base.smooth_sites import smooth_sites
from ...kernels.default_kernel import MOST, default_kernel
from ...kernels.gradient.nuts import nuts
from ...representations.absent_elements import form_for
from ...transformers.enumeration import Enumeration, enumeration
from ...transformers.gaussian.integrate_normals import integrate_normals
from ...transformers.marginalise import marginalise

OPERATIONS = 10**7  # of an exact answer, at most


@dataclass(frozen=True, eq=False)
class Reduction:
    """A program, and what is summed or integrated out of it.

    Attributes:
        form: the program.
        found: the program of the sites that stay, with what draws the others back; None where none is taken away.
        reasons: what is taken away, and why; and why other sites are not.
    """

    form: Form
    found: Enumeration | None
    reasons: tuple[str, ...]

    @property
    def by(self) -> Transformer | None:
        """What sums and integrates, as `enumerate=` takes it."""
        return None if self.found is None else self.found.by

    @property
    def left(self) -> Form:
        """The program of the sites that stay."""
        return self.form if self.found is None else self.found.marginal

    @property
    def exact(self) -> bool:
        """Whether no site is left, so that the answer is exact."""
        return self.found is not None and not choices_of(self.left)

    @property
    def smooth(self) -> bool:
        """Whether the density has a gradient at all sites that are left."""
        form = form_for(nuts(), self.left)
        return len(smooth_sites(form)) == len(choices_of(form)) > 0

    @property
    def size(self) -> int:
        """Number of numbers that are left."""
        return sum(math.prod(choice.full_shape) for choice in choices_of(self.left))


@per_form
def reduced(form: Form) -> Reduction:
    """Take away what can be taken away exactly.

    Args: form: the program.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     scale = lawful.sample("scale", dist.HalfNormal(1.0))
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 10.0))
    ...     with lawful.plate("i", 3):
    ...         lawful.sample("y", dist.Normal(mu, scale), obs=y)
    >>> found = reduced(lawful.trace(model, jnp.zeros(3)))
    >>> [choice.name for choice in choices_of(found.left)], found.reasons
    (['scale'], ('mu: integrated out, as it is normal given the others and the data',))
    """
    choices = choices_of(form)
    drawn = [c for c in choices if jnp.issubdtype(c.dtype, jnp.floating)]
    sums, why = _sums(form, bool(drawn))
    if not drawn:
        return Reduction(form, sums, why)
    known = None if sums is None else sums.by
    try:
        both = enumeration(form, integrate_normals() if known is None else known >> integrate_normals())
    except LawfulError as error:
        return Reduction(form, sums, (*why, f"normal sites: not integrated out: {without_fix(error)}"))
    summed = () if sums is None else sums.summed
    gone = {c.address for c in both.summed} - {c.address for c in summed}
    names = ", ".join(c.name for c in choices if c.address in gone)
    cost = work(both.marginal) / max(work(form), 1)
    if not gone:
        return Reduction(form, sums, why)
    if cost > MOST:
        said = f"{names}: not integrated out: that takes {cost:.0f} times the operations of the program"
        return Reduction(form, sums, (*why, said))
    if _rougher(form if sums is None else sums.marginal, both.marginal):
        return Reduction(form, sums, (*why, f"{names}: not integrated out: the others would have no gradient then"))
    verb = "they are" if len(gone) > 1 else "it is"
    said = f"{names}: integrated out, as {verb} normal given the others and the data"
    return Reduction(form, both, (*why, said))


def _sums(form: Form, drawn: bool) -> tuple[Enumeration | None, tuple[str, ...]]:
    """Sum finite sites: all where there are no others, else those whose sum leaves the others their gradient."""
    finite = finite_sites(form)
    if drawn:
        choice = default_kernel(form)
        if choice.sums is None:
            return None, tuple(r for r in choice.reasons if "not summed" in r)
        found = enumeration(form, choice.sums)
        gone = {c.name for c in found.summed}
        return found, tuple(r for r in choice.reasons if set(r.split(":")[0].split(", ")) <= gone)
    if len(finite) < len(choices_of(form)):
        return None, ()
    names = ", ".join(c.name for c in finite) or "no site"
    try:
        found = enumeration(form, marginalise())
    except LawfulError as error:
        return None, (f"{names}: not summed out: {without_fix(error)}",)
    if work(found.marginal) > OPERATIONS:
        return None, (f"{names}: not summed out: that takes more than {OPERATIONS:.0e} operations",)
    return found, (f"{names}: summed out, which takes {work(found.marginal):.1e} operations",)


def _rougher(before: Form, after: Form) -> bool:
    """Tell whether a site that had a gradient has none."""

    def known(form: Form) -> set[Address]:
        return {c.address for c in smooth_sites(form_for(nuts(), form))}

    left = {c.address for c in choices_of(after)}
    return not known(after) >= known(before) & left
