"""Lowering: from a traced JAX program to a Form. The one module that touches JAX's extension interface.

Law: the Form denotes the measure of the program. Sites are JAX primitives while a program is traced, so scan, cond,
jit, checkpoint and grad around them work; a plain vmap over a site gives independent draws, because the batching rule
of a site fires whether or not its parameters are batched.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, Primitive, get_opaque_trace_state
from jax.interpreters import ad, batching

from ..addresses import Address, names_of, show_address
from ..backends.while_loop import ForwardLoop, seed_law
from ..distributions.batched import LanesLaw
from ..distributions.law import split
from ..distributions.parameters import harmless
from ..errors import LawfulError, UnsupportedProgramError
from ..form import Branch, Det, Factor, Form, Loop, Node, Site, Var
from ..messages import (
    DecisionMessage,
    DeterministicMessage,
    FactorMessage,
    Handler,
    Message,
    PlateFrame,
    SampleMessage,
    Source,
    first_line,
    surroundings,
)
from .shortcuts import shortcuts

site_p = Primitive("lawful_site")
factor_p = Primitive("lawful_factor")
label_p = Primitive("lawful_deterministic")
entry_p = Primitive("lawful_entry")  # y[3], of the outermost trace alone: the walk writes it as JAX does
OURS = (site_p, factor_p, label_p)
CALLS = ("jit", "pjit", "closed_call", "core_call", "remat2", "remat", "checkpoint", "custom_jvp_call",
         "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin")  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class Mark:
    """What a primitive carries beside its operands.

    Marks of one law are equal: JAX remembers the type of an operation by its parameters, and so finds it for all sites.
    """

    address: Address
    source: Source
    law: Any = None
    observed: bool = False
    frames: tuple[PlateFrame, ...] = ()
    role: str = "likelihood"
    droppable: bool = False
    event_dims: tuple[str, ...] = ()
    loop_names: tuple[str | None, ...] = ()
    arms: int = 0  # in which the statement stands

    def __hash__(self) -> int:
        """By the law."""
        return hash(self.law)

    def __eq__(self, other: object) -> bool:
        """By the law."""
        return isinstance(other, Mark) and (self.law is other.law or self.law == other.law)


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Which element of an array is read; equal to all others, so that JAX finds the type of the result for all."""

    index: int

    def __hash__(self) -> int:
        """One for all."""
        return 0

    def __eq__(self, other: object) -> bool:
        """Equal to every place."""
        return isinstance(other, Place)


class Stage(Handler):
    """The handler that records a program: each message becomes an equation of the traced JAX program.

    An observed site gives back a value of its own, which is the observation wherever the site is observed, so that it
    can be told from the argument that was observed: where the site is drawn instead, what reads the argument stays.

    Args:
        known: whether an observation whose numbers are known is given back as these, for a program that uses them as
            Python values.
    """

    staged = True

    def __init__(self, known: bool = False) -> None:
        """Start before the first statement."""
        self.known = known
        self.last: tuple[Address, Source] | None = None
        self.unseen = []
        self.drawn_values: list[tuple[Any, Mark]] = []  # weak references: a trace that is over must be free to go

    def returns(self, observation: Any) -> bool:
        """Tell whether a site gives back a value of its own in the place of an observation."""
        return not self.known or isinstance(observation, jax.core.Tracer)

    def process(self, message: Message) -> None:
        """Bind the primitive of a message."""
        if isinstance(message, DecisionMessage):
            return
        names, place = names_of(message.address), surroundings()
        arms, loops = place.arms, place.loop_names
        self.last = names, message.source
        if isinstance(message, SampleMessage):
            if message.value is None and message.mask is not None:
                message.distribution = harmless(message.distribution, message.mask)
            law, leaves = split(message.distribution)
            # A number becomes a literal as it is; to make it an array first takes longer.
            parameters = [x if type(x) is float or isinstance(x, jax.Array) else jnp.asarray(x) for x in leaves]
            observed = message.value is not None
            mark = Mark(
                names, message.source, law, observed, message.plates, droppable=message.droppable,
                event_dims=message.event_dims, loop_names=loops, arms=arms,
            )  # fmt: skip
            operands = (*parameters, message.value) if observed else parameters
            lanes: tuple[tuple[bool, ...], ...] = ((),) * len(operands)
            value = site_p.bind(*operands, mark=mark, lanes=(), laned=lanes)
            if not observed:
                message.value = value
                self.drawn_values.append((weakref.ref(value), mark))
            elif self.returns(message.value):
                message.value = value.astype(message.value.dtype)
        elif isinstance(message, FactorMessage):
            mark = Mark(names, message.source, role=message.role, loop_names=loops, arms=arms)
            factor_p.bind(message.log_weight, mark=mark)
        elif isinstance(message, DeterministicMessage):
            leaves, tree = jax.tree.flatten(message.value)
            bound = []
            for i, leaf in enumerate(leaves):
                own = (*names, *_part(i, leaves))
                mark = Mark(own, message.source, frames=message.plates, loop_names=loops, arms=arms)
                bound.append(label_p.bind(jnp.asarray(leaf), mark=mark))
            message.value = jax.tree.unflatten(tree, bound)


