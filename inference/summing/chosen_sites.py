"""Chosen sites: which finite sites of a program are to be summed, as `marginalise` and every `enumerate=` take them.

Law: what is asked for is checked here and nowhere else: a name that is no finite site is refused with those that are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from lawful.addresses import Address, as_address, show_address
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.choices import Choice, choices_of, finite_sites

from ..contract import Transformer
from ..missing_call import refuse_uncalled

type Sites = Literal["all"] | str | Sequence[str | Address] | Callable[[Choice], bool]
type Sums = Sites | Transformer

EXPECTED = "'all', names of finite sites, or a rule that takes a choice and says whether it is summed"


def checked_sites(sites: Any, who: str, *, sums: bool = True) -> Any:
    """Refuse what names no sites.

    Args:
        sites: what was given.
        who: the argument or function, for the error.
        sums: whether a transformer that sums sites is expected, too.

    >>> checked_sites(3, "enumerate")
    Traceback (most recent call last):
    lawful.errors.LawfulError: enumerate: expected 'all', ..., or a transformer, as marginalise(...), got 3. Fix: ...
    """
    refuse_uncalled(sites, who)
    if isinstance(sites, Transformer):
        good = sums
    else:
        listed = isinstance(sites, Sequence) and all(isinstance(site, str | tuple) for site in sites)
        good = listed or callable(sites)
    if not good:
        more = ", or a transformer, as marginalise(...)" if sums else ""
        raise LawfulError(f"{who}: expected {EXPECTED}{more}, got {sites!r}. Fix: write their names, as ['z'].")
    return sites


def shown_sites(sites: Sites) -> str:
    """Say which sites are asked for.

    >>> shown_sites(["z"]), shown_sites("all"), shown_sites(as_address)
    ("'z'", 'all finite sites', 'as_address')
    """
    if isinstance(sites, str):
        return "all finite sites" if sites == "all" else repr(sites)
    if isinstance(sites, Sequence):
        return ", ".join(repr(site if isinstance(site, str) else show_address(site)) for site in sites)
    return str(getattr(sites, "__name__", sites))


def chosen_sites(form: Form, sites: Sites, who: str = "enumerate") -> tuple[Choice, ...]:
    """Find the finite sites that are asked for, by addresses or by names as results show them.

    Args:
        form: the program.
        sites: as for `marginalise`.
        who: who asks, for the error.

    Raises: LawfulError for a name that is no finite site.
    """
    finite = finite_sites(form)
    if isinstance(sites, str) and sites == "all":
        return finite
    if callable(sites):
        return tuple(c for c in finite if sites(c))
    shown = {c.name: c.address for c in finite}
    asked = [sites] if isinstance(sites, str) else sites
    names = {shown.get(name) or as_address(name) if isinstance(name, str) else tuple(name) for name in asked}
    missing = names - {c.address for c in finite}
    if missing:
        raise _unknown(missing, choices_of(form), finite, who)
    return tuple(c for c in finite if c.address in names)


def _unknown(missing: set[Address], known: Sequence[Choice], finite: Sequence[Choice], who: str) -> LawfulError:
    """Make the error of names that are no finite sites."""
    latent = {c.address for c in known}
    said = []
    for address in sorted(missing):
        what = "has infinitely many values" if address in latent else "is no latent site"
        said.append(f"'{show_address(address)}' {what}")
    names = ", ".join(c.name for c in finite)
    return LawfulError(
        f"{who}: {'; '.join(said)}. The finite sites of the program are: {names or 'none'}. Fix: name some of these, "
        "or say 'all'.", names=tuple(missing),
    )  # fmt: skip
