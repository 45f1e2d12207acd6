"""Exploration: the runs of a program with finite choices, listed one by one, the heaviest first where not all are.

Law: the runs that were listed and the beginnings of those that were not partition all runs. The unexplored mass is the
sum, over these beginnings, of the probability of their choices times the weight that they have met; so where whatever
is met later weighs at most b, at most b times this mass is missing from the measure.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lawful.addresses import Address, show_address
from lawful.errors import PathLimitError, UnsupportedProgramError
from lawful.messages import Handler, Message, SampleMessage, only

from .atoms import Statement, diverged, finite_site
from .log_total import LogTotal
from .run import Run
from .running import Paused, Runner, execute

MAX_CHOICES = 1000  # choices among several values on one path, where nothing may be left out
EARLY, PROBES, FAR = 16, 8, 1000  # after so many runs so many probes; a budget that is so many times too small
PATIENCE = math.log(64.0)  # a run is left when another beginning is so much heavier, in logs


@dataclass(frozen=True)
class Path:
    """One run, and the natural log of the probability of its choices."""

    run: Run
    log_probability: float

    @property
    def log_mass(self) -> float:
        """Log of probability times weight."""
        return self.log_probability + self.run.log_weight


@dataclass(frozen=True)
class Explored:
    """Runs, and what is missing.

    Attributes:
        paths: the runs of positive weight.
        listed: number of runs that came to their end, or to weight zero.
        log_unexplored: natural log of the unexplored mass; -inf where nothing is missing.
        log_cut: natural log of the mass that bounded loops cut off.
    """

    paths: tuple[Path, ...]
    listed: int
    log_unexplored: float
    log_cut: float


def explore(model: Callable[..., Any], args: tuple[Any, ...], max_paths: int, unexplored: float = 0.0) -> Explored:
    """List the runs of a program.

    Args:
        model: a program whose choices are finite.
        args: its arguments.
        max_paths: budget of runs.
        unexplored: the largest unexplored mass that may be left, as a share of the whole; 0: list everything.

    Raises:
        PathLimitError: the budget is exceeded; the message has the number needed, as far as it can be told.
        UnsupportedProgramError: a choice is not finite.
        ImpureProgramError: the program did not repeat itself.

    >>> import numpyro.distributions as dist, lawful
    >>> def geometric(level=0):
    ...     flip = lawful.sample(f"flip{level}", dist.Bernoulli(0.5))
    ...     return level if flip == 0 else geometric(level + 1)
    >>> found = explore(geometric, (), 100, unexplored=1e-3)
    >>> sorted(path.run.value for path in found.paths)[:3], math.exp(found.log_unexplored) <= 1e-3
    ([0, 1, 2], True)
    """
    search = _Search(max_paths, unexplored)
    while search.waiting and not search.enough():
        search.go_on(model, args)
    return Explored(tuple(search.found), search.listed, search.left.log, search.log_cut)


@dataclass(order=True, frozen=True)
class _Beginning:
    """The choices with which runs begin: addresses with positions in the lists of their atoms."""

    priority: tuple[float, int]
    steps: tuple[tuple[Address, int], ...] = field(compare=False)
    log_probability: float = field(compare=False)
    log_mass: float = field(compare=False)
    share: float = field(compare=False)  # of the runs, were every branch as large as the others
    place: int = field(compare=False)  # of its mass in what is left


class _Search:
    """Beginnings that wait, and runs that were found."""

    def __init__(self, max_paths: int, unexplored: float) -> None:
        self.max_paths, self.unexplored = max_paths, unexplored
        self.everything = unexplored == 0
        self.number = itertools.count()
        self.waiting: list[_Beginning] = []
        self.left = LogTotal()
        self.found: list[Path] = []
        self.listed, self.runs = 0, 0
        self.log_whole = self.log_cut = -math.inf
        self.add((), 0.0, 0.0, 1.0)

    def add(self, steps: Sequence[tuple[Address, int]], log_probability: float, log_mass: float, share: float) -> None:
        """Let a beginning wait: the last is the first to go on where all are listed anyway, else the heaviest."""
        age = next(self.number)
        priority = (-float(age), 0) if self.everything else (-log_mass, age)
        place = self.left.add(log_mass)
        heapq.heappush(self.waiting, _Beginning(priority, tuple(steps), log_probability, log_mass, share, place))

    @property
    def log_share_left(self) -> float:
        """Log of the unexplored mass as a share of all mass that is known."""
        left = self.left.log
        return left - float(np.logaddexp(left, self.log_whole)) if left > -math.inf else left

    def enough(self) -> bool:
        """Tell whether little enough is left."""
        return not self.everything and self.log_share_left <= math.log(self.unexplored)

    def go_on(self, model: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Follow the first beginning to its end, or until another is much heavier."""
        if self.runs >= self.max_paths:
            raise self.too_many(f"{self.runs} runs did not suffice (max_paths={self.max_paths})")
        if self.everything and self.runs == EARLY and _hopeless(model, args, FAR * self.max_paths):
            raise self.too_many(f"far more runs would be needed than max_paths={self.max_paths}")
        self.runs += 1
        beginning = heapq.heappop(self.waiting)
        self.left.drop(beginning.place)
        guide = _Guide(self, beginning)
        try:
            with only(guide):
                outcome = execute(model, args, guide.runner)
        except UnsupportedProgramError as error:
            if not isinstance(error.__cause__, RecursionError):
                raise
            guide.wait()
            raise self.too_many(f"a run is deeper than Python's recursion allows, at '{guide.last}'") from error
        if len(guide.steps) < len(guide.beginning.steps):
            raise diverged(guide.beginning.steps[len(guide.steps)][0], "was not reached")
        if guide.left:
            guide.wait()
            return
        self.listed += 1
        self.log_cut = float(np.logaddexp(self.log_cut, guide.log_probability + outcome.log_cut))
        if not outcome.dead:
            path = Path(outcome, guide.log_probability)
            self.found.append(path)
            self.log_whole = float(np.logaddexp(self.log_whole, path.log_mass))

    def too_many(self, what: str) -> PathLimitError:
        """Say how many runs it would take, were every branch as large as the others, and how much is left."""
        left = math.fsum(beginning.share for beginning in self.waiting)
        what = what if len(what) < 200 else f"{what[:90]} ... {what[-90:]}"
        needed = max(math.ceil(self.runs / (1 - left)), self.runs + len(self.waiting)) if left < 1 else None
        known = f"about {needed} would be needed" if needed and self.everything else "how many are needed is unknown"
        fix = "accept a remainder whose size is reported, by mode='eager', unexplored=1e-6,"
        if not self.everything:
            share = math.exp(self.log_share_left)
            what += f", and {share:.3g} of the known mass is unexplored, more than unexplored={self.unexplored:g}"
            fix = "accept a larger unexplored=,"
        return PathLimitError(
            f"enumerate: {what}; {known}, and the program may have no bound on its choices. Fix: raise max_paths, or "
            f"{fix} or use importance, smc or mcmc with mode='eager'.",
            needed=needed,
            cap=self.max_paths,
            log_unexplored=self.left.log,
        )


