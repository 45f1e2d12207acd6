"""Elementwise: a program that weighs its data by the log marginals of the elements of a plate.

Law: it has the measure of the program, since the elements, and what stands outside of the plate, add up to the log
density of the data. Where elements are not seen to be independent, or no data stand in a plate, it is the program.
"""

from __future__ import annotations

from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.choices import choices_of

from ...contract import PRESERVES, Transformer
from ...transformers.log_marginals import elements_of, weighed


def by_elements(form: Form) -> Form:
    """Weigh by the elements of the first plate in which data stand and whose elements are independent.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> from lawful.form import Factor
    >>> def model(y):
    ...     with lawful.plate("i", 2):
    ...         lawful.sample("y", dist.Normal(0.0, 1.0), obs=y)
    >>> form = lawful.trace(model, jnp.zeros(2))
    >>> [node.address for node in by_elements(form).nodes if isinstance(node, Factor)]
    [('~elements',)]
    """
    for plate in dict.fromkeys(f.name for c in choices_of(form, ("observed",)) for f in c.frames):
        try:
            found = elements_of(form, plate, None)
        except UnsupportedProgramError:
            continue
        return weighed(form, found)
    return form


ByElements = Transformer("weigh by elements", by_elements, PRESERVES)
