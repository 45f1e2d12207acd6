"""Integrate normals: a transformer that integrates normal sites out of a program, exactly.

Law: [[integrate_normals(p)]] = [[p]]: sites whose conditional given all else is normal become one factor, the log of
the integral over them, and are drawn back from that conditional where an output reads them. So any inference that runs
on the result is the inference on the marginal (a collapsed, or Rao-Blackwellised one), and its results still hold the
sites.

The sites are taken in their non-centred form, as functions of standard normals: their covariances may be singular, and
finite sites that their law reads may be summed before or after. A flat site of all real numbers counts as normal. That
the density is a quadratic form of them, and that lanes, as the persons of a plate, are apart, is proved from its
operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lawful.addresses import Address
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Factor, Form, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of, finite_sites
from lawful.form.liveness import dependents, without_dead_code
from lawful.passes.condition import conditioned

from ...contract import Contract, Transformer
from ...laws.log_sum import log_sum
from ...representations.flat_priors import by_flat_normals, is_flat
from ...representations.standard_normals import normal_site
from ...summing.laws import IndexLaw
from ...summing.tables import PREFIX
from ..noncentred import chosen_normals, named
from .by_step import ByStep
from .chain_integral import ChainIntegral
from .groups import Group, Joint, flat, largest, next_group, noise_of
from .quadratic_forms import Noises, integrated, placed, seen_from
from .terms import NormalDensity, refused
from .written_integral import Written

type Wanted = None | str | Sequence[str | Address | list[str | Address]] | Callable[[Choice], bool]

MAX_BLOCK = 512  # numbers that are integrated together: work grows as their cube


def integrate_normals(sites: Wanted = None, *, max_block: int = MAX_BLOCK) -> Transformer:
    """Integrate normal sites out of a program.

    Sites that are normal together are integrated at once, in as few steps as their lanes ask for; a list of names
    within the list is integrated in one step.

    Args:
        sites: names of the sites, or a rule that takes a choice and says whether it is integrated; default: all normal
            ones whose conditional is seen to be normal.
        max_block: largest number of dependent numbers that are integrated together.

    Returns: a transformer of programs and Forms that keeps the measure on the outputs; also for
        `mcmc(enumerate=...)`, `smc(enumerate=...)` and `importance(enumerate=...)`, whose results then hold draws of
        the sites. It composes with `marginalise`, before it or after it; before it, write the sites by `noncentred`
        first.

    Raises:
        LawfulError: a name is no latent site.
        UnsupportedProgramError: a named site is not seen to have a normal conditional, or stands in a loop or an arm;
            a site that stays reads it.
        NonFiniteError: an integral is infinite. Where that depends on values, the log density of the result is +inf
            there, which every run reports.

    Reference: Casella and Robert (1996), Rao-Blackwellisation of sampling schemes.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     scale = lawful.sample("scale", dist.HalfNormal(1.0))
    ...     with lawful.plate("i", 3):
    ...         x = lawful.sample("x", dist.Normal(0.0, scale))
    ...         lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    >>> form = integrate_normals(["x"])(lawful.trace(model, jnp.array([0.3, -1.0, 0.5])))
    >>> round(float(form.log_density({"scale": 2.0}, jnp.array([0.3, -1.0, 0.5]))), 6)  # y ~ N(0, 5), and the prior
    -7.530764
    """
    shown = "normal sites" if sites is None else repr(sites) if isinstance(sites, str) else named(sites)
    contract = Contract("preserves_measure", remarks="continuous sites, up to rounding")
    return Transformer(f"integrate_normals({shown})", Normals(sites, max_block), contract)


@dataclass(frozen=True, eq=False)
class Normals:
    """What `integrate_normals` does to a form.

    Attributes:
        sites: what is asked for.
        max_block: largest number of dependent numbers that are integrated together.
        by_step: whether the integral over a chain becomes a factor of each of its steps, else one of all.
    """

    sites: Wanted
    max_block: int
    by_step: bool = False

    def __call__(self, form: Form) -> Form:
        """Integrate them."""
        return _apply(form, self.sites, self.max_block, self.by_step)


def _apply(form: Form, sites: Wanted, max_block: int, by_step: bool) -> Form:
    flat = [c.address for c in choices_of(form) if is_flat(c)]
    if not flat:
        return _without_normals(form, sites, max_block, by_step)
    found = _without_normals(by_flat_normals(form, flat), sites, max_block, by_step)
    left = {c.address for c in choices_of(found)}.intersection(flat)
    if not left:
        return found
    return _without_normals(by_flat_normals(form, set(flat) - left), sites, max_block, by_step)


def _without_normals(form: Form, sites: Wanted, max_block: int, by_step: bool) -> Form:
    if any(site.plates for site in form.sites()):
        raise LawfulError(
            "integrate_normals: the form has the plates of an algorithm (particles or chains). Fix: integrate the "
            "program first, as in integrate_normals() >> spawn(n)."
        )
    left, strict = _groups(form, sites), sites is not None
    while left:
        groups = largest(form, left)
        if not groups and strict:
            Joint.of(form, left[0])  # says why not
        try:
            form = _integrated(form, groups, max_block, by_step)
        except _Refused as error:
            if strict:
                raise error.refusal from None
            left = [group for group in left if group != error.group]
            continue
        if not groups:
            return form
        left = [group for group in left if group not in groups]
    return form


def _groups(form: Form, sites: Wanted) -> list[Group]:
    """Say which sites are wanted, the last ones first."""
    if sites is None or callable(sites) or isinstance(sites, str):
        wanted = reversed(chosen_normals(form, sites, "integrate_normals"))
        return [(c,) for c in wanted if sites is not None or not c.conditional]
    groups = [chosen_normals(form, name if isinstance(name, list) else [name], "integrate_normals") for name in sites]
    order = {choice.address: i for i, choice in enumerate(choices_of(form))}
    return sorted(groups, key=lambda group: -max(order[choice.address] for choice in group))


class _Refused(Exception):
    def __init__(self, group: Group, refusal: UnsupportedProgramError) -> None:
        super().__init__(str(refusal))
        self.group, self.refusal = group, refusal


def _integrated(form: Form, groups: Sequence[Group], max_block: int, by_step: bool) -> Form:
    """Integrate groups out that are normal together, in as few steps as their lanes allow."""
    left, steps = list(groups), 0
    while left:
        first: Sequence[Group] = left
        try:
            joint = Joint.of(form, flat(left))
            first = next_group(joint, left, max_block, steps)
            joint = joint if len(first) == len(left) else Joint.of(joint.form, flat(first))
            noises = None if joint.chain is not None else joint.noises(max_block)
        except UnsupportedProgramError as refusal:
            raise _Refused(first[-1], refusal) from None
        if by_step and joint.chain is None and any(choice.loops for choice in joint.group):
            why = "they stand in a loop, and are not seen to be the steps of a chain"
            raise _Refused(
                first[-1],
                refused(joint.group, why, "let each step read its last state alone, and observe its data in it"),
            )
        form = _without(joint, noises, by_step, last=len(first) == len(left))
        left, steps = [group for group in left if group not in first], steps + 1
    return form


def _without(joint: Joint, noises: Noises | None, by_step: bool, last: bool) -> Form:
    """Put the integral in the place of the noises; there are no lanes where they are those of a chain."""
    form, part, density = joint.form, joint.part, joint.density
    block = Block()
    block.constants.extend(form.constants)
    block.nodes.extend(part.before)
    names = _together([c.name for site in part.noises for c in joint.group if noise_of(c) == site.address])
    integral: _Integral | ChainIntegral
    written: Written | None = None
    function: Callable[..., tuple[jax.Array, ...]]
    if noises is None:
        assert joint.chain is not None
        integral = ChainIntegral(joint.chain)
        function = ByStep(integral) if by_step else integral
    else:
        followed = noises.lanes and (not last or finite_sites(form))  # by what integrates or sums what is left
        function = integral = _Integral(density if followed else density.rolled(), noises)
        written = Written.of(density.forms[0], noises) if density.joint is None else None
        function = integral if written is None else written
    value, *conditional = block.det(jax.jit(function), *density.operands, label="log integral")
    if written is not None:  # lane by lane, so that elements of what is summed later are seen to be apart
        rest, *conditional = conditional
        value = block.det(lambda lanes, rest: jnp.sum(lanes) + rest, value, rest, label="sum")
    block.nodes.append(Factor((PREFIX, "log integral", names), value, source=joint.group[-1].source))
    if by_step and joint.chain is not None:
        each, *conditional = conditional
        own = Var((), each.dtype)
        step = Form((own,), (Factor((PREFIX, "log integral by step", names), own, source=joint.group[-1].source),), ())
        block.loop(step, joint.chain.loop.length, (), (), (each,), joint.chain.loop.reverse)
    drawn = integral.draw(block, conditional, names)
    moving = set(dependents(form, [site.out for site in part.noises]))
    outs = [v for v in form.outputs if v in moving]
    given = conditioned(part.form(outs), (), ()).form
    known = dict(zip(outs, block.splice(given, (*drawn, *part.operands)), strict=True))
    outputs = [known.get(v, v) for v in form.outputs]
    found = block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)
    return without_dead_code(found, keep_sites=True)


@dataclass(frozen=True, eq=False)
class _Integral:
    """The log integral, then log weights of the worlds, means and roots of precisions, from the operands."""

    density: NormalDensity
    noises: Noises

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        density, noises = self.density, self.noises

        def each(*own: jax.Array) -> jax.Array:
            return density.each(*own, *operands)

        def finite(mean: jax.Array) -> jax.Array:
            return jnp.where(jnp.isnan(mean), 0.0, mean)  # where the integral is infinite there is no mean

        # At the mean slopes are near 0, so that no large terms cancel.
        found = integrated(each, noises, density.worlds)
        if density.joint is None:
            point = finite(found.mean[0])
            found = seen_from(point, found, each, noises)
            return self._at(point, operands) + jnp.sum(found.log_mass), found.mean[0], found.root[0]
        zeros = [jnp.zeros(shape, jnp.result_type(float)) for shape in noises.shapes]
        likeliest = jnp.argmax(found.log_mass + density.tables(*zeros, *operands), axis=0)
        point = jax.lax.stop_gradient(finite(_taken(found.mean, likeliest)))
        found = seen_from(point, found, each, noises)
        weights = found.log_mass + density.tables(*noises.split(point), *operands)
        return self._at(point, operands) + jnp.sum(log_sum(weights)), found.mean, found.root, weights

    def _at(self, point: jax.Array, operands: Sequence[jax.Array]) -> jax.Array:
        return self.density.total(*self.noises.split(point), *operands) - 0.5 * jnp.sum(point**2)

    def draw(self, block: Block, conditional: Sequence[Var], names: str) -> tuple[Var, ...]:
        """Draw the noises back; where worlds were summed, the world of each lane first."""
        noises, (mean, root, *weights) = self.noises, conditional
        if weights:
            law = IndexLaw(self.density.worlds, noises.lanes)
            world = Var(law.shape, law.dtype)
            block.nodes.append(Site((PREFIX, "world", names), law, tuple(weights), world, droppable=True))
            mean, root = (block.det(_taken, value, world, label="of the world") for value in (mean, root))
        noise = normal_site(block, (PREFIX, "noise", names), (*noises.lanes, noises.block), droppable=True)
        drawn: tuple[Var, ...] = block.det(
            lambda *values: tuple(noises.split(placed(*values))), noise, mean, root, label="drawn back"
        )
        return drawn


def _together(names: Sequence[str]) -> str:
    """Write the names of sites as one."""
    return "~".join(names if len(names) <= 4 else (names[0], "...", names[-1]))


def _taken(values: jax.Array, world: jax.Array) -> jax.Array:
    index = world.reshape((1, *world.shape, *(1,) * (values.ndim - 1 - world.ndim)))
    return jnp.take_along_axis(values, jnp.broadcast_to(index, (1, *values.shape[1:])), axis=0)[0]
