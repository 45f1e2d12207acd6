"""Plan: a method on a model, which waits for the model's arguments, and for a key where it draws.

Law: what runs is an engine, written once for each form of the program: chains, a population, or a way by another
program, as the marginal of summed sites, whose results are told of the program itself. A second call with equal shapes
runs the compiled program of the first; nothing is traced again. Options of a run change no draw.
"""

from __future__ import annotations

import functools
import importlib.metadata
import operator
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lawful.addresses import show_address
from lawful.backends.compile_options import in_a_program
from lawful.errors import LawfulError, UnsupportedProgramError, kind_of
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.arguments.calls import positional
from lawful.form.arguments.constant_data import refuse_other_data
from lawful.form.arguments.random_keys import one_key
from lawful.inspection.lint.observed_data import checked_data
from lawful.inspection.lint.scales import checked_scales
from lawful.inspection.lint.unread_inputs import gaps, unread_arguments
from lawful.tracing.free_variables import Watch, users_in
from lawful.tracing.number_arguments import with_inputs
from lawful.tracing.primitives import in_a_trace
from lawful.tracing.trace import source_of, trace

from ..checkpoints.checkpoint_folder import Checkpoint
from ..contract import Contract
from ..devices.mesh import placed_on
from ..findings.findings import Finding
from ..representations.parameters import Around
from ..results.result import Result
from ..running.chunks import Chunk
from ..running.options import RunOptions
from .refusals import refuse

LIBRARIES = ("lawful", "jax", "numpyro", "numpy")  # whose versions a result tells
NOTHING: Mapping[str, Any] = MappingProxyType({})
# What jit, vmap and grad can take in place of a call that gives a result.
SAMPLER = "draw = plan.sampler(*arguments), which jit and vmap take: draw(key, *arguments) gives draws by name"


class Subject(NamedTuple):
    """The program that results are about, with its Form and its data."""

    model: Any
    form: Form
    observed: dict[str, np.ndarray]


@dataclass
class Prepared:
    """A model traced on its arguments, with what an inference compiled for it.

    Attributes:
        form: of what is run.
        inputs: the arrays among the arguments.
        args: the arguments, with arrays for numbers that are inputs.
        built: what was compiled.
        subject: the user's program; it is what is run, but where an inference wrote a program around it.
        seed: of the run, as `seed_of` tells it; None where there is none yet, or it is not known.
        elsewhere: what was other where the run began, as versions, if it goes on from a checkpoint.
    """

    form: Form
    inputs: list[Any]
    args: tuple[Any, ...]
    built: Any
    subject: Subject
    seed: Any = None
    elsewhere: tuple[str, ...] = ()

    @property
    def observed(self) -> dict[str, np.ndarray]:
        """The data of the program that results are about."""
        return self.subject.observed

    @property
    def unread(self) -> tuple[Finding, ...]:
        """Tell of data that nothing reads; where a site has their name and shape the result is not ok."""
        return tuple(
            Finding("UNOBSERVED" if one.site else "UNREAD_ARGUMENT", f"{one.found} Fix: {one.remedy}",
                    (show_address(one.site),) if one.site else ())
            for one in unread_arguments(self.subject.form, self.subject.model, self.args)
        )  # fmt: skip

    def gaps(self, sites: Sequence[str]) -> str:
        """Say, for an error about some sites, where arguments that they read hold NaN."""
        told = gaps(self.subject.form, self.subject.model, self.args, self.inputs, sites)
        return f" {told}" if told else ""