def _part(index: int, leaves: Sequence[Any]) -> tuple[str, ...]:
    return () if len(leaves) == 1 else (str(index),)


@site_p.def_abstract_eval
def _site_type(*operands: Any, mark: Mark, lanes: tuple[int, ...], laned: Any) -> Any:
    return jax.core.ShapedArray((*lanes, *mark.law.shape), mark.law.dtype)


@factor_p.def_abstract_eval
def _factor_type(term: Any, *, mark: Mark) -> Any:
    return jax.core.ShapedArray((), term.dtype)


@label_p.def_abstract_eval
def _label_type(value: Any, *, mark: Mark) -> Any:
    return jax.core.ShapedArray(value.shape, value.dtype)


@entry_p.def_abstract_eval
def _entry_type(array: Any, *, place: Place) -> Any:
    return jax.core.ShapedArray(array.shape[1:], array.dtype, weak_type=array.weak_type)


def _outside(*operands: Any, mark: Mark, **params: Any) -> Any:
    raise UnsupportedProgramError(
        f"site '{show_address(mark.address)}' ({mark.source}) ran outside a traced program: call lawful.trace(program, "
        "*args), an inference, or an eager handler such as handlers.seed.",
        site=mark.address,
    )


for _primitive in OURS:
    _primitive.def_impl(_outside)


def _batch_site(axis: Any, operands: Any, dims: Any, *, mark: Mark, lanes: tuple[int, ...], laned: Any) -> Any:
    moved = [x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(operands, dims, strict=True)]
    flags = tuple((d is not None, *old) for d, old in zip(dims, laned, strict=True))
    return site_p.bind(*moved, mark=mark, lanes=(axis.size, *lanes), laned=flags), 0


def _batch_factor(axis: Any, operands: Any, dims: Any, *, mark: Mark) -> Any:
    (term,), (dim,) = operands, dims
    total = term * axis.size if dim is None else jnp.sum(term, axis=dim)
    return factor_p.bind(total, mark=mark), None


def _batch_label(axis: Any, operands: Any, dims: Any, *, mark: Mark) -> Any:
    return label_p.bind(*operands, mark=mark), dims[0]


def _constant_in_derivatives(primitive: Any) -> Callable[..., Any]:
    """A drawn value is a constant of any derivative taken inside a program."""

    def rule(primals: Any, tangents: Any, **params: Any) -> Any:
        out = primitive.bind(*primals, **params)
        return out, _no_tangent(out)

    return rule


def _no_tangent(out: Any) -> Any:
    if jnp.issubdtype(out.dtype, jnp.inexact):
        return jnp.zeros_like(out)
    return np.zeros(out.shape, jax.dtypes.float0)


def _label_derivative(primals: Any, tangents: Any, **params: Any) -> Any:
    return label_p.bind(*primals, **params), tangents[0]


