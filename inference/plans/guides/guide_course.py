"""Guide course: searches along paths and the fit of parameters, as phases of steps that the driver takes in portions.

Law: a step is a function of the state alone, its randomness of the number of the step, so that all portions end where
one call does, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...running.course import Kept, Phase
from ...running.options import FIRST
from ...running.timed_program import Program
from ...transformers.propose.guide import Guide
from .fit import Fit
from .paths import Path


class GuideState(NamedTuple):
    """A guide on its way: its paths, and the fit, which begins when they are done; None of a family without one."""

    paths: Path | None
    fit: Fit | None


class Ended(NamedTuple):
    """A guide, and log weights that draws which are not its own have for it.

    Attributes:
        guide: the guide.
        paths: the mean over draws from the law of each path.
        chains: those of chains that began at weighed draws of the guide; none where no chains were asked for.
    """

    guide: Guide
    paths: jax.Array
    chains: jax.Array


@dataclass(eq=False)
class GuideSteps:
    """What is compiled: steps of paths, the turn from them to a fit, steps of it, and the guide at the end.

    `of_paths` gives those of the inputs that searches read.
    """

    go: Program
    turn: Program
    climb: Program
    last: Program
    of_paths: Callable[[Sequence[Any]], tuple[Any, ...]]
    length: int = FIRST

    @property
    def parts(self) -> tuple[Program, ...]:
        """All of them."""
        return self.go, self.turn, self.climb, self.last

    @property
    def compile_seconds(self) -> float:
        """Seconds that compiling took so far."""
        return sum(each.seconds for each in self.parts)

    @property
    def busy_seconds(self) -> float:
        """Seconds in which the compiled steps ran so far."""
        return sum(each.busy for each in self.parts)


@dataclass(frozen=True, eq=False)
class GuideCourse:
    """Paths from their starts, and the fit from the best law on them.

    Attributes:
        program: what is compiled.
        keys: of the draws on paths, and of the noise of the fit.
        start: finds where paths begin.
        inputs: of the program.
        shapes: describes a state, by whether the fit has begun.
        totals: most steps of a path, and of the fit.
        searches: whether there are paths; else the fit begins at once.
        fits: whether there is a fit.
    """

    program: GuideSteps
    keys: Sequence[jax.Array]
    start: Callable[[], Path]
    inputs: Sequence[Any]
    shapes: Callable[[bool], GuideState]
    totals: tuple[int, int]
    searches: bool = True
    fits: bool = True

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Two, or the fit alone, whose steps leave nothing but the state."""
        paths, fit = self.totals
        if not self.searches:
            return (Phase("fit", fit, ()),) if self.fits else ()
        return (Phase("paths", paths, ()), *([Phase("fit", fit, ())] if fit else []))

    def begin(self) -> GuideState:
        """Find the starts, or begin the fit."""
        if not self.searches:
            return GuideState(None, self.program.turn(tuple(self.inputs), None) if self.fits else None)
        return GuideState(self.start(), None)

    def advance(self, state: GuideState, phase: int, steps: int, into: Sequence[np.ndarray]) -> GuideState:
        """Take some steps of all paths, or of the fit."""
        now = jax.tree.map(jnp.asarray, state)
        count, inputs = jnp.asarray(steps, jnp.int32), tuple(self.inputs)
        if self._is_search(phase):
            return now._replace(paths=self.program.go(self.keys[0], inputs, now.paths, count))
        return now._replace(fit=self.program.climb(self.keys[1], inputs, now.fit, count))

    def longest(self, phase: int) -> int:
        """All steps fit in one call."""
        return self.totals[0 if self._is_search(phase) else 1]

    def _is_search(self, phase: int) -> bool:
        return self.searches and not phase

    def end(self, state: GuideState, phase: int, kept: Kept) -> GuideState:
        """Turn from the paths to the fit."""
        if not self._is_search(phase) or not self.totals[1]:
            return state
        return state._replace(fit=self.program.turn(tuple(self.inputs), state.paths))

    def place(self, state: GuideState) -> dict[str, int]:
        """Say whether the fit has begun."""
        return {"fit": int(state.fit is not None)}

    def expected(self, place: Mapping[str, int]) -> GuideState:
        """Describe a state."""
        return self.shapes(bool(place["fit"]))

    def told(self, state: GuideState, phase: int, rows: Sequence[np.ndarray]) -> Mapping[str, Any]:
        """Tell the ELBO of each path, or the objective of the last window of the fit."""
        if state.fit is not None:
            return {"objective": np.asarray(state.fit.best), "rests": np.asarray(state.fit.rests)}
        assert state.paths is not None
        return {"elbo": np.asarray(state.paths.elbo), "rests": np.asarray(state.paths.search.rests)}
