"""Method plan: a method on a model, which waits for a key and the model's arguments.

Law: what runs is an engine, written once for each form of the program: chains, a population, or a way by another
program, as the marginal of summed sites, whose results are told of the program itself. Options of a run change no draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import jax

from lawful.form import Form

from ..checkpoints.checkpoints import Checkpoint
from ..contract import Contract
from ..results.result import Result
from ..running.driver import Chunk
from ..running.options import RunOptions
from .enumerated_plan import Summed, summed
from .plan import NOTHING, Builder, Prepared
from .refusals import refuse


@runtime_checkable
class Engine(Protocol):
    """An algorithm written and compiled for the form of a program."""

    @property
    def plan(self) -> Any:
        """The plan that the engine is of."""

    def result(self, prepared: Prepared, key: Any) -> Result:
        """Run."""

    def iterate(self, prepared: Prepared, key: Any, options: RunOptions) -> Iterator[Chunk]:
        """Run chunk by chunk."""

    def resumed(self, prepared: Prepared, found: Checkpoint, options: RunOptions) -> Result:
        """Go on from a checkpoint."""

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""

    def sampler(self, prepared: Prepared) -> Callable[..., dict[str, jax.Array]]:
        """Give draws by name as a function of a key and the inputs."""

    def memory(self, prepared: Prepared) -> int:
        """Estimate the bytes of a run at its peak."""

    def lines(self, prepared: Prepared) -> list[str]:
        """Say what will be done."""

    def algorithm(self, prepared: Prepared) -> Form:
        """Give the algorithm as a Form."""


class Plan:
    """A method on a model: call it with a key and the model's arguments.

    Attributes:
        model: a program.
        method: the settings of the algorithm.
        asked: those that the user gave, where this plan is a part of another one.
        run: how a run is divided, watched and kept.
        reasons: why this kernel, where the program decided.
    """

    def __init__(self, model: Any, method: Any, asked: Any = None, reasons: tuple[str, ...] = ()) -> None:
        """Keep the parts; nothing is traced before the first call."""
        self.model, self.method, self.reasons = model, method, reasons
        self.asked = method if asked is None else asked
        self.run = method.watched
        program = model if method.enumerate is not None else method.program(model)
        self.title = f"{method.name}({method.composition})"  # what cannot be composed is refused here
        self.prepare = Builder(program, self._build, getattr(method, "runs", 1), model)

    @property
    def contract(self) -> Contract:
        """What the method claims."""
        found: Contract = self.method.contract
        return found

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

    def memory(self, *args: Any, **named: Any) -> int:
        """Estimate the bytes that a run takes at its peak; nothing is run."""
        engine, prepared = self._ready(args, named=named)
        return engine.memory(prepared)

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
        return engine.marginal if isinstance(engine, Summed) else prepared.form

    def within(self, model: Any, method: Any, reasons: tuple[str, ...] = ()) -> Plan:
        """Give the plan on another program by which this one goes."""
        return Plan(model, method, self.asked, reasons)

    def starting(self, init: Any) -> Plan:
        """Give the plan of chains from another start; what is compiled is shared."""
        found = copy(self)
        found.method = replace(self.method, init=init)
        return found

    def longer(self, draws: int) -> Plan:
        """Give the plan with another number of draws."""
        found = Plan(self.model, replace(self.method, draws=draws), replace(self.asked, draws=draws), self.reasons)
        found.run = self.run
        return found

    def __repr__(self) -> str:
        """Show the method."""
        return self.title

    def _build(self, form: Form) -> Engine:
        if self.method.enumerate is not None:
            return summed(self, form, self.method.enumerate)
        engine: Engine = self.method.engine(form, self)
        return engine

    def _ready(self, args: tuple[Any, ...], key: Any = ..., named: Any = NOTHING) -> tuple[Engine, Prepared]:
        """Prepare a call; an engine that a copy of the plan shares is of the copy."""
        prepared = self.prepare(args, key, named)
        if prepared.built.plan is not self:
            prepared = replace(prepared, built=replace(prepared.built, plan=self))
        return prepared.built, prepared

    def _refuse(self, options: RunOptions | None) -> None:
        if options is not self.method.watched:
            refuse(type(self.method), {**vars(self.method), "run": options})
