"""Noncentred: a transformer that writes sites as functions of standard normals, their non-centred form.

Law: [[noncentred(p)]] = [[p]]: the value of a normal site is its mean plus its scale times a noise N(0, 1), so that the
noise does not know the parameters. A scale of zero is an ordinary point, chains see no funnel, and finite sites that a
normal law reads can be summed although the noise stays.

Reference: Papaspiliopoulos, Roberts and Skoeld (2007), A general framework for the parametrization of hierarchical
models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lawful.addresses import Address, as_address, show_address
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.choices import Choice, choices_of

from ..contract import Contract, Transformer
from ..representations.standard_normals import NORMAL, by_normals

type Names = None | str | Sequence[str | Address] | Callable[[Choice], bool]

FAMILY = ("Normal", "MultivariateNormal")


def noncentred(sites: Names = None) -> Transformer:
    """Write sites as functions of standard normals.

    Args:
        sites: names of the sites, or a rule that takes a choice and says whether it is rewritten; default: all normal
            ones. A named site may have any law whose quantiles are known.

    Returns: a transformer of programs and Forms that keeps the measure on the outputs; the choices of the rewritten
        sites are their noises, named `<site>.~normal`, and the sites stay in results as named values.

    Raises:
        LawfulError: a name is no latent site of the program.
        UnsupportedProgramError: the quantiles of a named site are not known.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def funnel():
    ...     scale = lawful.sample("scale", dist.HalfNormal(3.0))
    ...     with lawful.plate("i", 2):
    ...         return lawful.sample("x", dist.Normal(0.0, scale))
    >>> form = noncentred(["x"])(lawful.trace(funnel))
    >>> [site.address for site in form.sites()]
    [('scale',), ('x', '~normal')]
    """
    shown = "normal sites" if sites is None else sites if isinstance(sites, str) else named(sites)
    contract = Contract("preserves_measure", remarks="continuous sites, up to rounding")
    return Transformer(f"noncentred({shown})", lambda form: _apply(form, sites), contract)


def _apply(form: Form, sites: Names) -> Form:
    wanted = [c.address for c in chosen_normals(form, sites, "noncentred") if c.address[-1] != NORMAL]
    return by_normals(form, wanted, named=True) if wanted else form


def chosen_normals(form: Form, sites: Names, who: str) -> tuple[Choice, ...]:
    """Find the sites that are asked for; the name of a site that is already a function of a noise finds the noise.

    Args:
        form: the program.
        sites: as for `noncentred`.
        who: who asks, for the error.

    Raises: LawfulError for a name that is no latent site.
    """
    choices = choices_of(form)
    if sites is None:
        return tuple(c for c in choices if is_normal(c))
    if callable(sites):
        return tuple(c for c in choices if sites(c))
    known = {c.address: c for c in choices}
    addresses = {show_address(a[:-1] if a[-1] == NORMAL else a): a for a in known}
    found = []
    for name in [sites] if isinstance(sites, str) else sites:
        address = addresses.get(name, as_address(name)) if isinstance(name, str) else tuple(name)
        choice = known.get(address) or known.get((*address, NORMAL))
        if choice is None:
            shown = ", ".join(repr(c.name) for c in choices) or "none"
            raise LawfulError(
                f"{who}: {name!r} is no latent site. Fix: name one of {shown}; a site that is summed out or integrated "
                "out is one no more.",
                given=name,
            )
        found.append(choice)
    return tuple(found)


def is_normal(choice: Choice) -> bool:
    """Tell whether the law of a choice is normal."""
    return choice.law.numbered is not None and choice.law.label in FAMILY


def named(sites: object) -> str:
    """Write the sites that were asked for, for people."""
    if isinstance(sites, Sequence):
        return ", ".join(map(repr, sites))
    return str(getattr(sites, "__name__", sites))