@dataclass
class Builder:
    """Traces a model, checks its data, and builds once per Form and what the user's functions in the settings read.

    Attributes:
        model: what is run: a program or its Form; what is no program, as a factor graph, is never called.
        build: makes of its Form what a plan needs.
        about: the program that results are about; None for the model, or for that inside `Around`.
        remedy: what `jit`, `vmap` and `grad` take in place of a call.
    """

    model: Any
    build: Callable[[Form], Any]
    about: Any = None
    remedy: str = SAMPLER
    _built: dict[Any, Any] = field(default_factory=dict)
    _users: tuple[Any, ...] = ()
    _watch: Watch | None = None
    _last: tuple[Form, list[Any], Subject] | None = None

    def __call__(self, args: tuple[Any, ...], key: Any = ..., named: Mapping[str, Any] = NOTHING) -> Prepared:
        """Prepare a call, with the user's key where one belongs to it, and with arguments by name."""
        args = positional(self.subject, args, named)
        if key is not ...:
            refuse_traced((key, args), self.remedy)
        if self._watch is None:
            self._users = users_in((self.build, self.model), self, *map(source_of, (self.model, self.subject)))
            self._watch = Watch(self._users)
        if not self._users:  # these get the inputs one by one, and count on numbers not to be among them
            args = with_inputs(self.model, args)
        seed = None if key is ... else seed_of(key)
        form = trace(self.model, *args)
        inputs, _, _ = split_arguments(args)
        if len(inputs) != len(form.inputs):
            raise LawfulError(f"the traced form takes {len(form.inputs)} arrays, but was called with {len(inputs)}.")
        refuse_other_data(form, inputs)
        subject = self._checked(form, inputs, args)
        return Prepared(form, inputs, args, self._made(form, self._watch), subject, seed)

    def _made(self, form: Form, watch: Watch) -> Any:
        """Build for a Form, or find it."""
        key = form, watch.key
        if key not in self._built:
            with jax.core.eval_context():  # the caller may be traced; what is kept for later calls never is
                built = self.build(form)
            key = form, watch.ran()
            self._built[key] = built
        return self._built[key]

    @property
    def subject(self) -> Any:
        """The program that results are about."""
        if isinstance(self.model, Around):
            return self.model.model
        return self.model if self.about is None else self.about

    def _checked(self, form: Form, inputs: list[Any], args: tuple[Any, ...]) -> Subject:
        """Check the data; arrays of JAX do not change, so the same ones need no second look."""
        if self._last is None or self._last[0] is not form or not all(map(operator.is_, self._last[1], inputs)):
            checked_scales(form, inputs)
            observed = checked_data(form, inputs)
            model = self.subject
            if model is self.model:
                found = Subject(self.model, form, observed)
            else:
                inside = trace(model, *args)
                found = Subject(model, inside, checked_data(inside, inputs))
            self._last = form, inputs, found
        return self._last[2]


def refuse_traced(given: Any, remedy: str) -> None:
    """Refuse a call from inside jit, vmap or grad that makes a result: its checks and its text need numbers."""
    traced = [x for x in jax.tree.leaves(given) if isinstance(x, jax.core.Tracer)]
    if not traced and not (in_a_trace() and in_a_program()):  # the first is asked in a microsecond
        return
    which = f" (traced: {', '.join(map(kind_of, traced))})" if traced else ""
    raise UnsupportedProgramError(
        f"an inference was called inside jit, vmap or grad{which}: a result holds numbers, checks and text, which "
        f"these cannot follow. Fix: {remedy}; or call it outside, in a loop of Python."
    )


def told_of(
    settings: Mapping[str, Any], seed: Any = None, mesh: Mesh | None = None, seconds: float = 0.0
) -> dict[str, Any]:
    """Tell how a result was made: settings, seed where it is known, versions and devices; and seconds, in all."""
    return {
        **settings,
        **({} if seed is None else {"seed": seed}),
        "seconds": seconds, "compile_seconds": 0.0, "run_seconds": seconds,
        **_versions(),
        **({"device": jax.default_backend()} if mesh is None else placed_on(mesh)),
        "x64": bool(jax.config.read("jax_enable_x64")),
    }  # fmt: skip


@functools.cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}


def seed_of(key: Any) -> Any:
    """Tell a user's key in types that JSON has: an integer as it is, a typed key by its data and its kind.

    None for a kind without a name, which no text can make again.

    >>> seed_of(7), seed_of(jax.random.key(7))
    (7, {'key': [0, 7], 'impl': 'threefry2x32'})
    """
    if isinstance(key, (int, np.integer)):
        return int(key)
    typed = one_key(key)
    kind = jax.random.key_impl(typed)
    return {"key": np.asarray(jax.random.key_data(typed)).tolist(), "impl": kind} if isinstance(kind, str) else None


def key_of(seed: Any) -> jax.Array:
    """Make the key again that `seed_of` told.

    >>> seed_of(key_of({"key": [0, 7], "impl": "threefry2x32"}))
    {'key': [0, 7], 'impl': 'threefry2x32'}
    """
    if not isinstance(seed, Mapping):
        return one_key(seed)
    return jax.random.wrap_key_data(jnp.asarray(seed["key"], jnp.uint32), impl=seed["impl"])