class _Guide(Handler):
    """Makes the choices of one run: those of its beginning, then the most probable ones, whose siblings wait."""

    def __init__(self, search: _Search, beginning: _Beginning) -> None:
        self.search, self.beginning = search, beginning
        self.runner = Runner(lambda address: address)
        self.steps: list[tuple[Address, int]] = []
        self.log_probability, self.share, self.branching = 0.0, 1.0, 0
        self.last, self.left = "", False

    @property
    def log_mass(self) -> float:
        """Log of the probability of the choices so far times the weight met."""
        return self.log_probability + self.runner.log_weight

    def wait(self) -> None:
        """Let the run wait where it stands."""
        self.search.add(self.steps, self.log_probability, self.log_mass, self.share)

    def process(self, message: Message) -> None:
        if not isinstance(message, SampleMessage):
            return
        self.last = show_address(message.address)
        site = finite_site(message.distribution, Statement(message))
        positions = [self._position(message.address, atoms.probabilities) for atoms in site.elements]
        message.value = site.assemble([a.values[i] for a, i in zip(site.elements, positions, strict=True)])

    def _position(self, address: Address, probabilities: Sequence[Any]) -> int:
        """Choose the value of one element of a site."""
        place = len(self.steps)
        many = len(probabilities) > 1
        if place < len(self.beginning.steps):
            expected, position = self.beginning.steps[place]
            if expected != address or position >= len(probabilities):
                raise diverged(expected, f"became '{show_address(address)}'")
        else:
            if many:
                self._leave_or_go_on()
            position = max(range(len(probabilities)), key=lambda i: float(probabilities[i]))
            for other in range(len(probabilities)):
                if other != position:
                    self._wait(address, other, probabilities)
        self.steps.append((address, position))
        self.branching += many
        self.log_probability += math.log(probabilities[position])
        self.share /= len(probabilities)
        return position

    def _wait(self, address: Address, position: int, probabilities: Sequence[Any]) -> None:
        log_p = math.log(probabilities[position])
        self.search.add(
            [*self.steps, (address, position)],
            self.log_probability + log_p,
            self.log_mass + log_p,
            self.share / len(probabilities),
        )

    def _leave_or_go_on(self) -> None:
        search = self.search
        if search.everything:
            if self.branching >= min(search.max_paths, MAX_CHOICES):
                self.wait()
                raise search.too_many(f"a run makes more than {self.branching} choices, the last of them '{self.last}'")
        elif search.waiting and search.waiting[0].log_mass > self.log_mass + PATIENCE:
            self.left = True
            raise Paused


def _hopeless(model: Callable[..., Any], args: tuple[Any, ...], far: int) -> bool:
    """Tell whether a program surely has more runs than a budget, of which `far` is a large multiple.

    A way through the program that takes each branch with equal probability stands for as many runs as it had branches
    to take: on average the number of all runs. So one stands for `far` runs or more with a probability of at most the
    budget's share of `far`, if the budget suffices, and all of them with that to the power of their number, 1e-24.

    Reference: Knuth (1975), Estimating the efficiency of backtrack programs.
    """
    for number in range(PROBES):
        probe = _Probe(random.Random(number), far)
        with only(probe):
            execute(model, args, probe.runner)
        if probe.ways < far:
            return False
    return True


class _Probe(Handler):
    """Takes one way through a program, each branch with equal probability, until it stands for many runs."""

    def __init__(self, source: random.Random, far: int) -> None:
        self.source, self.far, self.ways = source, far, 1
        self.runner = Runner(lambda address: address)

    def process(self, message: Message) -> None:
        if not isinstance(message, SampleMessage):
            return
        site = finite_site(message.distribution, Statement(message))
        self.ways *= math.prod(len(atoms.probabilities) for atoms in site.elements)
        if self.ways >= self.far:
            raise Paused
        message.value = site.assemble([self.source.choice(atoms.values) for atoms in site.elements])
