"""Plans: eager inferences that were built from a model and wait for a key and the model's arguments.

Law: a call gives what its algorithm gives when its sites are drawn, so the contract of the algorithm is that of the
call. Independent runs and chains differ in the first index of all addresses, hence in all keys.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NoReturn

import numpy as np

from lawful.errors import UnsupportedProgramError
from lawful.form.arguments.calls import positional
from lawful.form.arguments.random_keys import one_key

from ...contract import Contract
from ...eager import population
from ...eager.columns import Table, dims_of, table_of
from ...eager.population import Population, Settings, filtered, indices_by_weight
from ...eager.run import Run
from ...findings.findings import Finding
from ...plans.chains.chain_runs import failure
from ...plans.plan import refuse_traced, seed_of, told_of
from ...results.collect import from_population
from ...results.result import Result
from ...running.chunks import Chunk, Drive, Portion
from ...running.environment import times
from ...running.options import RunOptions
from .courses import EagerRuns

STAGED = "mode='staged', whose plan.sampler(*arguments) gives a function draw(key, *arguments) that jit and vmap take"


class EagerPlan(ABC):
    """A method on a program that is run as it is: call it with a key and the model's arguments."""

    resumable = False  # it leaves no checkpoints
    contract: ClassVar[Contract]

    def __init__(self, name: str, model: Any, settings: dict[str, Any], run: RunOptions | None = None) -> None:
        self.name, self.model, self.settings, self.run = name, model, settings, run

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Run: the result holds draws and traces, and of particles their weights and the evidence of every run.

        Raises:
            LawfulError: a callback raised; what is finished is its attribute `result`.
            NoFiniteStartError: chains found no start of positive density, naming where the weight vanished.
            NonFiniteError: a weight is NaN (by default) or +inf.
            ObservationError: the data do not fit their sites.
            UnsupportedProgramError: of chains, a run of the program makes no choice.
        """
        course, args = self._begun(key, args, named)
        drive = self._drive(course)
        if self.run is None:  # Ctrl-C ends it as it ends any program
            for _ in drive.portions():
                pass
        else:
            drive.run()
        told = {**(times(drive.seconds) if self.run is None else drive.times()), "seed": seed_of(key)}
        fields: dict[str, Any] = {"interrupted": drive.interrupted}
        if not drive.complete:
            both = zip(drive.done, drive.phases, strict=True)
            fields["finished"] = sum(done for done, phase in both if phase.name != "warmup")
        if drive.failed is not None and not any(drive.done):
            raise drive.failed
        result = self._collect(course, args, told, **fields)
        if drive.failed is not None:
            raise failure(drive, result)
        return result

    def iterate(self, key: Any, *args: Any, **named: Any) -> Iterator[Chunk]:
        """Run chunk by chunk, and give draws and numbers of each; nothing is kept.

        Of chains the draws are those of a call, each chunk laid out by itself: a choice that none of its runs made is
        not there, and an axis of a loop is as long as the chunk's longest. A population gives the log evidence of each
        run when it is finished.
        """
        course, _ = self._begun(key, args, named)
        return self._drive(course).shown_chunks(partial(self._shown, course))

    @abstractmethod
    def plan(self, *args: Any, **named: Any) -> str:
        """Say what will be done."""

    def form(self, *args: Any, **named: Any) -> NoReturn:
        """Refuse: a program whose structure has no bound has no Form, nor what is read off one."""
        raise UnsupportedProgramError(
            f"{self.name}: mode='eager' runs the program as it is and makes no Form. Fix: mode='staged', where the "
            "program can be traced."
        )

    marginal = sampler = memory = form

    def __repr__(self) -> str:
        return f"{self.name}({getattr(self.model, '__name__', self.model)!s}, mode='eager')"

    @abstractmethod
    def _course(self, key: Any, args: tuple[Any, ...]) -> Any:
        """Give what is run."""

    @abstractmethod
    def _shown(self, course: Any, portion: Portion) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Give draws and numbers of a chunk, and forget them."""

    @abstractmethod
    def _collect(self, course: Any, args: tuple[Any, ...], run: Mapping[str, Any], **fields: Any) -> Result:
        """Make the result of what is done."""

    def _drawn(self, course: Any) -> Mapping[str, Any]:
        """Give the draws so far, where there are any before the end."""
        return {}

    def _begun(self, key: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        args = positional(self.model, args, named)
        refuse_traced((key, args), STAGED)
        return self._course(one_key(key), args), args

    def _drive(self, course: Any) -> Drive:
        def drawn(drive: Drive, number: int) -> Mapping[str, Any]:
            return self._drawn(course)

        return Drive(course, self.run or RunOptions(), lambda number, rows: {}, drawn)

    def common(self, args: tuple[Any, ...], runs: Sequence[Run], run: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that all results have."""
        return {
            "observed": observed_in_all(runs).of_one(),
            "model": self.model,
            "args": args,
            "run": {**told_of({**self.settings, "mode": "eager"}), **run},
        }


class EagerPopulationPlan(EagerPlan):
    """A population method on runs of the program."""

    contract = population.CONTRACT

    def __init__(
        self, name: str, model: Any, settings: dict[str, Any], pauses: bool, run: RunOptions | None = None
    ) -> None:
        super().__init__(name, model, settings, run)
        self.algorithm = Settings(
            settings["particles"],
            settings["scheme"],
            settings.get("resample_below"),
            pauses,
            settings["nonfinite"],
        )

    def plan(self, *args: Any, **named: Any) -> str:
        """Say what will be done."""
        pause = "pausing at every observation and factor" if self.algorithm.pauses else "each to its end"
        return f"{self.name}: {self.settings['particles']} runs of the program in plain Python, {pause}"

    def _course(self, key: Any, args: tuple[Any, ...]) -> EagerRuns:
        def take() -> tuple[Population, np.ndarray]:
            end = filtered(self.model, args, self.algorithm)
            return end, indices_by_weight("draws", end.weight, self.algorithm)

        return EagerRuns(key, take, self.settings["runs"])

    def _shown(self, course: EagerRuns, portion: Portion) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        course.kept.clear()
        return {}, portion.told

    def _collect(self, course: EagerRuns, args: tuple[Any, ...], run: Mapping[str, Any], **fields: Any) -> Result:
        ends, picks = [end for end, _ in course.kept], _in_random_order(np.array([pick for _, pick in course.kept]))
        count, size = picks.shape
        keep = self.settings["keep"]
        drawn = [[end.runs[i] for i in row] for end, row in zip(ends, picks, strict=True)]
        flat = [run for row in drawn for run in row]
        particles = table_of([run for end in ends for run in end.runs], keep)
        draws = table_of(flat, keep)
        log_evidence = np.array([end.log_evidence for end in ends])
        stats = _stages([end.stats for end in ends])
        stages = np.array([len(end.stats["ess"]) for end in ends])
        return from_population(
            _by_run(particles, count, size),
            np.array([end.log_weight for end in ends]),
            log_evidence,
            draws=_by_run(draws, count, size),
            stats={**stats, "n_stages": stages},
            dead_at=np.where(np.isneginf(log_evidence), stages - 1, -1),
            roots=np.array([end.roots for end in ends]),
            sampler=self.name,
            found=tuple(_findings(ends, stats, self.algorithm.pauses)),
            shuffle=None,
            dims=dims_of(observed_in_all(flat)) | dims_of(particles, draws),
            traces=tuple(map(tuple, drawn)),
            **self.common(args, flat, run),
            **fields,
        )


def _in_random_order(picks: np.ndarray) -> np.ndarray:
    """Shuffle the draws of each run: resampling leaves copies side by side, which reads as autocorrelation."""
    order = np.argsort(np.random.default_rng(0).random(picks.shape), axis=1)
    return np.take_along_axis(picks, order, axis=1)


def _by_run(table: Table, count: int, size: int) -> dict[str, np.ndarray]:
    return {name: array.reshape(count, size, *array.shape[1:]) for name, array in table.values.items()}


def _stages(stats: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, np.ndarray]:
    """Pad the numbers of each run with NaN to the length of the longest; the log of what was cut is a sum."""
    longest = max(len(run["ess"]) for run in stats)
    padded = {}
    for name in stats[0]:
        rows = [[*run[name], *[np.nan] * (longest - len(run[name]))] for run in stats]
        padded[name] = np.array(rows, dtype=float)
    padded["log_cut"] = np.logaddexp.reduce(np.nan_to_num(padded["log_cut"], nan=-np.inf, neginf=-np.inf), axis=1)
    return padded


def _findings(ends: Sequence[Population], stats: Mapping[str, np.ndarray], pauses: bool) -> list[Finding]:
    found = []
    count = int(np.nansum(stats["n_nonfinite"]))
    if count:
        sites = sorted({run.vanished for end in ends for run in end.runs if run.n_nonfinite})
        message = f"{count} weights were NaN ({' or '.join(sites)}) and were read as zero"
        found.append(Finding("NONFINITE_WEIGHT", f"{message}: the target is restricted to the rest.", (), count, 0))
    if pauses and max(run.weighings for end in ends for run in end.runs) < 2:
        found.append(
            Finding(
                "IDLE_RESAMPLING",
                "no run of the program was weighed twice, so resampling had no effect: importance sampling gives the "
                "same.",
            )
        )
    cut = float(np.logaddexp.reduce(stats["log_cut"]) - np.log(len(ends)))
    if cut > -np.inf:
        mass = float(np.exp(cut))
        message = f"a bounded loop reached its bound: it cut off an estimated mass of {mass:.3g}; allow more steps."
        found.append(Finding("OVERFLOW", message, (), mass, 0.0))
    return found


def observed_in_all(runs: Sequence[Run]) -> Table:
    """Return the data that every run met, by the name of their site, as those of one run; loops are axes.

    >>> observed_in_all([Run(finished=True, observations={("y", 0): 1.0, ("y", 1): 2.0})]).of_one()
    {'y': array([1., 2.])}
    """
    first = next((run for run in runs if run.finished), None)
    if first is None:
        return Table()
    shared = {a: v for a, v in first.observations.items() if all(a in run.observations for run in runs)}
    return table_of([Run(shared, plates=first.plates, loop_names=first.loop_names)])
