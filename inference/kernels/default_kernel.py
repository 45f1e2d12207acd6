"""The default kernel: what `inference.mcmc` and the command line take where no kernel is given, chosen by the program.

Law: whatever is chosen keeps the program's posterior, as the kernels and the sums that it is made of do. The choice
reads the form alone, so that equal programs with arguments of equal shapes get equal kernels.

Continuous choices with a gradient move by NUTS, whose mass is their covariance where they are few, or where the density
costs more than a product by such a matrix. Finite ones beside them are summed out where that costs little more
than the density does; else they are drawn from exact conditionals, in blocks where they depend on each other. What is
left (counts, densities with jumps, what decides which choices there are) moves part by part, proposed from its prior.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from lawful.addresses import Address
from lawful.errors import LawfulError, without_fix
from lawful.form import Form
from lawful.form.choices import Choice, choices_of, finite_sites
from lawful.form.markov_blanket import reached, work
from lawful.form.pipeline import per_form

from ..contract import Transformer
from ..representations.absent_elements import form_for
from ..transformers.enumeration import Enumeration, enumeration
from ..transformers.marginalise import marginalise
from .base.smooth_sites import smooth_sites
from .combine.compose import cycle, repeat
from .combine.mh import mh
from .combine.on import on
from .gibbs.block_gibbs import block_gibbs
from .gibbs.gibbs import drawn_at_once, drawn_sites, gibbs
from .gradient.nuts import nuts

MOST = 100  # operations of the marginal for each one of the program, up to which sites are summed
SWEEP = 32  # single-site moves between two other moves, at most
FEW, MANY = 32, 200  # coordinates whose mass is dense whatever the density costs, and if it costs more than a product
# Chains that share a step meet a rate exactly, where a chain that adapts alone takes shorter steps than it asks for:
# 0.8 among four is more than posteriors with narrow parts bear.
TARGET = 0.9


@dataclass(frozen=True)
class DefaultKernel:
    """What was chosen for a program.

    Attributes:
        kernel: the kernel, of the program, or of the marginal where sites are summed out.
        reasons: what was chosen for which sites, and why.
        summed: the sites that are summed out.
        sums: what sums them, as `enumerate=` takes it; None where none are.
    """

    kernel: Any
    reasons: tuple[str, ...]
    summed: tuple[Address, ...] = ()
    sums: Transformer | None = None


def default_kernel(form: Form, *, sums: bool = True) -> DefaultKernel:
    """Choose a kernel by the program.

    Args:
        form: the program.
        sums: whether sites may be summed out.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def mixture(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     with lawful.plate("i", 3):
    ...         z = lawful.sample("z", dist.Bernoulli(0.5))
    ...         lawful.sample("y", dist.Normal(mu * z, 1.0), obs=y)
    >>> form = lawful.trace(mixture, jnp.zeros(3))
    >>> default_kernel(form).kernel, default_kernel(form).summed
    (nuts(max_depth=10) with tuned step, tuned diagonal mass, (('z',),))
    >>> for reason in default_kernel(form, sums=False).reasons:
    ...     print(reason)
    z: drawn from the exact conditional, as it has finitely many values
    mu: NUTS, as the log density has a gradient there
    """
    return _chosen(form, sums)


@per_form
def _chosen(form: Form, sums: bool) -> DefaultKernel:
    if not any(math.prod(c.full_shape) for c in choices_of(form)):
        return DefaultKernel(mh(), ())
    smooth = smooth_sites(form_for(nuts(), form))
    finite = _finite(form)
    why: tuple[str, ...] = ()
    if sums and finite and any(jnp.issubdtype(c.dtype, jnp.floating) for c in choices_of(form)):
        summed, why = _summed(form, {c.address for c in smooth}, [c.address for c in finite])
        if summed is not None:
            left = summed.marginal
            kernel, reasons = _moves(left, smooth_sites(form_for(nuts(), left)), _finite(left))
            sites = tuple(c.address for c in summed.summed)
            return DefaultKernel(kernel, (*why, *reasons), sites, summed.by)
    kernel, reasons = _moves(form, smooth, finite)
    return DefaultKernel(kernel, (*why, *reasons))


def _finite(form: Form) -> tuple[Choice, ...]:
    """Find the finite sites that decide about no others but finite ones."""
    finite = finite_sites(form)
    addresses = {c.address for c in finite}
    if reached(form, addresses).switched <= addresses:
        return finite
    return tuple(c for c in finite if reached(form, [c.address]).switched <= addresses)


def _summed(
    form: Form, smooth: Collection[Address], finite: Sequence[Address]
) -> tuple[Enumeration | None, tuple[str, ...]]:
    """Sum the sites that can be summed, where the sum is cheap and leaves the others their gradient; and say why.

    Sums plate by plate come first, then those of a factor graph, in whose order of elimination elements may meet.
    """
    largest = _largest_table(form, finite)

    def in_program(sites: tuple[Address, ...]) -> Enumeration:
        return enumeration(form, marginalise(sites, method="program"))

    def by_graph(sites: tuple[Address, ...]) -> Enumeration:
        return enumeration(form, marginalise(sites, method="graph", width_budget=largest, max_table=largest))

    why = []
    for attempt, how in ((in_program, ""), (by_graph, " through their factor graph")):
        if how and not _one_site_an_address(form):
            break
        _, found, refused = _as_far_as_possible(attempt, finite)
        if found is None:
            assert refused is not None
            why.append(f"{_names(form, finite)}: not summed out: {without_fix(refused)}")
            continue
        names = ", ".join(c.name for c in found.summed)
        cost = work(found.marginal) / max(work(form), 1)
        left = {c.address for c in smooth_sites(form_for(nuts(), found.marginal))}
        if not left or not left >= set(smooth):
            why.append(f"{names}: not summed out: the others would have no gradient then")
        elif cost > MOST:
            why.append(f"{names}: not summed out: that takes {cost:.0f} times the operations of the program")
        else:
            cheap = "its tables are small" if how else f"that takes {cost:.1f} times the operations of the program"
            return found, (f"{names}: summed out{how}, as {cheap}",)
    return None, tuple(dict.fromkeys(why))


def _largest_table(form: Form, finite: Sequence[Address]) -> int:
    """Give the entries of a table that each element of some sites may take, so that all together cost no more."""
    elements = sum(math.prod(c.full_shape) for c in choices_of(form) if c.address in finite)
    return max(1, MOST * work(form) // max(1, elements))


def _one_site_an_address(form: Form) -> bool:
    """Tell whether no two arms share an address: a factor graph has one variable for each."""
    addresses = [site.address for site in form.sites()]
    return len(addresses) == len(set(addresses))


def _moves(form: Form, smooth: Sequence[Choice], finite: Sequence[Choice]) -> tuple[Any, tuple[str, ...]]:
    """Choose kernels for all sites of a form."""
    choices = choices_of(form)
    groups = _conditionals(form, [c.address for c in finite])
    groups.append((_nuts(form, smooth), [c.address for c in smooth], "NUTS, as the log density has a gradient there"))
    left = [c for c in choices if math.prod(c.full_shape) and not any(c.address in moved for _, moved, _ in groups)]
    times = min(SWEEP, sum(math.prod((*c.loops, *c.units)) for c in left)) if len(left) < len(choices) else 1
    one_by_one = repeat(mh(), times) if times > 1 else mh()
    why = "one part at a time, proposed from its prior, as any site can be"
    groups.append((one_by_one, [c.address for c in left], why))
    groups = [(kernel, moved, why) for kernel, moved, why in groups if moved]
    parts = [
        kernel if len(moved) == len(choices) else on([c.name for c in choices if c.address in moved], kernel)
        for kernel, moved, _ in groups
    ]
    reasons = tuple(f"{_names(form, moved)}: {why}" for _, moved, why in groups)
    return parts[0] if len(parts) == 1 else cycle(*parts), reasons


def _nuts(form: Form, smooth: Sequence[Choice]) -> Any:
    """Choose the mass: dense, where that is cheap and can be learnt."""
    size = sum(math.prod(c.full_shape) for c in smooth)
    cheap = size > 1 and (size <= FEW or (size <= MANY and size**2 <= work(form)))
    return nuts(inverse_mass="dense" if cheap else "diagonal", target_acceptance=TARGET)


def _conditionals(form: Form, finite: Sequence[Address]) -> list[tuple[Any, Sequence[Address], str]]:
    """Choose the draws of finite sites from their exact conditionals, as far as they have them."""

    def built(kernel: Any) -> Callable[[tuple[Address, ...]], Any]:
        return lambda sites: on(list(sites), kernel).build(form)

    outside = drawn_sites(form)
    single, _, _ = _as_far_as_possible(built(gibbs()), [site for site in finite if site in outside])
    blocks: tuple[Address, ...] = ()
    largest = _largest_table(form, finite)
    in_blocks = block_gibbs(width_budget=largest, max_table=largest)
    alone = len(finite) == len(single) == 1 and drawn_at_once(form, single[0])
    if not alone and _one_site_an_address(form):
        blocks, _, _ = _as_far_as_possible(built(in_blocks), finite)
    rest = [address for address in single if address not in blocks]
    return [
        (in_blocks, blocks, "drawn in blocks from exact conditionals, as they have finitely many values"),
        (gibbs(), rest, "drawn from the exact conditional, as it has finitely many values"),
    ]


def _as_far_as_possible(
    attempt: Callable[[tuple[Address, ...]], Any], sites: Sequence[Address]
) -> tuple[tuple[Address, ...], Any, Exception | None]:
    """Try something with sites but those that it refuses by name; gives the sites, what came out, and the error."""
    left, refused = tuple(sites), None
    while left:
        try:
            return left, attempt(left), refused
        except Exception as error:  # whatever goes wrong: there is another way, and the plan tells what it was
            refused = error
        named = set(_sites_of(refused)) & set(left)
        if not named:
            break
        left = tuple(site for site in left if site not in named)
    return (), None, refused


def _sites_of(error: Exception) -> tuple[Address, ...]:
    fields = error.fields if isinstance(error, LawfulError) else {}
    return tuple(fields.get("sites") or ()) or ((fields["site"],) if fields.get("site") else ())


def _names(form: Form, sites: Collection[Address]) -> str:
    return ", ".join(c.name for c in choices_of(form) if c.address in set(sites))
