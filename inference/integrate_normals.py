"""Integrate normals: a transformer that integrates normal sites out of a program, exactly.

Law: [[integrate_normals(p)]] = [[p]]: sites whose conditional given all else is normal become one factor, the log of
the integral over them, and are drawn back from that conditional where an output reads them. So any inference that runs
on the result is the inference on the marginal (a collapsed, or Rao-Blackwellised one), and its results still hold the
sites.

The sites are taken in their non-centred form, as functions of standard normals: their covariances may be singular, and
finite sites that their law reads may be summed before or after. That the density is a quadratic form of them, and that
lanes, as the persons of a plate, are apart, is proved from its operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lawful.addresses import Address
from lawful.analysis import dependents, without_dead_code
from lawful.block import Block
from lawful.conditioned import conditioned
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Site, Var
from lawful.record import Choice, choices_of

from .by_normals import NORMAL, by_normals, normal_site, without_names
from .check.contracts import Contract
from .noncentred import chosen_normals, named
from .normal_part import NormalDensity, Part, part_of, refused
from .quadratics import Noises, integrated, is_quadratic, lanes_of, moved, placed, seen_from
from .summing_axes import Mixed
from .summing_laws import IndexLaw, log_sum
from .summing_tables import PREFIX
from .transformer import Transformer

type Groups = None | str | Sequence[str | Address | list[str | Address]] | Callable[[Choice], bool]

MAX_BLOCK = 512  # numbers that are integrated together: work grows as their cube


def integrate_normals(sites: Groups = None, *, max_block: int = MAX_BLOCK) -> Transformer:
    """Integrate normal sites out of a program.

    Several sites are integrated one after the other, the last one first; a list of names within the list is integrated
    jointly.

    Args:
        sites: names of the sites, or a rule that takes a choice and says whether it is integrated; default: all normal
            ones whose conditional is seen to be normal.
        max_block: largest number of dependent numbers that are integrated together.

    Returns: a transformer of programs and Forms that keeps the measure on the outputs; also for
        `mcmc(enumerate=...)`, `smc(enumerate=...)` and `importance(enumerate=...)`, whose results then hold draws of
        the sites. It composes with `enumerate_sites`, before it or after it; before it, write the sites by `noncentred`
        first.

    Raises:
        LawfulError: a name is no latent site.
        UnsupportedProgramError: a named site is not seen to have a normal conditional, or stands in a loop or an arm;
            a site that stays reads it.

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
    return Transformer(f"integrate_normals({shown})", lambda form: _apply(form, sites, max_block), contract)


def _apply(form: Form, sites: Groups, max_block: int) -> Form:
    if any(site.plates for site in form.sites()):
        raise LawfulError(
            "integrate_normals: the form has the plates of an algorithm (particles or chains). Fix: integrate the "
            "program first, as in integrate_normals() >> spawn(n)."
        )
    for group in _groups(form, sites):
        try:
            form = _without(form, group, max_block)
        except UnsupportedProgramError:
            if sites is not None:
                raise
    return form


def _groups(form: Form, sites: Groups) -> list[tuple[Choice, ...]]:
    """Say which sites are integrated together, in the order of the work."""
    if sites is None or callable(sites) or isinstance(sites, str):
        return [(choice,) for choice in reversed(chosen_normals(form, sites, "integrate_normals"))]
    groups = [chosen_normals(form, name if isinstance(name, list) else [name], "integrate_normals") for name in sites]
    order = {choice.address: i for i, choice in enumerate(choices_of(form))}
    return sorted(groups, key=lambda group: -max(order[choice.address] for choice in group))


def _without(form: Form, group: tuple[Choice, ...], max_block: int) -> Form:
    for choice in group:
        if choice.loops or choice.conditional:
            raise refused(group, f"'{choice.name}' stands in a loop or in an arm of a choice", "leave it out")
    form = by_normals(form, [c.address for c in group if c.address[-1] != NORMAL])
    wanted = {c.address if c.address[-1] == NORMAL else (*c.address, NORMAL) for c in group}
    form = without_names(form, wanted)
    part = part_of(form, wanted)
    density = NormalDensity.of(part, group)
    noises = _lanes(density, part, group, max_block)
    block = Block()
    block.constants.extend(form.constants)
    block.nodes.extend(part.before)
    names = "~".join(choice.name for choice in group)
    value, *conditional = block.det(_Integral(density, noises), *density.operands, label="log integral")
    block.factor((PREFIX, "log integral", names), value)
    drawn = _drawn(block, conditional, noises, density.worlds, names)
    moving = set(dependents(form, [site.out for site in part.noises]))
    outs = [v for v in form.outputs if v in moving]
    given = conditioned(part.form(outs), (), ()).form
    known = dict(zip(outs, block.splice(given, (*drawn, *part.operands)), strict=True))
    outputs = [known.get(v, v) for v in form.outputs]
    found = block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)
    return without_dead_code(found, keep_sites=True)


def _lanes(density: NormalDensity, part: Part, group: tuple[Choice, ...], max_block: int) -> Noises:
    """Prove that the density is quadratic, and find the lanes."""
    shapes = tuple(site.out.shape for site in part.noises)
    operands = [jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in density.operands]
    parts = [density.total] if density.joint is None else [density.total, density.tables]
    if not all(is_quadratic(function, shapes, operands) for function in parts):
        raise refused(
            group, "its log density given all else is not seen to be a quadratic form of it",
            "leave it to another kernel, or sum the finite sites after it rather than before",
        )  # fmt: skip
    lanes, why = lanes_of(density.total, shapes, operands)
    if density.lanes is not None:
        lanes, count = density.lanes, len(density.lanes)
        try:
            apart = moved(density.tables, shapes, operands, count) == tuple(range(1, count + 1))
            apart = apart and lanes_of(density.total, shapes, operands)[0][:count] == lanes
        except Mixed as error:
            apart, why = False, str(error)
        if not apart:
            raise refused(group, f"elements of it meet in a sum over finite sites ({why})", "integrate before you sum")
    noises = Noises(shapes, lanes)
    if noises.block > max_block:
        raise refused(
            group, f"{noises.block} numbers depend on each other, more than {max_block}: {why}",
            f"max_block={noises.block} integrates them all the same; the work grows as the cube",
        )  # fmt: skip
    return noises


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


def _drawn(block: Block, conditional: Sequence[Var], noises: Noises, worlds: int, names: str) -> tuple[Var, ...]:
    """Draw the noises back; where worlds were summed, the world of each lane first."""
    mean, root, *weights = conditional
    if weights:
        law = IndexLaw(worlds, noises.lanes)
        world = Var(law.shape, law.dtype)
        block.nodes.append(Site((PREFIX, "world", names), law, tuple(weights), world, droppable=True))
        mean, root = (block.det(_taken, value, world, label="of the world") for value in (mean, root))
    noise = normal_site(block, (PREFIX, "noise", names), (*noises.lanes, noises.block), droppable=True)
    drawn: tuple[Var, ...] = block.det(
        lambda *values: tuple(noises.split(placed(*values))), noise, mean, root, label="drawn back"
    )
    return drawn


def _taken(values: jax.Array, world: jax.Array) -> jax.Array:
    index = world.reshape((1, *world.shape, *(1,) * (values.ndim - 1 - world.ndim)))
    return jnp.take_along_axis(values, jnp.broadcast_to(index, (1, *values.shape[1:])), axis=0)[0]