batching.fancy_primitive_batchers[site_p] = _batch_site
batching.fancy_primitive_batchers[factor_p] = _batch_factor
batching.fancy_primitive_batchers[label_p] = _batch_label
ad.primitive_jvps[site_p] = _constant_in_derivatives(site_p)
ad.primitive_jvps[factor_p] = _constant_in_derivatives(factor_p)
ad.primitive_jvps[label_p] = _label_derivative


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Equation:
    """One JAX operation as a function of its non-literal operands."""

    primitive: Any
    params: dict[str, Any]
    literals: tuple[Any, ...]
    multiple: bool

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """Apply the operation; always a tuple."""
        rest = iter(values)
        operands = [next(rest) if literal is None else literal[0] for literal in self.literals]
        bind = getattr(self.primitive, "get_bind_params", None)
        if bind is None:
            out = self.primitive.bind(*operands, **self.params)
        else:
            out = self._call(bind, operands)
        return tuple(out) if self.multiple else (out,)

    @property
    def calls(self) -> bool:
        """Whether it calls a traced function of its own."""
        return bool(_jaxprs(self.params))

    @property
    def draws(self) -> bool:
        """Whether it makes random numbers."""
        return _draws(self.primitive.name, self.params)

    @property
    def acts(self) -> bool:
        """Whether it does more than give its results, as a callback may."""
        return "callback" in self.primitive.name or any(jaxpr.effects for jaxpr in _jaxprs(self.params))

    def _call(self, bind: Callable[..., Any], operands: list[Any]) -> Any:
        bound = bind(self.params)
        if isinstance(bound, dict):
            return self.primitive.bind(*operands, **bound)
        subfunctions, params = bound
        return self.primitive.bind(*subfunctions, *operands, **params)


def current_trace() -> Any:
    """Return a token of the JAX transformation that is running; equal tokens mean the same one."""
    return get_opaque_trace_state()


with jax.core.eval_context():  # this module may be imported inside a transformation
    _NONE = current_trace()


def in_a_trace() -> bool:
    """Tell whether any JAX transformation is running.

    >>> in_a_trace(), jax.jit(lambda: in_a_trace())().item()
    (False, True)
    """
    return bool(current_trace() != _NONE)


def holds_statements(function: Callable[..., Any], *args: Any) -> bool:
    """Tell whether a function announces sites, factors or named values when it is traced on the given arguments."""
    return _holds_sites({"jaxpr": jax.make_jaxpr(function)(*args)})


def lower(program: Callable[..., Any], *args: Any) -> tuple[Form, Any]:
    """Trace a program on the shapes of its arguments and return its Form and the structure of its output."""
    trees: list[Any] = []

    def flat(*leaves: Any) -> list[Any]:
        out = program(*jax.tree.unflatten(in_tree, leaves))
        flat_out, tree = jax.tree.flatten(out)
        trees.append(tree)
        return [_output(leaf) for leaf in flat_out]

    def recorded(*leaves: Any) -> list[Any]:
        outermost = current_trace()
        with shortcuts(lambda: current_trace() == outermost, lambda y, i: entry_p.bind(y, place=Place(i))):
            return flat(*leaves)

    leaves, in_tree = jax.tree.flatten(args)
    closed = jax.make_jaxpr(recorded)(*leaves)
    form = _Lowering().form(closed, in_tree=in_tree, out_tree=trees[-1])
    return form, trees[-1]


def unfold(function: Callable[..., Any], *args: Any, loops: bool = False) -> Form:
    """Write a pure function of arrays as a Form of single operations: calls inside it are opened.

    Args:
        function: a pure function.
        args: arrays, or their shapes and types.
        loops: whether scans and choices become loops and branches of the Form, instead of one operation each.

    >>> form = unfold(jax.jit(lambda x: jax.nn.softplus(2 * x)), 1.0)
    >>> form.nodes[0].label
    'mul'
    """
    return _Lowering(opened=True, loops=loops).form(jax.make_jaxpr(lambda *xs: jax.tree.leaves(function(*xs)))(*args))


def _output(leaf: Any) -> Any:
    if callable(leaf) and not hasattr(leaf, "dtype"):
        name = getattr(leaf, "__name__", repr(leaf))
        raise UnsupportedProgramError(
            f"the program returns the function '{name}', which is no value of a traced program. Fix: call it inside "
            "the program that receives it, or run the program eagerly, by handlers.seed."
        )
    return jnp.asarray(leaf)


