"""Chunks: the loop on the host that takes a course chunk by chunk, and looks up between two chunks.

Law: everything hangs on the boundary of a chunk and nothing on its inside, so what is watched or kept changes no draw.
Whatever ends a run early, its finished chunks are a valid result.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import jax
import numpy as np

from lawful.errors import MemoryLimitError

from ..findings.findings import Finding
from ..findings.move_statistics import LOST
from .course import Course, Kept, Phase, Stream
from .options import Lengths, RunOptions
from .progress import Progress
from .saving import Saver


@dataclass(frozen=True, eq=False)
class Portion:
    """A chunk as it was taken: steps `start` to `stop` of a phase, with their rows and what they tell."""

    number: int
    phase: Phase
    start: int
    stop: int
    rows: list[np.ndarray]
    told: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some steps of a run, as `plan.iterate` gives them.

    Attributes:
        phase: "warmup" or "sampling" of chains, "run 1 of 4" and the like of populations.
        start: first step of the phase.
        stop: the step after the last one.
        draws: values by name, (chain, draw, ...); empty for populations, which have draws when a run is finished.
        info: numbers by name, (chain, draw) of chains, (stage,) of populations; of eager ones the log evidence alone.
        seconds: that the chunk took, without compiling.
    """

    phase: str
    start: int
    stop: int
    draws: Mapping[str, np.ndarray]
    info: Mapping[str, Any]
    seconds: float


