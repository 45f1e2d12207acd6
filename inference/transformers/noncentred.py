"""Noncentred: a transformer that writes sites as functions of standard normals, or of normals centred by a share.

Law: [[noncentred(p)]] = [[p]]: the value of a normal site is its mean plus its scale times a noise N(0, 1), so that the
noise does not know the parameters. A scale of zero is an ordinary point, chains see no funnel, and finite sites that a
normal law reads can be summed although the noise stays. A site that is centred by a share is made of a latent value
that knows this share of its mean and of the logarithm of its scale: see `representations/partly_centred.py`.

Reference: Papaspiliopoulos, Roberts and Skoeld (2007), A general framework for the parametrization of hierarchical
models. Gorinova, Moore and Hoffman (2020), Automatic reparameterisation of probabilistic programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lawful.addresses import Address, as_address, show_address
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.choices import Choice, choices_of

from ..contract import Contract, Transformer
from ..representations.partly_centred import PARTLY, partly_centred
from ..representations.standard_normals import NORMAL, by_normals

type Names = None | str | Sequence[str | Address] | Callable[[Choice], bool]

FAMILY = ("Normal", "MultivariateNormal")


def noncentred(sites: Names = None, *, centred: ArrayLike | Mapping[str, ArrayLike] = 0.0) -> Transformer:
    """Write sites as functions of standard normals, or of normals that stay centred by a share.

    Args:
        sites: names of the sites, or a rule that takes a choice and says whether it is rewritten; default: all normal
            ones. A named site may have any law whose quantiles are known.
        centred: shares from 0 to 1 of all these sites, or of some by name: a number, or an array for the elements of
            one value of the site, in a loop the same at each step. A site x ~ Normal(m, s) with share c is made of
            z ~ Normal(c m, s**c) as x = m + s**(1 - c) (z - c m). 0: wholly by standard normals; 1: centred.

    Returns: a transformer of programs and Forms that keeps the measure on the outputs; the choices of the rewritten
        sites are their noises, named `<site>.~normal`, or `<site>.~partly` where a share is not 0, and the sites stay
        in results as named values.

    Raises:
        LawfulError: a name is no latent site of the program, or a share is not one of 0 to 1 for its elements.
        UnsupportedProgramError: the quantiles of a named site are not known, or a share is asked of a site whose law is
            not Normal.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def funnel():
    ...     scale = lawful.sample("scale", dist.HalfNormal(3.0))
    ...     with lawful.plate("i", 2):
    ...         return lawful.sample("x", dist.Normal(0.0, scale))
    >>> form = noncentred(["x"])(lawful.trace(funnel))
    >>> [site.address for site in form.sites()]
    [('scale',), ('x', '~normal')]
    >>> half = noncentred(["x"], centred=[0.5, 0.9])(lawful.trace(funnel))
    >>> [site.address for site in half.sites()]
    [('scale',), ('x', '~partly')]
    """
    shown = "normal sites" if sites is None else sites if isinstance(sites, str) else named(sites)
    shares = _shares(centred)
    said = ""
    if any(np.any(share) for share in shares.values()):
        said = f", centred={', '.join(shares) if isinstance(centred, Mapping) else shares['']!s}"
    contract = Contract("preserves_measure", remarks="continuous sites, up to rounding")
    return Transformer(f"noncentred({shown}{said})", lambda form: _apply(form, sites, shares), contract)


def _shares(centred: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Read shares by the names of sites; those of all sites have no name."""
    given = centred if isinstance(centred, Mapping) else {"": centred}
    shares = {name: np.asarray(share, float) for name, share in given.items()}
    for name, share in shares.items():
        if not np.all((share >= 0) & (share <= 1)):
            of = f" of '{name}'" if name else ""
            raise LawfulError(
                f"noncentred: centred{of} is {given[name]!r}; expected numbers from 0 to 1. Fix: give the share of the "
                "mean and the scale that the latent value knows, 1 for the site as it is.",
                given=given[name],
            )
    return shares


def _apply(form: Form, sites: Names, shares: Mapping[str, np.ndarray]) -> Form:
    chosen = [c for c in chosen_normals(form, sites, "noncentred") if c.address[-1] not in (NORMAL, PARTLY)]
    unknown = shares.keys() - {""} - {c.name for c in chosen}
    if unknown:
        shown = ", ".join(repr(c.name) for c in chosen) or "none"
        raise LawfulError(
            f"noncentred: centred names {', '.join(map(repr, sorted(unknown)))}, which is not rewritten. Fix: name "
            f"one of {shown}.",
            given=sorted(unknown),
        )
    share = {c.address: shares.get(c.name, shares.get("", np.zeros(()))) for c in chosen}
    partly = {address: x for address, x in share.items() if np.any(x)}
    wholly = share.keys() - partly.keys()
    form = partly_centred(form, partly) if partly else form
    return by_normals(form, wholly, named=True) if wholly else form


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
    addresses = {show_address(a[:-1] if a[-1] in (NORMAL, PARTLY) else a): a for a in known}
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