@dataclass(eq=False, repr=False)
class Planned:
    """A method on a model, whose engine is written once for each form of the program; nothing is traced before a call.

    Attributes:
        model: a program.
        method: the settings of the algorithm.
        program: what is run, of which the engine is written.
        title: the method and what it is composed of.
    """

    model: Any
    method: Any
    program: Any
    title: str
    remedy: ClassVar[str] = SAMPLER

    def __post_init__(self) -> None:
        """Be ready to trace the program, and to write the engine once for each Form."""
        self.prepare = Builder(self.program, self._build, self.model, self.remedy)

    @property
    def contract(self) -> Contract:
        """What the method claims."""
        found: Contract = self.method.contract
        return found

    def memory(self, *args: Any, **named: Any) -> int:
        """Estimate the bytes that a run takes at its peak; nothing is run."""
        engine, prepared = self._ready(args, named=named)
        return int(engine.memory(prepared))

    def __repr__(self) -> str:
        return self.title

    def _build(self, form: Form) -> Any:
        return self.method.written(form, self)

    def _ready(self, args: tuple[Any, ...], key: Any = ..., named: Any = NOTHING) -> tuple[Any, Prepared]:
        """Prepare a call; an engine that a copy of the plan shares is of the copy."""
        prepared = self.prepare(args, key, named)
        if prepared.built.plan is not self:
            prepared = replace(prepared, built=replace(prepared.built, plan=self))
        return prepared.built, prepared


@dataclass(eq=False, repr=False)
class Plan(Planned):
    """A method that draws, on a model: call it with a key and the model's arguments.

    Attributes:
        run: how a run is divided, watched and kept.
        asked: the settings that the user gave, where this plan is a part of another one.
        reasons: why this kernel, where the program decided.
    """

    run: RunOptions | None
    asked: Any
    reasons: tuple[str, ...]

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Run.

        Raises:
            ObservationError: the data do not fit their sites.
            NoFiniteStartError: chains found no start of finite density, naming the sites.
            NonFiniteError: a weight of a particle is NaN (by default) or +inf.
            UnsupportedProgramError: the method cannot move a choice of the model.
            MemoryLimitError: draws, or particles and their histories, take more memory than is free.
        """
        self._refuse(self.run)
        engine, prepared = self._ready(args, key, named)
        return engine.result(prepared, key)

    def iterate(self, key: Any, *args: Any, **named: Any) -> Iterator[Chunk]:
        """Run chunk by chunk, as the options of the run say, and give each chunk; nothing is kept.

        Of chains, chunks of "warmup" come first, then those of "sampling"; together they are the draws of a call, bit
        for bit. A population has no draws before its end: its chunks have the numbers of their stages, and `phase`
        names the run, which is one chunk where the program has no loop.
        """
        options = self.run or RunOptions()
        self._refuse(options)
        engine, prepared = self._ready(args, key, named)
        return engine.iterate(prepared, key, options)

    def resumed(self, found: Checkpoint, options: RunOptions, args: tuple[Any, ...]) -> Result:
        """Go on from a checkpoint; see `inference.resume`."""
        self._refuse(options)
        engine, prepared = self._ready(args)
        return engine.resumed(prepared, found, options)

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""
        found: dict[str, Any] = prepared.built.header(prepared)
        return found

    def sampler(self, *args: Any, **named: Any) -> Callable[..., dict[str, jax.Array]]:
        """Return the plan as a function that JAX can map, compile or combine with others.

        Returns: takes a key and the arrays among the arguments; gives draws by name, (chains * draws, ...) or (runs *
            particles, ...), those of a chain or run side by side. Draws of a chain without a start are NaN.
        """
        engine, prepared = self._ready(args, named=named)
        return engine.sampler(prepared)

    def plan(self, *args: Any, **named: Any) -> str:
        """Say which site is moved or drawn how, for the given arguments, and why where the program decided."""
        engine, prepared = self._ready(args, named=named)
        return "\n".join(engine.lines(prepared))

    def form(self, *args: Any, **named: Any) -> Form:
        """Return the algorithm itself as a Form; where sites are summed, that on the marginal."""
        engine, prepared = self._ready(args, named=named)
        return engine.algorithm(prepared)

    def marginal(self, *args: Any, **named: Any) -> Form:
        """Return the program of the sites that stay; where none is summed, the program."""
        engine, prepared = self._ready(args, named=named)
        return getattr(engine, "marginal", prepared.form)

    def within(self, model: Any, method: Any, reasons: tuple[str, ...] = ()) -> Plan:
        """Give the plan on another program by which this one goes."""
        found: Plan = method.planned(model, self.asked, reasons)
        return found

    def starting(self, init: Any) -> Plan:
        """Give the plan of chains from another start; what is compiled is shared."""
        found = copy(self)
        found.method = replace(self.method, init=init)
        return found

    def longer(self, draws: int) -> Plan:
        """Give the plan with another number of draws."""
        asked = replace(self.asked, draws=draws)
        return replace(replace(self.method, draws=draws).planned(self.model, asked, self.reasons), run=self.run)

    def _refuse(self, options: RunOptions | None) -> None:
        if options is not self.method.watched:
            refuse(type(self.method), {**vars(self.method), "run": options})