class Interrupts:
    """A block in which the first Ctrl-C is noted, and the second one raises KeyboardInterrupt at once.

    What happened on SIGINT before happens again afterwards, however the block ends. Outside the main thread, which
    alone gets signals, nothing changes.

    >>> with Interrupts() as interrupts:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interrupts.asked
    True
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None
        self._installed = False

    def __enter__(self) -> Interrupts:
        """Take over SIGINT, where Python handles it."""
        handled = signal.getsignal(signal.SIGINT) not in (None, signal.SIG_IGN)
        if handled and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(self, *_: Any) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._before)
            self._installed = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@dataclass(eq=False)
class Drive:
    """A run on its way.

    Attributes:
        course: what is run.
        options: how.
        named: gives the numbers of some rows by name, as `acceptance_rate`: `(phase, rows) -> numbers`.
        drawn: gives the draws of a phase so far by name, for diagnostics: `(drive, phase) -> draws`.
        saver: keeps checkpoints, or None.
        stream: writes the rows into a store, or None.
        keeping: whether all rows are kept in memory.
        done: steps of each phase that are done.
        chunks: how many this process took.
        beside: seconds of the host for them, beside compiling and the compiled steps.
        stopped_by: the callback that ended the run early, as text.
        interrupted: whether the run was ended from outside.
        failed: what a callback raised, or what there was no memory for.
    """

    course: Course
    options: RunOptions
    named: Callable[[int, Sequence[np.ndarray]], Mapping[str, Any]]
    drawn: Callable[[Drive, int], Mapping[str, Any]] | None = None
    saver: Saver | None = None
    stream: Stream | None = None
    keeping: bool = True
    state: Any = None
    done: list[int] = field(default_factory=list)
    seconds: float = 0.0
    chunks: int = 0
    beside: float = 0.0
    stopped_by: str | None = None
    interrupted: bool = False
    failed: BaseException | None = None
    found: tuple[Finding, ...] = ()
    _beta: tuple[int, float | None] = (0, None)
    _counts: dict[str, int] = field(default_factory=lambda: {"divergences": 0, "n_nonfinite": 0})

    def __post_init__(self) -> None:
        self.phases = self.course.phases
        self.done = self.done or [0] * len(self.phases)
        self.kept = Kept(self.phases)
        self._compiled = self.course.program.compile_seconds

    @property
    def complete(self) -> bool:
        """Whether all steps are done."""
        return all(done == phase.total for done, phase in zip(self.done, self.phases, strict=True))

    @property
    def compile_seconds(self) -> float:
        """Seconds that this run spent on compiling."""
        return self.course.program.compile_seconds - self._compiled

    def portions(self) -> Iterator[Portion]:
        """Take one chunk after the other."""
        if self.state is None:
            self.state = self.course.begin()
        program = self.course.program
        for number, phase in enumerate(self.phases):
            if self.done[number] == phase.total:
                continue
            lengths = Lengths(self.options.chunk, self.course.longest(number), program.length)
            while self.done[number] < phase.total:
                count = min(lengths.next(), phase.total - self.done[number])
                portion = self._take(number, count)
                if count == lengths.next():
                    length = lengths.took(portion.seconds)
                    program.length = program.length if lengths.fixed else length
                yield portion

    def run(self) -> None:
        """Run to the end, or until a callback or a person stops it; what is finished is kept."""
        portions = self.portions()
        start, busy, compiled = (
            time.perf_counter(),
            self.course.program.busy_seconds,
            self.course.program.compile_seconds,
        )
        try:
            with Interrupts() as interrupts:
                while self.failed is None and self.stopped_by is None:
                    if interrupts.asked and self.state is not None and not self.complete:
                        self.interrupted = True
                        break
                    portion = self._next(portions)
                    if portion is None:
                        break
                    self.tell(portion)
                    self._save(final=False)
                self.interrupted = self.interrupted or self.failed is not None
                if self.state is not None:
                    self._save(final=True)
        finally:
            self.close()
            steps = self.course.program.busy_seconds - busy + self.course.program.compile_seconds - compiled
            self.beside += time.perf_counter() - start - steps

    def shown_chunks(self, shown: Callable[[Portion], tuple[Any, Any]]) -> Iterator[Chunk]:
        """Give each chunk as it is taken; callbacks and checkpoints as in `run`, interrupts are the caller's."""
        try:
            for portion in self.portions():
                self.tell(portion)
                if self.failed is not None:
                    raise self.failed
                self._save(final=self.complete)
                draws, info = shown(portion)
                yield Chunk(portion.phase.name, portion.start, portion.stop, draws, info, portion.seconds)
                if self.stopped_by is not None:
                    return
        finally:
            if self.stream is not None:
                self.stream.flush()
            self.close()

    def times(self) -> dict[str, Any]:
        """Describe how the run went: seconds with and without compiling, the host's time for a chunk, its end."""
        compiling = self.compile_seconds
        found: dict[str, Any] = {
            "seconds": self.seconds + compiling, "compile_seconds": compiling, "run_seconds": self.seconds,
            "chunks": self.chunks, "driver_ms": 1e3 * self.beside / max(1, self.chunks),
        }  # fmt: skip
        return found if self.stopped_by is None else {**found, "stopped_by": self.stopped_by}

    def tell(self, portion: Portion) -> None:
        """Show the run to the callbacks."""
        if not self.options.callbacks:
            return
        progress = self._progress(portion)
        for callback in self.options.callbacks:
            try:
                if callback(progress) and self.stopped_by is None and not self.complete:
                    self.stopped_by = repr(callback)
            except Exception as error:
                self.failed = error
                return

    def close(self) -> None:
        """Let callbacks that hold something open, as a bar, end."""
        for callback in self.options.callbacks:
            if callable(getattr(callback, "close", None)):
                with suppress(Exception):
                    callback.close()

    def rows(self, number: int) -> list[np.ndarray]:
        """Give the rows of the steps of a phase that are done."""
        return self.kept.rows(number, self.done[number])

    def _next(self, portions: Iterator[Portion]) -> Portion | None:
        try:
            return next(portions, None)
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            self.failed = self._no_memory(error)
            return None

    def _take(self, number: int, count: int) -> Portion:
        start, compiled = time.perf_counter(), self.course.program.compile_seconds
        phase, at = self.phases[number], self.done[number]
        rows = self.kept.rows(number, at + count, at) if self.keeping else phase.room(count)
        state = self.course.advance(self.state, number, count, rows)
        seconds = time.perf_counter() - start - (self.course.program.compile_seconds - compiled)
        told = {**self.named(number, rows), **self.course.told(state, number, rows)}
        self.state, self.done[number] = state, at + count
        self.seconds += seconds
        self.chunks += 1
        if self.stream is not None:
            self.stream.take(number, at, rows)
        if self.done[number] == phase.total:
            self.state = self.course.end(state, number, self.kept)
        return Portion(number, phase, at, at + count, rows, told, seconds)

    def _progress(self, portion: Portion) -> Progress:
        told = portion.told
        warm = portion.phase.name == "warmup"
        self._counts["divergences"] += 0 if warm else int(np.sum(told.get("diverging", 0)))
        self._counts["n_nonfinite"] += sum(int(np.nansum(told.get(name, 0))) for name in ("n_nonfinite", LOST))
        rates = np.asarray(told.get("acceptance_rate", ()), float)
        rates = rates[~np.isnan(rates)]
        temperatures = np.asarray(told.get("beta", ()), float)
        temperatures = temperatures[~np.isnan(temperatures)]
        if temperatures.size:  # stages after the end of a path have none
            self._beta = portion.phase.run, float(temperatures[-1])
        run, beta = self._beta
        stage = told.get("stage")
        drawn, number = self.drawn, portion.number

        def draws() -> Mapping[str, Any]:
            return {} if drawn is None or warm else drawn(self, number)

        return Progress(
            portion.phase.name,
            portion.stop,
            portion.phase.total,
            self.seconds,
            self.compile_seconds,
            acceptance_rate=float(np.mean(rates)) if rates.size else math.nan,
            stage=None if stage is None else int(stage),
            beta=beta if run == portion.phase.run else None,
            log_evidence=told.get("log_evidence"),
            drawn=draws,
            **self._counts,
        )

    def _save(self, final: bool) -> None:
        if self.stream is not None and final:
            self.stream.flush()
        if self.saver is not None:
            self.found = self.found + self.saver.save(self, final)

    def _no_memory(self, error: BaseException) -> MemoryLimitError:
        needed = sum(
            phase.total * sum(int(np.prod(r.shape)) * np.dtype(r.dtype).itemsize * r.per_step for r in phase.rows)
            for phase in self.phases
        )
        steps = sum(self.done)
        chunk = max(1, self.course.longest(0) // 8)
        fix = f"fewer chains or draws, or chunks of {chunk} steps, as run=RunOptions(chunk={chunk})."
        if needed:
            fix = f"All draws take {needed} bytes on the host. Fix: {fix}"
        else:  # rows that are objects of Python
            fix = "Fix: fewer chains, particles or draws, or plan.iterate, which keeps nothing."
        kept = " What is finished is in the attribute result of this error." if steps else ""
        found = MemoryLimitError(
            f"there was no memory for more after {steps} steps ({error}). {fix}{kept}", needed=needed, chunk=chunk
        )
        found.__cause__ = error
        return found
