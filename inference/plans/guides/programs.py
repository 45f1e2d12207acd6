"""Programs: a program of the user's with parameters, as a law of the coordinates of the choices of another program.

Law: a draw of the law is a draw of the program, in coordinates of the other one, and its density is that of the program
there, Jacobian included. So it is normalised where the two programs have the same choices on the same supports, which
is looked up before anything is drawn; where bounds are computed, a draw at which they differ has no density, so that
its weight is infinite and no answer is made of it. Draws are functions of the parameters and of noise that has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from lawful.backends.unchain_loops import UNCHAINED
from lawful.backends.xla import emit
from lawful.distributions.bijections import shown_supports
from lawful.distributions.constraints import of_elements
from lawful.errors import LawfulError, NoFiniteStartError, NonFiniteError, UnsupportedProgramError
from lawful.form import Det, Form, Site, Var
from lawful.form.arguments.arrays import arguments_of
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.passes.fill_absent import unguarded
from lawful.passes.record import record
from lawful.passes.thread_sites import Answer, Answers, interpose, score
from lawful.passes.unconstrain import refuse_conditional
from lawful.tracing.trace import trace

from ...kernels.base.frame import Frame
from ...transformers.propose.support_check import box_of, missed_support, shown_support
from .families import Family

MEMORY = 0.99  # of Adam: gradients where a fit begins tell little of those at its end, and are forgotten in 100 steps


class ProgramLaw(dist.Distribution):
    """The law that a program with parameters gives to the coordinates of another program's choices.

    Attributes:
        parameters: of the program.
        inputs: of both programs, on which the laws of sites and supports may depend.
        way: from one to the other.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    pytree_data_fields = ("parameters", "inputs")
    pytree_aux_fields = ("way",)

    def __init__(self, parameters: Any, inputs: Sequence[Any], way: Way) -> None:
        self.parameters, self.inputs, self.way = parameters, tuple(inputs), way
        super().__init__((), (way.frame.size,), validate_args=False)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Run the program, and give the coordinates of what it draws."""
        draw = partial(self.way.draw, self.parameters, self.inputs)
        if not sample_shape:
            return draw(key)
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(prod(sample_shape)))
        return jax.vmap(draw)(keys).reshape(*sample_shape, -1)

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Score the values at coordinates by the program, Jacobian included."""
        scores = jax.vmap(partial(self.way.log_density, self.parameters, self.inputs))
        return scores(value.reshape(-1, self.way.frame.size)).reshape(value.shape[:-1])


class Runs(NamedTuple):
    """What is compiled of a way: draws, their density, and the maps to coordinates and back."""

    draw: Any
    weigh: Any
    free: Any
    place: Any


class Moving(NamedTuple):
    """Choices whose bounds only the run can compare: where they stand, and what gives the bounds of all choices."""

    places: tuple[tuple[int, int], ...]
    wanted: Any
    reached: Any


@dataclass(frozen=True, eq=False)
class Way:
    """From what a program draws to the coordinates of another one, and back.

    Attributes:
        frame: the other program in coordinates.
        order: for each choice of the other program its place in the program, and for each of the program its place
            there.
        runs: what is compiled.
        moving: choices whose bounds are computed; None where there are none.
    """

    frame: Frame
    order: tuple[tuple[int, ...], tuple[int, ...]]
    runs: Runs
    moving: Moving | None

    def draw(self, parameters: Any, inputs: Sequence[Any], key: jax.Array) -> jax.Array:
        """Draw coordinates."""
        drawn, _ = self.runs.draw(key, *jax.tree.leaves(parameters), *inputs)
        values = [drawn[place] for place in self.order[0]]
        return self.frame.vector(*self.runs.free(jax.random.key(0), *inputs, *values)[0])

    def log_density(self, parameters: Any, inputs: Sequence[Any], vector: jax.Array) -> jax.Array:
        """Score coordinates."""
        key, leaves = jax.random.key(0), jax.tree.leaves(parameters)
        (jacobian, *values), _ = self.runs.place(key, *inputs, *self.frame.parts(vector))
        own = [values[place] for place in self.order[1]]
        log_density = self.runs.weigh(key, *leaves, *inputs, *own)[0][0] + jacobian
        if self.moving is None:
            return log_density
        wanted, _ = self.moving.wanted(key, *inputs, *values)
        reached, _ = self.moving.reached(key, *leaves, *inputs, *own)
        differ = [
            _differ(wanted[2 * at + side], reached[2 * there + side])
            for at, there in self.moving.places
            for side in range(2)
        ]
        return jnp.where(jnp.any(jnp.stack(differ)), -jnp.inf, log_density)


