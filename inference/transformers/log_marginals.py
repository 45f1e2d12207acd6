"""Log marginals: the log density of the data as a vector over a plate, each element's own latent sites summed out.

Law: the vector, what stands outside of the plate, and the prior of the sites that stay add up to the log density of the
marginal; each element is that of the program run on its data alone. So the elements are independent given the sites
that stay, which is proved from the operations of the marginal (`summing.elementwise`), however it was summed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.backends.pointwise import ask_at_choices
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Branch, Det, Factor, Form, Loop, Site, Var, subforms, walk
from lawful.form.arguments.arrays import split_arguments
from lawful.form.arguments.calls import positional
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.labels import labels_of
from lawful.form.liveness import without_dead_code
from lawful.form.operations.compensated_sum import over_steps
from lawful.inspection.lint.observed_data import checked_data, settled_names
from lawful.passes.condition import conditioned
from lawful.passes.record import record
from lawful.passes.thread_sites import Rule, Walk, threaded
from lawful.tracing.trace import trace

from ..representations.element_terms import LogMarginals, terms_of
from ..summing.axes import Mixed
from ..summing.chosen_sites import Sums
from ..summing.elementwise import reads, terms_apart
from .enumeration import enumeration

type PlateNames = str | Sequence[str] | None


def log_marginals(
    program: Callable[..., Any] | Form,
    *args: Any,
    plate: PlateNames = None,
    enumerate: Sums | None = None,
    **named: Any,
) -> LogMarginals:
    """Give the log marginals of the elements of a plate: log p(y_i | theta), with what is latent in each summed out.

    Args:
        program: a program or a Form.
        args: its arguments, data among them.
        plate: name of the plate whose elements are meant; several names for each combination of theirs, as the
            observations in the groups of two nested plates. Default: the one plate that observed sites stand in.
        enumerate: what is summed or integrated out, as for every method: names of finite sites, "all", or a
            transformer, as `integrate_normals(["effect"]) >> marginalise()`. All other latent sites stay, and are the
            parameters. Default: nothing.
        named: arguments by name.

    Returns: a function of the values of the sites that stay, by name. Under `jax.jit` its arguments may be traced; then
        the data are not looked at.

    Raises:
        LawfulError: no observed site stands in the plate, or there are several to choose from.
        UnsupportedProgramError: elements of the plate are not seen to be independent given the sites that stay.
        PathLimitError, ApproximateInExact: as `marginalise`.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
    ...     with lawful.plate("i", len(y)):
    ...         z = lawful.sample("z", dist.Bernoulli(0.3))
    ...         lawful.sample("y", dist.Normal(mu * z, 1.0), obs=y)
    >>> found = log_marginals(model, jnp.array([0.0, 2.0]), plate="i", enumerate=["z"])
    >>> [round(float(x), 4) for x in found({"mu": 2.0})]  # log(0.7 N(y; 0, 1) + 0.3 N(y; 2, 1))
    [-1.2192, -1.8485]
    """
    args = positional(program, args, named)
    form = trace(program, *args)
    inputs, _, _ = split_arguments(args)
    known = set(checked_data(form, inputs) or settled_names(form))
    found = elements_of(form, plate, enumerate)
    known |= {c.name for c in choices_of(form, ("observed",)) if c.conditional}  # whose arm may depend on it
    moved = [name for name in found.sites if name not in known]
    if moved:
        raise UnsupportedProgramError(
            f"log_marginals: what '{moved[0]}' observes depends on a latent site, so it is no datum. Fix: give data "
            "as arguments, and write what depends on choices into the law of the site.",
            site=moved[0],
        )
    coords = {name: label for name, label in labels_of(form, args).items() if name in found.plates}
    made = jax.jit(found.arrays)(inputs)  # arrays of a caller who is traced stay what they are
    arrays = tuple(x if isinstance(x, jax.core.Tracer) else np.asarray(x) for x in made)
    return LogMarginals(found.plates, found.shape, found.sites, coords, found.marginal, arrays, found.function)


@dataclass(frozen=True, eq=False)
class Elements:
    """What `log_marginals` makes of a form, whatever its arguments.

    Attributes:
        plates, shape, sites, marginal, function: those of `LogMarginals`.
        arrays: from the arguments to the inputs of `function`.
    """

    plates: tuple[str, ...]
    shape: tuple[int, ...]
    sites: tuple[str, ...]
    marginal: Form
    arrays: Callable[[Sequence[Any]], list[jax.Array]]
    function: Callable[..., tuple[jax.Array, jax.Array, jax.Array]]


def elements_of(form: Form, plate: PlateNames, sums: Sums | None, rows: Sequence[int | None] = ()) -> Elements:
    """Write the log marginals of the elements of a plate; see `log_marginals`.

    With `rows`, for each input the axis of its rows, or None, what is proved is that an element reads its own row of
    all these inputs, and that nothing else reads a row.
    """
    plates = _plates_of(form, plate)
    members = [c for c in choices_of(form, ("observed",)) if set(plates) <= {f.name for f in c.frames}]
    shared = _arrays_of(form, members)
    whole, lifted = _with_data(form, members, shared)
    marginal = whole if sums is None else enumeration(whole, sums).marginal
    sizes = tuple(next(f.size for f in members[0].frames if f.name == name) for name in plates)
    before = whole.inputs[: -len(lifted)]
    axes = [[*(_axis(shared.get(v), name) for v in before), *(_axis(c, name) for c in lifted)] for name in plates]
    if rows:
        axes = [[*rows, *own[len(rows) :]] for own in axes]
    data, constants = _data_of(form, members), [array for v, array in form.constants if v in shared]

    def arrays(inputs: Sequence[Any]) -> list[jax.Array]:
        return [*map(jnp.asarray, (*inputs, *constants)), *data(*inputs)]

    names = tuple(c.name for c in members)
    return Elements(plates, sizes, names, marginal, arrays, _function(marginal, axes, plates, bool(rows)))


def weighed(form: Form, found: Elements, times: float = 1.0) -> Form:
    """Write a program as one that weighs its data by their log marginals, each of which counts some times.

    >>> import numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     with lawful.plate("i", 2):
    ...         lawful.sample("y", dist.Normal(0.0, 1.0), obs=y)
    >>> form = lawful.trace(model, jnp.zeros(2))
    >>> twice = weighed(form, elements_of(form, "i", None), 2.0)
    >>> round(float(twice.log_density({}, jnp.zeros(2)) / form.log_density({}, jnp.zeros(2))), 6)
    2.0
    """
    stays = [c.address for c in choices_of(form)]
    stays += [n.address for n in walk(form) if isinstance(n, Factor) and n.role != "likelihood"]
    recorded = record(conditioned(form, (), stays).form, ("sample",))
    block, inputs = Block(), tuple(v.like() for v in form.inputs)
    parts = recorded.spliced(block, inputs)

    def weight(*values: Any) -> jax.Array:
        elements, outside, _ = found.function(found.arrays(values[: len(inputs)]), list(values[len(inputs) :]))
        return times * jnp.sum(elements) + outside

    block.factor(("~elements",), block.det(weight, *inputs, *parts.values, label="elements"))
    return block.form(inputs, parts.own, in_tree=form.in_tree, out_tree=form.out_tree)


def _plates_of(form: Form, plate: PlateNames) -> tuple[str, ...]:
    """Say which plates are meant."""
    stands = {c.name: [f.name for f in c.frames] for c in choices_of(form, ("observed",))}
    known = dict.fromkeys(name for names in stands.values() for name in names)
    there = "; ".join(f"'{site}' in {', '.join(names) or 'no plate'}" for site, names in stands.items()) or "none"
    if plate is None:
        if len(known) != 1:
            if not known and any(c.loops for c in choices_of(form, ("observed",))):
                raise LawfulError(
                    f"log_marginals: the observed sites stand in no plate, but in the steps of a loop: {there}. Fix: "
                    "take log_predictives, the log density of each step given those before."
                )
            raise LawfulError(
                f"log_marginals: expected plate=, the plate whose elements are meant; the observed sites are: {there}. "
                "Fix: name one, or several for each combination of their elements."
            )
        return tuple(known)
    wanted = (plate,) if isinstance(plate, str) else tuple(plate)
    if not wanted or not any(set(wanted) <= set(names) for names in stands.values()):
        raise LawfulError(
            f"log_marginals: no observed site stands in {' and '.join(map(repr, wanted)) or 'no plate'}; the observed "
            f"sites are: {there}. Fix: name a plate of theirs; of rows that an index assigns to groups make a plate in "
            "that of the groups, by inference.wide(index, ...); where the data of a summed program have become "
            "factors, give the program itself, and say what is summed by enumerate=."
        )
    return wanted


def _data_of(form: Form, members: Sequence[Choice]) -> Callable[..., list[jax.Array]]:
    """Write what gives the data of observed sites, with the steps of loops as first axes; no choice moves them."""
    recorded = record(form, ("observed",))
    known = dict(zip((c.address for c in recorded.choices), recorded.parts.values, strict=True))
    data = replace(recorded.form, outputs=tuple(known[c.address] for c in members), out_tree=None)
    opened = conditioned(data, [c.address for c in choices_of(form)], ())
    run = emit(without_dead_code(opened.form))
    zeros = [np.zeros(c.full_shape, c.dtype) for c in opened.choices]
    return lambda *inputs: run(jax.random.key(0), *inputs, *zeros)[0]


def _with_data(form: Form, members: Sequence[Choice], shared: Mapping[Var, Choice]) -> tuple[Form, tuple[Choice, ...]]:
    """Make inputs of the constants among the data, and then of what each of some sites observes."""
    constants = [(v, array) for v, array in form.constants if v not in shared]
    inputs = (*form.inputs, *(v for v, _ in form.constants if v in shared))
    opened = replace(form, inputs=inputs, constants=tuple(constants), in_tree=None)
    given = {s.address: s.observed.dtype for s in form.sites() if s.observed is not None}
    lifted = threaded(opened, _Lifted({c.address: given[c.address] for c in members}))
    return replace(lifted.form, outputs=lifted.form.outputs[: lifted.own]), lifted.choices


@dataclass(frozen=True)
class _Lifted(Rule):
    """The rule by which the data of observed sites come in as inputs of their own, of the types that they have."""

    flags: ClassVar[bool] = False
    types: Mapping[Address, Any]

    def places(self, form: Form) -> tuple[Choice, ...]:
        return choices_of(form, ("observed",), self.types)

    def inputs(self, place: Choice) -> list[Var]:
        return [Var(place.shape, self.types[place.address])]

    def node(self, walk: Walk, node: Det | Site | Factor) -> None:
        if isinstance(node, Site) and node.address in walk.given:
            node = replace(node, observed=walk.given[node.address][0])
        walk.block.nodes.append(node)


def _arrays_of(form: Form, members: Sequence[Choice]) -> dict[Var, Choice]:
    """Find the arguments and constants that sites observe as they are: what else reads them reads the elements."""
    by_address, found = {c.address: c for c in members}, dict[Var, Choice]()

    def visit(inner: Form, names: Mapping[Var, Var]) -> None:
        for node in inner.nodes:
            known = [names.get(v) for v in node.ins]
            if isinstance(node, Site) and node.observed is not None and node.address in by_address:
                array, choice = names.get(node.observed), by_address[node.address]
                if array is not None and array.shape == choice.full_shape:
                    found.setdefault(array, choice)
            if isinstance(node, Loop):
                own = node.split(known)
                known = [*own.constants, *(None for _ in own.carry), *own.xs]
            for part in subforms(node):
                given = known[1:] if isinstance(node, Branch) else known
                visit(part, {v: array for v, array in zip(part.inputs, given, strict=True) if array is not None})

    visit(form, {v: v for v in (*form.inputs, *(v for v, _ in form.constants))})
    return found


def _axis(choice: Choice | None, plate: str) -> int | None:
    """Say along which axis the elements of a plate stand in the data of a site, the steps of loops first."""
    if choice is None:
        return None
    event = len(choice.shape) - len(choice.units)
    return len(choice.full_shape) - event + next(f.dim for f in choice.frames if f.name == plate)


def _function(
    marginal: Form, axes: Sequence[Sequence[int | None]], plates: Sequence[str], prior_apart: bool = False
) -> Callable[..., tuple[jax.Array, jax.Array, jax.Array]]:
    """Write and compile the three parts."""
    asked, answers = ask_at_choices(marginal, terms_of)
    count, choices = len(marginal.inputs), choices_of(marginal)

    def terms(kind: str) -> Callable[..., list[jax.Array]]:
        def function(*operands: jax.Array) -> list[jax.Array]:
            found = zip(asked, answers(operands[:count], operands[count:]), strict=True)
            return [over_steps(x.reshape(-1)) if x.ndim else x for part, x in found if part.kind == kind]

        return function

    operands = [
        *(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in marginal.inputs),
        *(jax.ShapeDtypeStruct(c.full_shape, c.dtype) for c in choices),
    ]
    run, prior, rests = terms("likelihood"), terms("prior"), []
    for own, name in zip(axes, plates, strict=True):
        along = [*own, *(None for _ in choices)]
        try:
            if prior_apart and reads(prior, operands, along):
                raise Mixed("the law of a site that stays, or a factor, reads them")
            apart = emit(terms_apart(run, operands, along))
        except Mixed as error:
            raise UnsupportedProgramError(
                f"log_marginals: the elements of the plate '{name}' are not seen to be independent given "
                f"{', '.join(c.name for c in choices) or 'nothing'}: {error}. Fix: sum out what is latent in the plate "
                "alone, element by element (enumerate=), and leave what elements share in the program, as parameters; "
                "of rows that an index assigns to groups make a plate in that of the groups, by inference.wide.",
                plate=name,
            ) from error
        run, rest = _halves(apart)
        rests.append(rest)

    @jax.jit
    def function(inputs: Sequence[Any], values: Sequence[Any]) -> tuple[jax.Array, jax.Array, jax.Array]:
        xs, zero = [*map(jnp.asarray, inputs), *values], jnp.zeros((), jnp.result_type(float))
        outside = sum((jnp.sum(x) for rest in rests for x in rest(*xs)), zero)
        return jnp.transpose(sum(run(*xs))), outside, sum(prior(*xs), zero)

    return function


def _halves(apart: Callable[..., Any]) -> tuple[Callable[..., list[jax.Array]], Callable[..., list[jax.Array]]]:
    """Give terms and rests apart."""

    def terms(*xs: jax.Array) -> list[jax.Array]:
        found: list[jax.Array] = apart(jax.random.key(0), *xs)[0][::2]
        return found

    def rests(*xs: jax.Array) -> list[jax.Array]:
        found: list[jax.Array] = apart(jax.random.key(0), *xs)[0][1::2]
        return found

    return terms, rests