class _Lowering:
    """The walk over a traced program; it keeps no state between programs.

    With `opened`, calls are opened also where they hold no statement of the language; with `loops`, scans and choices.
    """

    def __init__(self, opened: bool = False, loops: bool = False) -> None:
        self.opened = (*(CALLS if opened else ()), *(("scan", "cond") if loops else ()))
        self.arms = 0  # around what is read now

    def form(self, closed: Any, *, in_tree: Any = None, out_tree: Any = None) -> Form:
        jaxpr, consts = getattr(closed, "jaxpr", closed), tuple(getattr(closed, "consts", ()))
        values: dict[Any, Var] = {}
        constants: list[tuple[Var, Any]] = []
        for variable, array in zip(jaxpr.constvars, consts, strict=True):
            values[variable] = _new(variable)
            constants.append((values[variable], array))
        inputs = tuple(values.setdefault(v, _new(v)) for v in jaxpr.invars)
        nodes: list[Node] = []
        frame = _Frame(values, constants, nodes)
        self.equations(jaxpr.eqns, frame)
        outputs = tuple(frame.read(v) for v in jaxpr.outvars)
        return Form(inputs, tuple(nodes), outputs, tuple(constants), in_tree, out_tree)

    def equations(self, equations: Sequence[Any], frame: _Frame) -> None:
        for equation in equations:
            self.equation(equation, frame)

    def equation(self, eqn: Any, frame: _Frame) -> None:
        name = eqn.primitive.name
        if eqn.primitive in OURS and eqn.params["mark"].arms > self.arms:
            mark = eqn.params["mark"]
            raise UnsupportedProgramError(
                f"'{show_address(mark.address)}' ({mark.source}) stands in an arm that jax.vmap would choose lane by "
                "lane, so it would count in every lane. Fix: put the lanes into a plate, and choose among them by "
                "jnp.where and lawful.mask; of a padded scan, put the plate into the body, with a mask (steps, lanes).",
                site=mark.address, construct="vmap",
            )  # fmt: skip
        if eqn.primitive is site_p:
            self.site(eqn, frame)
        elif eqn.primitive is factor_p:
            mark = eqn.params["mark"]
            told = {"source": mark.source, "role": mark.role, "loop_names": mark.loop_names}
            frame.nodes.append(Factor(mark.address, frame.read(eqn.invars[0]), **told))
        elif eqn.primitive is label_p:
            (source,), out = eqn.invars, frame.new(eqn.outvars[0])
            mark = eqn.params["mark"]
            frame.nodes.append(
                Det(
                    identity,
                    (frame.read(source),),
                    (out,),
                    mark.address[-1],
                    address=mark.address,
                    source=mark.source,
                    loop_names=mark.loop_names,
                    frames=mark.frames,
                )
            )
        elif eqn.primitive is entry_p:
            self.entry(eqn, frame)
        elif not _holds_sites(eqn.params) and name not in self.opened:
            self.det(eqn, frame)
        elif name == "scan":
            self.loop(eqn, frame)
        elif name == "cond":
            self.branch(eqn, frame)
        elif name in CALLS:
            self.inline(eqn, frame)
        elif name == "while" and not _weighs(eqn.params):
            self.forward(eqn, frame)
        else:
            mark = _first_mark(eqn.params)
            raise UnsupportedProgramError(
                f"site '{show_address(mark.address)}' ({mark.source}) stands inside jax '{name}', which has no density "
                "there. Fix: use lawful.scan, lawful.cond or lawful.bounded_loop, or run the program eagerly.",
                site=mark.address, construct=name,
            )  # fmt: skip

    def det(self, eqn: Any, frame: _Frame) -> None:
        literals = tuple([(v.val, getattr(v.aval, "dtype")) if isinstance(v, Literal) else None for v in eqn.invars])
        ins = tuple([frame.read(v) for v in eqn.invars if not isinstance(v, Literal)])
        outs = tuple([frame.new(v) for v in eqn.outvars])
        label = eqn.params.get("name", eqn.primitive.name)
        function = Equation(eqn.primitive, dict(eqn.params), literals, eqn.primitive.multiple_results)
        place = _line_of(eqn) if function.draws else Source("<algorithm>", 0)
        frame.nodes.append(Det(function, ins, outs, str(label), source=place))

    def entry(self, eqn: Any, frame: _Frame) -> None:
        """Write an element of an array as JAX does: a slice of one row, without its axis."""
        array, index = frame.read(eqn.invars[0]), eqn.params["place"].index
        rest = array.shape[1:]
        row, out = Var((1, *rest), array.dtype), frame.new(eqn.outvars[0])
        start, limit = (index, *(0,) * len(rest)), (index + 1, *rest)
        bounds = {"limit_indices": limit, "start_indices": start, "strides": None}
        frame.nodes.append(Det(Equation(jax.lax.slice_p, bounds, (None,), False), (array,), (row,), "slice"))
        squeezed = Equation(jax.lax.squeeze_p, {"dimensions": (0,)}, (None,), False)
        frame.nodes.append(Det(squeezed, (row,), (out,), "squeeze"))

    def site(self, eqn: Any, frame: _Frame) -> None:
        mark, lanes, laned = (eqn.params[k] for k in ("mark", "lanes", "laned"))
        operands = tuple([frame.read(v) for v in eqn.invars])
        parameters = operands[:-1] if mark.observed else operands
        law = LanesLaw(mark.law, lanes, laned[: len(parameters)]) if lanes else mark.law
        observed = operands[-1] if mark.observed else None
        if observed is not None and observed.shape != law.shape:
            raise LawfulError(
                f"site '{show_address(mark.address)}' ({mark.source}) is observed under jax.vmap with one value "
                "for all lanes: use plate(name, size) and observe an array.",
                site=mark.address,
            )
        out = frame.new(eqn.outvars[0])
        droppable = mark.droppable and observed is None
        frame.nodes.append(
            Site(
                mark.address,
                law,
                parameters,
                out,
                observed,
                frames=mark.frames,
                source=mark.source,
                droppable=droppable,
                event_dims=mark.event_dims,
                loop_names=mark.loop_names,
            )
        )

    def loop(self, eqn: Any, frame: _Frame) -> None:
        consts, carry = scan_counts(eqn.params, eqn.invars)
        body = self.form(eqn.params["jaxpr"])
        operands = [frame.read(v) for v in eqn.invars]
        outs = [frame.new(v) for v in eqn.outvars]
        frame.nodes.append(
            Loop(
                body,
                int(eqn.params["length"]),
                tuple(operands[:consts]),
                tuple(operands[consts : consts + carry]),
                tuple(operands[consts + carry :]),
                tuple(outs[:carry]),
                tuple(outs[carry:]),
                bool(eqn.params["reverse"]),
            )
        )

    def branch(self, eqn: Any, frame: _Frame) -> None:
        self.arms += 1
        forms = tuple(self.form(arm) for arm in eqn.params["branches"])
        self.arms -= 1
        index, *operands = (frame.read(v) for v in eqn.invars)
        outs = tuple(frame.new(v) for v in eqn.outvars)
        frame.nodes.append(Branch(index, forms, tuple(operands), outs))

    def forward(self, eqn: Any, frame: _Frame) -> None:
        """Draw a loop without a bound as a whole, from one seed."""
        params, mark = eqn.params, _first_mark(eqn.params)
        seed = Var((2,), jnp.dtype(jnp.uint32))
        law = seed_law(mark.address, mark.source)
        frame.nodes.append(Site((*mark.address, "while"), law, (), seed, source=mark.source))
        counts = int(params["cond_nconsts"]), int(params["body_nconsts"])
        function = ForwardLoop(self.form(params["cond_jaxpr"]), self.form(params["body_jaxpr"]), counts)
        operands = tuple(frame.read(v) for v in eqn.invars)
        outs = tuple(frame.new(v) for v in eqn.outvars)
        frame.nodes.append(Det(function, (seed, *operands), outs, "while"))

    def inline(self, eqn: Any, frame: _Frame) -> None:
        closed = next(eqn.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in eqn.params)
        jaxpr, consts = getattr(closed, "jaxpr", closed), tuple(getattr(closed, "consts", ()))
        values: dict[Any, Var] = {}
        for variable, array in zip(jaxpr.constvars, consts, strict=True):
            values[variable] = frame.constant(variable, array)
        values |= {inner: frame.read(outer) for inner, outer in zip(jaxpr.invars, eqn.invars, strict=True)}
        inside = _Frame(values, frame.constants, frame.nodes)
        self.equations(jaxpr.eqns, inside)
        for outer, inner in zip(eqn.outvars, jaxpr.outvars, strict=True):
            frame.values[outer] = inside.read(inner)