def _way(guide: Form, frame: Frame, moving: Sequence[str]) -> Way:
    """Write the way from a program to the coordinates of another one."""
    names, own = ([choice.name for choice in each] for each in (choices_of(guide), frame.choices))
    with jax.ensure_compile_time_eval():  # the caller may be traced; the constants of a Form never are
        recorded, scores = record(guide, ("sample",)), score(guide)
    draw = without_dead_code(replace(recorded.form, outputs=recorded.parts.values, out_tree=None))
    weigh = without_dead_code(replace(scores.form, outputs=scores.parts.sums[:1]))
    runs = Runs(*(emit(form, UNCHAINED) for form in (draw, weigh, frame.found.free, frame.found.jacobian)))
    order = tuple(map(names.index, own)), tuple(map(own.index, names))
    if not moving:
        return Way(frame, order, runs, None)
    places = tuple((own.index(name), names.index(name)) for name in moving)
    return Way(frame, order, runs, Moving(places, *(emit(_bounds(form), UNCHAINED) for form in (frame.program, guide))))


def _bounds(form: Form) -> Form:
    """Write the lower and the upper bound of each choice: inputs are the program's, then values of the choices."""
    with jax.ensure_compile_time_eval():
        found = interpose(form, _Bounds())
    return without_dead_code(replace(found.form, outputs=found.parts.values))


@dataclass(frozen=True)
class _Bounds(Answers):
    """The rule that gives out the bounds of each choice at given values; zeros of a support without."""

    def inputs(self, place: Choice) -> list[Var]:
        return [Var(place.shape, place.dtype)]

    def outputs(self, place: Choice) -> list[Var]:
        return [Var(place.shape, place.dtype), Var(place.shape, place.dtype)]

    def answer(self, block: Block, site: Site, given: Sequence[Var]) -> Answer:
        out = site.out.like(), site.out.like()
        block.nodes.append(Det(partial(_bounds_of, site.law), site.parameters, out, f"bounds of {site.address[-1]}"))
        return Answer(given[0], outputs=out)


