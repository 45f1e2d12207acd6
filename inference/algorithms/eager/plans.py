"""Plans: eager inferences that were built from a model and wait for a key and the model's arguments.

Law: a call gives what its algorithm gives when its sites are drawn, so the contract of the algorithm is that of the
call. Independent runs and chains differ in the first index of all addresses, hence in all keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.arguments.calls import positional
from lawful.form.arguments.random_keys import one_key

from ...eager import population
from ...eager.columns import Table, dims_of, table_of
from ...eager.population import Population, Settings, filtered, indices_by_weight
from ...eager.run import Run
from ...findings.findings import Finding
from ...plans.chains.chain_runs import failure
from ...plans.plan import refuse_traced
from ...results.collect import from_population
from ...results.result import Result
from ...running.driver import Chunk, Drive, Portion
from ...running.environment import environment, seed_of, times
from ...running.options import RunOptions
from .courses import EagerRuns

STAGED = "mode='staged', whose plan.sampler(*arguments) gives a function draw(key, *arguments) that jit and vmap take"


class EagerPlan:
    """What every eager inference knows about itself."""

    resumable = False  # it leaves no checkpoints

    name: str
    model: Callable[..., Any] | Form
    settings: dict[str, Any]

    def __repr__(self) -> str:
        """Show name and model."""
        return f"{self.name}({getattr(self.model, '__name__', self.model)!s}, mode='eager')"

    def form(self, *args: Any, **named: Any) -> NoReturn:
        """Refuse: a program whose structure has no bound has no Form."""
        raise UnsupportedProgramError(
            f"{self.name}: mode='eager' runs the program as it is and makes no Form. Fix: mode='staged', where the "
            "program can be traced."
        )

    def common(self, args: tuple[Any, ...], runs: Sequence[Run], run: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that all results have."""
        return {
            "observed": observed_in_all(runs).of_one(),
            "model": self.model,
            "args": args,
            "run": {**environment({**self.settings, "mode": "eager"}, 0.0), **run},
        }


class EagerPopulationPlan(EagerPlan):
    """A population method on runs of the program: call it with a key and the model's arguments."""

    contract = population.CONTRACT

    def __init__(
        self, name: str, model: Any, settings: dict[str, Any], pauses: bool, run: RunOptions | None = None
    ) -> None:
        """Keep the parts."""
        self.name, self.model, self.settings, self.run = name, model, settings, run
        self.algorithm = Settings(
            settings["particles"],
            settings["scheme"],
            settings.get("resample_below"),
            pauses,
            settings["nonfinite"],
        )

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Run: the result holds equal-weight draws, weighted particles, the evidence of every run, and the traces.

        Raises:
            NonFiniteError: a weight is NaN (by default) or +inf.
            ObservationError: the data do not fit their sites.
            LawfulError: a callback raised; the finished runs are its attribute `result`.
        """
        args = positional(self.model, args, named)
        refuse_traced((key, args), STAGED)
        course = self._course(key, args)
        drive = Drive(course, self.run or RunOptions(), lambda number, rows: {})
        if self.run is None:  # Ctrl-C ends it as it ends any program
            for _ in drive.portions():
                pass
        else:
            drive.run()
        fields: dict[str, Any] = {"interrupted": drive.interrupted}
        if not drive.complete:
            fields["finished"] = sum(drive.done)
        run = {**(times(drive.seconds) if self.run is None else drive.times()), "seed": seed_of(key)}
        return ended(drive, lambda: self._collect(course.kept, args, run, **fields))

    def iterate(self, key: Any, *args: Any, **named: Any) -> Iterator[Chunk]:
        """Run, and give the log evidence of each run when it is finished; nothing is kept."""
        args = positional(self.model, args, named)
        refuse_traced((key, args), STAGED)
        course = self._course(key, args)

        def shown(portion: Portion) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
            course.kept.clear()
            return {}, portion.told

        return Drive(course, self.run or RunOptions(), lambda number, rows: {}).shown_chunks(shown)

    def plan(self, *args: Any, **named: Any) -> str:
        """Say what will be done."""
        pause = "pausing at every observation and factor" if self.algorithm.pauses else "each to its end"
        return f"{self.name}: {self.settings['particles']} runs of the program in plain Python, {pause}"

    def _course(self, key: Any, args: tuple[Any, ...]) -> EagerRuns:
        def take() -> tuple[Population, np.ndarray]:
            end = filtered(self.model, args, self.algorithm)
            return end, indices_by_weight("draws", end.weight, self.algorithm)

        return EagerRuns(one_key(key), take, self.settings["runs"])

    def _collect(
        self, kept: Sequence[tuple[Population, np.ndarray]], args: tuple[Any, ...], run: Mapping[str, Any],
        **fields: Any,
    ) -> Result:  # fmt: skip
        ends, picks = [end for end, _ in kept], _in_random_order(np.array([pick for _, pick in kept]))
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


def ended(drive: Drive, collect: Callable[[], Result]) -> Result:
    """Give the result of a run; where something failed raise that, with the result of what was finished before."""
    if drive.failed is None:
        return collect()
    raise failure(drive, collect()) if any(drive.done) else drive.failed


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