@dataclass(eq=False)
class _Frame:
    values: dict[Any, Var]
    constants: list[tuple[Var, Any]]
    nodes: list[Node]
    numbers: dict[Any, Var] = field(default_factory=dict)  # a number that many operations read is one value

    def read(self, variable: Any) -> Var:
        if isinstance(variable, Literal):
            array = literal_array(variable)
            number = array.dtype, array.shape, array.tobytes()
            if number not in self.numbers:
                self.numbers[number] = self.constant(variable, array)
            return self.numbers[number]
        return self.values[variable]

    def new(self, variable: Any) -> Var:
        self.values[variable] = _new(variable)
        return self.values[variable]

    def constant(self, variable: Any, array: Any) -> Var:
        value = _new(variable)
        self.constants.append((value, array))
        return value


def literal_array(literal: Any) -> np.ndarray:
    """Read a number that the program wrote as an array of the type it was traced with."""
    return np.asarray(literal.val, literal.aval.dtype)


def _new(variable: Any) -> Var:
    return Var(tuple(variable.aval.shape), variable.aval.dtype)


def identity(value: Any) -> tuple[Any]:
    """Return a value as it is: the operation of a named value."""
    return (value,)


def scan_counts(params: dict[str, Any], operands: Sequence[Any]) -> tuple[int, int]:
    """Number of constants and carries among the operands of a scan; the parameters changed in jax 0.11."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].update(tuple(operands)).unpack()
    return len(list(consts)), len(list(carry))


def _jaxprs(params: dict[str, Any]) -> list[Any]:
    found = []
    for value in params.values():
        if value is None or isinstance(value, int | str):
            continue
        for item in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                found.append(inner)
    return found


def traced_parts(value: Any) -> tuple[Any, ...] | None:
    """Take a traced function apart: constants, types, operations and how they are wired; None for anything else."""
    jaxpr = getattr(value, "jaxpr", value)
    if not hasattr(jaxpr, "eqns"):
        return None
    numbers: dict[Any, int] = {}

    def wired(variables: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(
            ("literal", literal_array(v)) if isinstance(v, Literal) else numbers.setdefault(v, len(numbers))
            for v in variables
        )

    heads = wired(jaxpr.constvars), wired(jaxpr.invars)
    shapes = tuple((v.aval.shape, v.aval.dtype) for v in jaxpr.invars)
    steps = tuple((eqn.primitive, eqn.params, wired(eqn.invars), wired(eqn.outvars)) for eqn in jaxpr.eqns)
    return tuple(getattr(value, "consts", ())), heads, shapes, steps, wired(jaxpr.outvars)


def count_equations(function: Callable[..., Any], *args: Any) -> int:
    """Count the operations of a function on arguments of given shapes, with those of the functions that it calls."""
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: Any) -> int:
    return sum(1 + sum(map(_count, _jaxprs(eqn.params))) for eqn in jaxpr.eqns)


def _first_mark(params: dict[str, Any]) -> Any:
    for jaxpr in _jaxprs(params):
        for eqn in jaxpr.eqns:
            if eqn.primitive in OURS:
                return eqn.params["mark"]
            mark = _first_mark(eqn.params)
            if mark is not None:
                return mark
    return None


def _draws(name: str, params: dict[str, Any]) -> bool:
    """Tell whether an operation makes random numbers, or one inside it."""
    return name == "random_bits" or any(
        _draws(eqn.primitive.name, eqn.params) for jaxpr in _jaxprs(params) for eqn in jaxpr.eqns
    )


def _line_of(eqn: Any) -> Source:
    """Find the line of the user's program that an operation comes from."""
    traceback = getattr(eqn.source_info, "traceback", None)
    frames = [] if traceback is None else traceback.frames
    return first_line((frame.file_name, frame.line_num) for frame in frames)


def _holds_sites(params: dict[str, Any]) -> bool:
    return _first_mark(params) is not None


def _weighs(params: dict[str, Any]) -> bool:
    """Tell whether factors, observations or named values stand inside."""
    for jaxpr in _jaxprs(params):
        for eqn in jaxpr.eqns:
            ours = eqn.primitive in OURS
            if (ours and (eqn.primitive is not site_p or eqn.params["mark"].observed)) or _weighs(eqn.params):
                return True
    return False