def _bounds_of(law: Any, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
    box = None if law.innermost is not law else box_of(of_elements(law.bound(parameters).support))
    low, high = (jnp.broadcast_to(jnp.asarray(bound, law.dtype), law.shape) for bound in box or (0.0, 0.0))
    return low, high


def _differ(one: jax.Array, other: jax.Array) -> jax.Array:
    """Tell whether bounds differ by more than they are rounded."""
    slack = 100 * jnp.finfo(one.dtype).eps * jnp.maximum(jnp.abs(one), jnp.abs(other))
    return jnp.any((one != other) & ~(jnp.abs(one - other) <= slack))


@dataclass(frozen=True, eq=False)
class ProgramFamily:
    """A program with parameters as a family of guides.

    Attributes:
        name: of the program.
        parameters: where a fit begins.
        way: from the program to the coordinates of the one that it is fitted to.
        asker: who asks, for errors.
    """

    name: str
    parameters: Any
    way: Way
    asker: str

    def at(self, inputs: Sequence[Any]) -> Family:
        """Give the family at inputs of the program that it is fitted to."""
        law = partial(ProgramLaw, inputs=inputs, way=self.way)
        return Family(self.name, law, lambda normal: self.parameters, memory=MEMORY)

    @property
    def moving(self) -> str:
        """The choices whose bounds only the run can compare, as people read them."""
        places = () if self.way.moving is None else self.way.moving.places
        return ", ".join(f"'{self.way.frame.choices[at].name}'" for at, _ in places)

    def no_fit(self, fit: Any) -> NoFiniteStartError | None:
        """Tell of a fit that never had a finite objective and gradient, so that it stands where it began; else None."""
        pairs = zip(jax.tree.leaves(fit.parameters), jax.tree.leaves(self.parameters), strict=True)
        moved = any(not np.array_equal(own, start) for own, start in pairs)
        spoiled = int(fit.stalled) > 0 or not np.isfinite(fit.total)  # windows without a finite mean, or the one so far
        if moved or np.isfinite(fit.best) or not spoiled:
            return None
        bounds = f" Bounds of {self.moving} are computed, and have to be those of the model." if self.moving else ""
        return NoFiniteStartError(
            f"{self.asker}: family={self.name} has no finite objective at the parameters at which its fit begins, or "
            f"no finite gradient.{bounds} Fix: begin elsewhere; and write what is positive as jnp.exp(...) or "
            "jax.nn.softplus(...) of a parameter.",
            sites=(),
        )

    def no_weights(self, error: NonFiniteError) -> NonFiniteError:
        """Tell of weights that are not finite by the choices whose bounds are computed, where there are any."""
        if not self.moving:
            return error
        return NonFiniteError(
            f"{self.asker}: {str(error).partition(' Fix:')[0]} family={self.name} draws {self.moving} within bounds "
            "that are computed, and where these differ from those of the model no weight makes up for what is never "
            "drawn. Fix: compute them in the program as in the model, from the same draws and arguments.",
            **error.fields,
        )


def program_family(
    program: Callable[..., Any], parameters: Any, form: Form, frame: Frame, asker: str, pathwise: bool
) -> ProgramFamily:
    """Make a family of a program with parameters.

    Args:
        program: takes the parameters, then the arguments of the other program.
        parameters: where the fit begins.
        form: of the other program, with its arguments.
        frame: the same in coordinates.
        asker: who asks, for errors.
        pathwise: whether gradients go through the draws.

    Raises: LawfulError for a program of other choices, or on other supports; UnsupportedProgramError for a choice whose
        draw has no gradient.
    """
    name = name_of(program)
    own = as_parameters(parameters, asker)
    guide = unguarded(_traced(program, name, own, form, asker))
    _refuse_other(guide, frame, name, asker, pathwise)
    way = _way(guide, frame, _compared(guide, frame, name, asker))
    return ProgramFamily(name, own, way, asker)


def name_of(program: Any) -> str:
    """Name a program."""
    return str(getattr(program, "__name__", type(program).__name__))


def as_parameters(parameters: Any, asker: str) -> Any:
    """Read parameters as arrays of real numbers.

    >>> as_parameters({"loc": 1}, "guide")["loc"].dtype.kind
    'f'
    """
    leaves = jax.tree_util.tree_flatten_with_path(parameters)[0]
    strange = [(path, leaf) for path, leaf in leaves if np.asarray(leaf).dtype.kind not in "iuf"]
    if strange or not leaves:
        found = "no number"
        if strange:
            place = f" at {jax.tree_util.keystr(strange[0][0])}" if strange[0][0] else ""
            found = f"{strange[0][1]!r}{place}"
        raise LawfulError(
            f"{asker}: parameters: expected real numbers, in arrays, tuples or dictionaries, got {found}. Fix: give "
            "the numbers at which the fit begins, as parameters={'loc': 0.0, 'log_scale': 0.0}; they move freely, so "
            "that a scale is jnp.exp(log_scale) in the program."
        )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), parameters)


def _traced(program: Any, name: str, parameters: Any, form: Form, asker: str) -> Form:
    """Trace the program on its parameters and the arguments of another one."""
    inputs = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in form.inputs]
    named = arguments_of(form)
    args = [each.made(inputs) for each in named.values()] if form.in_tree is not None else inputs
    try:
        return trace(program, parameters, *args)
    except LawfulError as error:
        if not hasattr(error, "unknown"):
            raise
        called, told = ", ".join(["parameters", *named]), str(error).partition(" Fix:")[0]
        raise LawfulError(
            f"{asker}: family={name} is called as {name}({called}), with the arguments of the model: {told} Fix: let "
            f"it take these, def {name}({called})."
        ) from error


