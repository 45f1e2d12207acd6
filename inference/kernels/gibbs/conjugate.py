"""Conjugate: continuous sites drawn from their exact conditional, where the log density shows its family.

Law: a site whose log density given all else is a quadratic form is normal; one that is a combination of log s and s has
a gamma law, of log s and 1 / s an inverse gamma law. Which of them it is follows from the operations of the density
(see `spans`), whatever the program calls its parts; the parameters follow from its first two derivatives at one point.
A probability, or a row of them, that its children read as it is has a beta or a Dirichlet law. Each draw keeps the
posterior, so the draws one after the other do.

Reference: Geman and Geman (1984); Gelman et al. (2013), Bayesian Data Analysis, chapters 2 and 3, for the families.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro.distributions import constraints

from lawful.backends.xla import emit
from lawful.errors import UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.markov_blanket import Blanket, reached

from ...contract import Contract
from ...laws.invalid_weights import meaningless
from ...registered import stored_as
from ...representations.coordinates import static_support
from ...representations.kernel_form import KernelForm, State, state_inputs
from ...representations.naming import named_sites
from ...transformers.spans import LOG, span
from ..base.base import finished, scored_anew
from ..base.redraw import PREFIX
from ..base.rescore import reached_score
from .direct import probability_of
from .families import FAMILIES, Family, FreshLaw

INFO = ("conjugate_error", "n_nonfinite")
ZERO, ONE, TWO = Fraction(0), Fraction(1), Fraction(2)


@dataclass(frozen=True)
class Group:
    """Sites that are drawn together, and the family of their conditional."""

    places: tuple[int, ...]
    family: str


@stored_as("kernels.conjugate")
@dataclass(frozen=True)
class Conjugate:
    """Draws of sites from conditionals of a known family; see `conjugate`."""

    sites: tuple[Any, ...] | None = None
    contract: Contract = Contract("invariant_kernel", target="the program's posterior")

    def build(self, program: Form) -> KernelForm:
        """Write one draw after the other."""
        choices = choices_of(program)
        block, inputs, start = Block(), tuple(v.like() for v in program.inputs), state_inputs(choices)
        state, errors, broken = start, list[Var](), list[Var]()
        for group in self._groups(program, choices):
            state, error, wrong = _drawn(block, program, choices, group, inputs, state)
            errors.append(error)
            broken.append(wrong)
        numbers = block.det(_worst, *errors, label=INFO[0]), block.det(_total, *broken, label=INFO[1])
        form = block.form((*inputs, *start.flat), (*state.flat, *numbers))
        return KernelForm(finished(form), choices, INFO, leave=scored_anew(program))

    def plan(self, program: Form) -> list[str]:
        """Say which site is drawn by which conditional."""
        choices = choices_of(program)
        said = {}
        for group in self._groups(program, choices):
            names = [choices[p].name for p in group.places]
            for name in names:
                others = ", ".join(n for n in names if n != name)
                said[name] = f"drawn from its {group.family} conditional" + (f", with {others}" if others else "")
        if self.sites is None:
            for i, choice in enumerate(choices):
                if choice.name not in said:
                    said[choice.name] = f"not moved, as {seen_family(program, choices, (i,)).why}"
        return [f"{c.name}: {said.get(c.name, 'not moved')}" for c in choices]

    def _groups(self, program: Form, choices: Sequence[Choice]) -> list[Group]:
        """Find the families; refuse a named site that has none."""
        known = {c.address: i for i, c in enumerate(choices)}
        if self.sites is None:
            found = [seen_family(program, choices, (i,)) for i in range(len(choices))]
            groups = [Group((i,), seen.family) for i, seen in enumerate(found) if seen.family is not None]
            if not groups:
                why = "; ".join(f"{c.name}: {seen.why}" for c, seen in zip(choices, found, strict=True))
                raise UnsupportedProgramError(
                    f"conjugate: no site has a conditional of a known family ({why}). Fix: move them by another kernel."
                )
            return groups
        groups = []
        for named in self.sites:
            together = named if isinstance(named, list) else [named]
            places = tuple(known[a] for a in named_sites(choices, together, "conjugate"))
            seen = seen_family(program, choices, places)
            if seen.family is None:
                names = ", ".join(f"'{choices[p].name}' ({choices[p].source})" for p in places)
                raise UnsupportedProgramError(
                    f"conjugate: the conditional of {names} is not seen to be normal, gamma, inverse gamma, beta or "
                    f"Dirichlet: {seen.why}. Fix: move it by another kernel, as on(site, slice()).",
                    site=choices[places[0]].address,
                )
            groups.append(Group(places, seen.family))
        return groups

    def __repr__(self) -> str:
        """Show the sites."""
        return f"conjugate({'' if self.sites is None else list(self.sites)})"


def conjugate(sites: Sequence[Any] | None = None) -> Conjugate:
    """Draw continuous sites from their exact conditionals, each given all others.

    Normal conditionals are found wherever the log density is a quadratic form of a site: means, effects and regression
    coefficients with normal priors, in hierarchies and chains, whatever the means are computed from, as long as they
    are affine. Gamma and inverse gamma ones where it is made of log s and s, or 1 / s: rates, precisions, variances.
    Beta and Dirichlet ones where Bernoulli, binomial, geometric, categorical or multinomial sites read the site as it
    is. `plan` says which site has which; `stats["conjugate_error"]` is how far the draw's log density ratio is from
    that of the program, which is rounding.

    Args:
        sites: names; a list of names within it is drawn jointly, which takes normal conditionals. Default: all sites
            for which a family is found, one after the other.

    Raises: when the kernel is built, UnsupportedProgramError for a named site without such a conditional.

    Reference: Gelman et al. (2013), Bayesian Data Analysis, chapters 2 and 3.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 10.0))
    ...     precision = lawful.sample("precision", dist.Gamma(2.0, 2.0))
    ...     with lawful.plate("i", 3):
    ...         lawful.sample("y", dist.Normal(mu, precision**-0.5), obs=y)
    >>> conjugate().plan(lawful.trace(model, jnp.zeros(3)))
    ['mu: drawn from its normal conditional', 'precision: drawn from its gamma conditional']
    """
    return Conjugate(None if sites is None else tuple(sites))


class Seen(NamedTuple):
    """The family of a conditional, or why none is seen."""

    family: str | None
    why: str = ""


def seen_family(program: Form, choices: Sequence[Choice], places: tuple[int, ...]) -> Seen:
    """Find the family of the conditional of some sites, drawn together, or say why none is seen."""
    chosen = [choices[p] for p in places]
    supports = [static_support(c.law) for c in chosen]
    if any(c.conditional for c in chosen):
        return Seen(None, "it runs in one arm of a branch only")
    if not all(jnp.issubdtype(c.dtype, jnp.floating) for c in chosen):
        return Seen(None, "it is not continuous")
    if any(s is None for s in supports):
        return Seen(None, "its support depends on other values")
    if not all(math.prod(c.full_shape) for c in chosen):
        return Seen(None, "it has no number")
    reach = reached(program, [c.address for c in chosen])
    if len(chosen) == 1 and supports[0] in (constraints.unit_interval, constraints.simplex):
        family = probability_of(program, chosen[0], reach)
        return Seen(family, "it is not seen to be the probabilities of its children, as it is, under a conjugate prior")
    density = _Density(program, reach, places, choices)
    shapes = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in (*program.inputs, *map(_as_var, choices))]
    whole = [jax.ShapeDtypeStruct((density.size,), jnp.result_type(float)), *shapes]
    if all(s in (constraints.real, constraints.real_vector) for s in supports):
        terms = span(density, 0, whole, polynomial=True)
        normal = terms is not None and terms <= {ZERO, ONE, TWO}
        return Seen("normal" if normal else None, "its log density is not seen to be a quadratic form of it")
    if len(chosen) > 1 or supports[0] is not constraints.positive:
        return Seen(None, "its support is that of none of these families")
    terms = span(density, 0, whole, polynomial=False)
    for family, own in (("gamma", ONE), ("inverse gamma", -ONE)):
        if terms is not None and terms <= {ZERO, own, LOG}:
            return Seen(family)
    made = "is not seen to be made of its powers" if terms is None else f"is made of {_written(terms)}"
    return Seen(None, f"its log density {made}, where a gamma law has log s and s, an inverse gamma law log s and 1/s")


def _written(terms: frozenset[Any]) -> str:
    """Write powers of a site and its logarithm.

    >>> _written(frozenset({LOG, ZERO, ONE, -TWO}))
    'log s, s^-2 and s'
    """
    powers = sorted(t for t in terms if t not in (LOG, ZERO))
    words = [*(["log s"] if LOG in terms else []), *("s" if p == 1 else f"s^{p}" for p in powers)]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _as_var(choice: Choice) -> Var:
    return Var(choice.full_shape, choice.dtype)


class _Density:
    """The log density as a function of a vector of the chosen sites, then the program's inputs and all choices."""

    def __init__(self, program: Form, reach: Blanket, places: tuple[int, ...], choices: Sequence[Choice]) -> None:
        scoring, _ = reached_score(program, reach)
        self.run, self.own, self.places = emit(scoring.form), scoring.own, places
        self.inputs, self.choices = len(program.inputs), len(choices)
        self.shapes = [choices[p].full_shape for p in places]
        self.dtypes = [choices[p].dtype for p in places]
        self.size = sum(map(math.prod, self.shapes))

    def __call__(self, vector: jax.Array, *operands: jax.Array) -> jax.Array:
        inputs, values = operands[: self.inputs], list(operands[self.inputs :])
        for place, value in zip(self.places, self.parts(vector), strict=True):
            values[place] = value
        return self.run(jax.random.key(0), *inputs, *values)[0][self.own]

    def parts(self, vector: jax.Array) -> list[jax.Array]:
        """Cut a vector into the values of the sites."""
        found, start = [], 0
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            size = math.prod(shape)
            found.append(vector[start : start + size].reshape(shape).astype(dtype))
            start += size
        return found

    def vector(self, values: Sequence[jax.Array]) -> jax.Array:
        """Join the values of the sites."""
        dtype = jnp.result_type(float)
        return jnp.concatenate([values[p].reshape(-1).astype(dtype) for p in self.places])


def _drawn(
    block: Block, program: Form, choices: Sequence[Choice], group: Group, inputs: Sequence[Var], state: State
) -> tuple[State, Var, Var]:
    """Append the draw of one group; gives the state, the error of the ratio, and whether it is no number."""
    reach = reached(program, [choices[p].address for p in group.places])
    density = _Density(program, reach, group.places, choices)
    family = FAMILIES[group.family]
    operands = (*inputs, *state.values)
    parameters = block.det(_Parameters(density, family), *operands, label=f"{group.family} conditional")
    names = "~".join(choices[p].name for p in group.places)
    law = FreshLaw(family.made, family.shape(choices[group.places[0]].full_shape, density.size))
    draw = block.site((PREFIX, "conjugate", names), law, parameters[: family.drawn])
    *values, change, error, wrong = block.det(_Placed(density, family), draw, *parameters, *operands, label="drawn")
    there = list(state.values)
    for place, value in zip(group.places, values, strict=True):
        there[place] = value
    log_density = block.det(jnp.add, state.log_density, change, label="log density")
    return State(tuple(there), state.flags, log_density), error, wrong


@dataclass(frozen=True)
class _Parameters:
    """The parameters of a conditional at a state."""

    density: _Density
    family: Family

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        at = self.density.vector(operands[self.density.inputs :])
        return self.family.parameters(lambda x: self.density(x, *operands), at, self.density.shapes[0])


@dataclass(frozen=True)
class _Placed:
    """The values of a draw, the change of the log density, and how far its ratio is from that of the conditional."""

    density: _Density
    family: Family

    def __call__(self, draw: jax.Array, *operands: jax.Array) -> tuple[jax.Array, ...]:
        count = len(operands) - self.density.inputs - self.density.choices
        parameters, rest = operands[:count], operands[count:]
        old = self.density.vector(rest[self.density.inputs :])
        new = self.family.placed(draw, *parameters)
        change = self.density(new, *rest) - self.density(old, *rest)
        ratio = self.family.log_prob(new, *parameters) - self.family.log_prob(old, *parameters)
        error = jnp.abs(change - ratio) / (1 + jnp.abs(change))
        broken = meaningless(change)
        kept = jnp.where(broken, old, new)
        change = jnp.where(broken, 0.0, change)
        return (*self.density.parts(kept), change, jnp.where(broken, 0.0, error), broken.astype(jnp.int32))


def _worst(*errors: jax.Array) -> jax.Array:
    return jnp.max(jnp.stack(errors))


def _total(*counts: jax.Array) -> jax.Array:
    return sum(counts, jnp.zeros((), jnp.int32))