def _refuse_other(guide: Form, frame: Frame, name: str, asker: str, pathwise: bool) -> None:
    """Refuse a program of other choices, or one that weighs."""
    refuse_conditional(guide)
    own = {choice.name: choice for choice in choices_of(guide)}
    wanted = {choice.name: choice for choice in frame.choices}
    for choice in frame.choices:
        if choice.name not in own:
            raise LawfulError(
                f"{asker}: family={name} has no site '{choice.name}', which the model draws ({choice.source}). Fix: "
                f"draw it there, lawful.sample('{choice.name}', ...).",
                site=choice.address,
            )
    for weighs in choices_of(guide, ("observed", "factor")):
        raise LawfulError(
            f"{asker}: family={name} {'observes' if weighs.kind == 'observed' else 'weighs'} '{weighs.name}' "
            f"({weighs.source}), and a guide draws alone. Fix: leave it out; the arguments of the model may be read.",
            site=weighs.address,
        )
    for choice in own.values():
        other, place = wanted.get(choice.name), f"site '{choice.name}' ({choice.source})"
        if other is None:
            raise LawfulError(
                f"{asker}: family={name} draws {place}, which the model does not draw, or which is summed. Fix: leave "
                "it out; a part of the noise of a site belongs to the law of the site.",
                site=choice.address,
            )
        if choice.full_shape != other.full_shape:
            raise LawfulError(
                f"{asker}: family={name} draws {place} of shape {choice.full_shape}, and the model has it "
                f"({other.source}) of shape {other.full_shape}. Fix: write the plates of the model, or give the law "
                "that shape.",
                site=choice.address,
            )
        _refuse_without_gradient(choice, place, name, asker, pathwise)


def _refuse_without_gradient(choice: Choice, place: str, name: str, asker: str, pathwise: bool) -> None:
    """Refuse a choice through whose draw no gradient goes."""
    numbered = choice.law.innermost.numbered
    if not jnp.issubdtype(choice.dtype, jnp.floating) or choice.law.is_point_mass or numbered is None:
        what = "is a point mass" if choice.law.is_point_mass else "is discrete"
        raise UnsupportedProgramError(
            f"{asker}: family={name} draws {place}, a {choice.law.label}, which {what} and has no density to weigh by. "
            "Fix: draw it from a continuous law on the support that the model has.",
            site=choice.address,
        )
    if pathwise and not numbered.has_rsample:
        raise UnsupportedProgramError(
            f"{asker}: family={name} draws {place} from a {choice.law.label}, whose draws have no gradient along their "
            "parameters. Fix: draw it from a law that is a function of noise, as a normal or a transformed one; or "
            "take objective='forward', whose gradient needs none.",
            site=choice.address,
        )


def _compared(guide: Form, frame: Frame, name: str, asker: str) -> tuple[str, ...]:
    """Compare supports, and give the names of the choices whose bounds only the run can compare.

    Raises: LawfulError where a support differs.
    """
    wanted, reached = shown_supports(frame.program), shown_supports(guide)
    laws, moving = {choice.name: choice.law for choice in choices_of(guide)}, []
    for choice in frame.choices:
        law, own, other = laws[choice.name], *(of_elements(each[choice.address]) for each in (wanted, reached))
        missed, wide = missed_support(own, other)[0], missed_support(other, own)[0]
        computed = any(np.any(np.isnan(bound)) for support in (own, other) for bound in box_of(support) or ())
        if missed is None and wide is None and computed and law.innermost is law:
            moving.append(choice.name)
        elif missed is not None or wide is not None or computed:
            told = "that cannot reach all its values" if missed is not None else "that draws values beyond it"
            raise LawfulError(
                f"{asker}: family={name} draws site '{choice.name}' ({choice.source}) from a {law.label} {told}: its "
                f"support is {shown_support(other)}, and that of the model {shown_support(own)}. Fix: draw it from a "
                "law on the support of the model, as a LogNormal on positive numbers.",
                site=choice.address,
            )
    return tuple(moving)
