"""`python -m benchmarks.studies.posteriordb.cost [--posterior PART] [--sampler NAME] [--out DIR]`: right, and how fast.

Three samplers on the twelve posteriors: `infer`, a program in one line without options; nutpie and NumPyro as those who
know them call them, on models of their own (`benchmarks/contestants/posteriordb`), with four chains of 1000 steps of
warm-up and 1000 draws. Each sampler and posterior is one process, pinned to one core, with a home of its own, so that
no cache is filled. Its first call is "cold", with all that it compiles; the median of the next ones, which have the
same shapes, is "warm". Imports and reading data are in neither.

A row tells whether `infer` says ok, the largest |z| of a mean and of a standard deviation from the reference, over all
runs, the least bulk effective sample size over the scalars of the reference (the median of the runs), CPU seconds, and
what was run. A silent failure is a result of `infer` that is ok and has a |z| beyond the bound of the number of its
comparisons in the whole table. Then come geometric means of effective draws per CPU second, and of their ratios, over
posteriors that both have draws of. `--guides` adds the families of guides, as `inference.guide(program, family=...)`
fits and weighs them, and how many that are ok give more than both peers.

With `--out` the rows go into `cost.csv`, and rates into `cost.svg`. The exit status is 1 where a failure is silent.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness.environments import NotAvailableError, interpreter
from benchmarks.harness.process import ContestantError, Worker
from lawful.errors import LawfulError

from . import POSTERIORS, data_folder, read
from .guides import FAMILIES
from .reference import bound

ENVIRONMENTS: Mapping[str, str | None] = {"infer": None, "nutpie": "nutpie", "numpyro": None}
GUIDES = tuple(f"guide {family}" for family in FAMILIES)
CONTESTANTS = {("nutpie", "hudson_lynx_hare-lotka_volterra"): ("nutpie_density", None)}  # in place of the usual one
SIZE = {"chains": 4, "warmup": 1000, "draws": 1000}  # of the peers; `infer` chooses its own
TEMPERATURES = ("cold", "warm")


class Row(NamedTuple):
    """One sampler on one posterior; what it did not give is nan."""

    sampler: str
    posterior: str
    ok: bool | None = None  # of all runs; None of a peer, which gives no verdict
    z_mean: float = np.nan
    z_sd: float = np.nan
    z_ok: float = np.nan  # the largest |z| of runs that are ok
    compared: int = 0
    ess: float = np.nan
    cold_s: float = np.nan
    warm_s: float = np.nan
    how: str = ""

    def rate(self, temperature: str) -> float:
        """Give effective draws per CPU second.

        >>> Row("infer", "x", True, ess=400.0, cold_s=8.0, warm_s=2.0).rate("warm")
        200.0
        """
        return self.ess / (self.cold_s if temperature == "cold" else self.warm_s)


def row_of(sampler: str, posterior: str, runs: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> Row:
    """Make a row of the records of a worker, the first of them cold, and the scalars of the reference."""
    z: dict[str, list[float]] = {"mean": [], "sd": []}
    sound, sizes, compared = [0.0], list[float](), 0
    for given in (run["outputs"] for run in runs):
        if f"mean {next(iter(told))}" not in given:
            continue  # a result without draws, which is not ok
        own = {what: [abs(_z(given, scalar, what, told[scalar])) for scalar in told] for what in z}
        for what, found in own.items():
            z[what].append(max(found))
        compared += 2 * len(told)
        sizes.append(min(given[f"ess {scalar}"] for scalar in told))
        sound.append(max(map(max, own.values())) if given.get("ok") else 0.0)
    verdicts = [bool(run["outputs"]["ok"]) for run in runs if "ok" in run["outputs"]]
    return Row(
        sampler, posterior, all(verdicts) if verdicts else None, max(z["mean"], default=np.nan),
        max(z["sd"], default=np.nan), max(sound), compared, median(sizes) if sizes else np.nan, runs[0]["cpu_s"],
        median(run["cpu_s"] for run in runs[1:]) if runs[1:] else np.nan,
        " / ".join(dict.fromkeys(run["notes"].get("how", "") for run in runs)),
    )  # fmt: skip


def _z(given: Mapping[str, float], scalar: str, what: str, told: Mapping[str, Any]) -> float:
    """Give a z, infinite where an estimate or its error is no number."""
    error = float(np.hypot(given[f"mcse_{what} {scalar}"], told[f"mcse_{what}"]))
    z = (given[f"{what} {scalar}"] - told[what]) / error
    return z if np.isfinite(z) else np.inf


def measured(sampler: str, posterior: str, folder: Path, seed: int, warm: int, limit_s: float) -> Row:
    """Run a sampler in a process of its own, once cold and `warm` times more."""
    told = read(folder, posterior).scalars
    name, _, family = sampler.partition(" ")
    settings = SIZE | {"posterior": posterior, "folder": str(folder.resolve()), "scalars": list(told), "family": family}
    contestant, environment = CONTESTANTS.get((name, posterior), (name, ENVIRONMENTS.get(name)))
    module = f"benchmarks.contestants.posteriordb.{'infer' if name == 'guide' else contestant}"
    refused = False if name in ("infer", "guide") else None  # an exception is loud
    with tempfile.TemporaryDirectory() as home:
        own = {"HOME": home, "XDG_CACHE_HOME": home, "NUMBA_CACHE_DIR": home, "JAX_PLATFORMS": "cpu"}
        try:
            worker = Worker(interpreter(environment), module, settings, limit_s, 1, own)
        except (ContestantError, NotAvailableError) as error:
            return Row(sampler, posterior, refused, how=f"not run: {error}")
        try:
            return row_of(sampler, posterior, [worker.run(seed + i) for i in range(1 + warm)], told)
        except ContestantError as error:
            return Row(sampler, posterior, refused, how=f"failed: {error}")
        finally:
            worker.close()


def summary(rows: Sequence[Row]) -> Iterator[str]:
    r"""Tell geometric means of rates, and of the ratios to each peer over the posteriors of both.

    >>> found = [Row(name, "x", ess=90.0, cold_s=5.0, warm_s=s) for name, s in (("infer", 1.0), ("nutpie", 2.0))]
    >>> print(*summary(found), sep="\n")
    infer: 1 posteriors, effective draws per CPU second: cold 18, warm 90
    nutpie: 1 posteriors, effective draws per CPU second: cold 18, warm 45
    infer / nutpie, 1 posteriors: cold 1, behind in none; warm 2, behind in none
    """
    rates: dict[str, dict[str, Row]] = {}
    for row in rows:
        if all(np.isfinite(row.rate(t)) and row.ok is not False for t in TEMPERATURES):
            rates.setdefault(row.sampler, {})[row.posterior] = row
    for sampler, own in rates.items():
        means = ", ".join(f"{t} {geometric_mean(row.rate(t) for row in own.values()):.3g}" for t in TEMPERATURES)
        yield f"{sampler}: {len(own)} posteriors, effective draws per CPU second: {means}"
    for sampler in dict.fromkeys(row.sampler for row in rows if row.ok is False):
        refused = [row.posterior.split("-")[0] for row in rows if row.sampler == sampler and row.ok is False]
        yield f"left out, a run of {sampler} not being ok: {', '.join(refused)}"
    ours = rates.get("infer", {})
    for peer, own in rates.items():
        both = ours.keys() & own.keys()
        if peer in ENVIRONMENTS and peer != "infer" and both:
            told = (
                f"{t} {_ratio({name: ours[name].rate(t) / own[name].rate(t) for name in both})}" for t in TEMPERATURES
            )
            yield f"infer / {peer}, {len(both)} posteriors: {'; '.join(told)}"


def ahead(rows: Sequence[Row]) -> str:
    """Count the guides that are ok, and of them those that give more effective draws per CPU second than all peers.

    >>> peer = Row("nutpie", "x", ess=90.0, cold_s=5.0, warm_s=2.0)
    >>> ahead([peer, Row("guide flow", "x", True, ess=90.0, cold_s=9.0, warm_s=1.0), Row("guide mode", "x", False)])
    '2 guides, 1 ok in all runs; of these ahead of the peers: cold 0, warm 1'
    """
    guides = [row for row in rows if row.sampler in GUIDES]
    good = [row for row in guides if row.ok]
    peers = [row for row in rows if row.sampler not in ("infer", *GUIDES)]

    def best(posterior: str, temperature: str) -> float:
        rates = [row.rate(temperature) for row in peers if row.posterior == posterior]
        return max((rate for rate in rates if np.isfinite(rate)), default=np.inf)

    counts = (f"{t} {sum(row.rate(t) > best(row.posterior, t) for row in good)}" for t in TEMPERATURES)
    return f"{len(guides)} guides, {len(good)} ok in all runs; of these ahead of the peers: {', '.join(counts)}"


def _ratio(ratios: Mapping[str, float]) -> str:
    behind = [f"{name.split('-')[0]} {x:.2g}" for name, x in sorted(ratios.items(), key=lambda item: item[1]) if x < 1]
    return f"{geometric_mean(ratios.values()):.3g}, behind in {', '.join(behind) or 'none'}"


def silent(rows: Sequence[Row]) -> tuple[list[Row], float]:
    """Give the rows of `infer` and of guides that are ok and off, and the bound on their |z|."""
    own = [row for row in rows if row.sampler in ("infer", *GUIDES)]
    limit = bound(max(1, sum(row.compared for row in own)))
    return [row for row in own if row.z_ok > limit], limit


def drawn(rows: Sequence[Row], path: Path) -> None:
    """Draw rates of every sampler and posterior, cold beside warm; `infer` that is not ok is hollow."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.5), layout="constrained")
    names = list(dict.fromkeys(row.posterior for row in rows))
    for axes, temperature in zip(figure.subplots(1, 2, sharey=True), TEMPERATURES, strict=True):
        for colour, sampler in zip(("C3", "C0", "C2"), ENVIRONMENTS, strict=True):
            own = [row for row in rows if row.sampler == sampler and np.isfinite(row.rate(temperature))]
            axes.scatter(
                [row.rate(temperature) for row in own], [names.index(row.posterior) for row in own], s=28,
                edgecolors=colour, facecolors=["none" if row.ok is False else colour for row in own], label=sampler,
            )  # fmt: skip
        axes.set(xscale="log", xlabel="least ESS per CPU second", title=temperature)
        axes.set_yticks(range(len(names)), [name.split("-")[0] for name in names])
        axes.grid(axis="x", color="0.9")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path)


def written(rows: Sequence[Row], folder: Path) -> None:
    """Write the table, and the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cost.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((*Row._fields, *(f"rate_{t}" for t in TEMPERATURES)))
        writer.writerows((*row, *(row.rate(t) for t in TEMPERATURES)) for row in rows)
    drawn(rows, folder / "cost.svg")


def _line(row: Row) -> str:
    verdict = {None: "-", True: "yes", False: "NO"}[row.ok]
    return (
        f"{row.posterior:40}{row.sampler:17}{verdict:4}{row.z_mean:8.2f}{row.z_sd:8.2f}{row.ess:8.0f}{row.cold_s:9.2f}"
        f"{row.warm_s:9.2f}{row.rate('cold'):9.3g}{row.rate('warm'):9.3g}  {row.how}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    name = "python -m benchmarks.studies.posteriordb.cost"
    parser = argparse.ArgumentParser(prog=name, description=__doc__)
    parser.add_argument("--posterior", action="append", help="a part of names; default: all")
    parser.add_argument("--sampler", action="append", choices=ENVIRONMENTS, help="default: all")
    parser.add_argument("--guides", action="store_true", help="the families of guides, too")
    parser.add_argument("--data", type=Path, help="folder of reference data; default: LAWFUL_DATA, or ../shared/data")
    parser.add_argument("--out", type=Path, help="folder for cost.csv and cost.svg")
    parser.add_argument("--seed", type=int, default=0, help="of the cold run; the others take the next ones")
    parser.add_argument("--warm", type=int, default=3, help="runs after the first one; default: 3")
    parser.add_argument("--limit", type=float, default=600.0, help="wall seconds of a run; default: 600")
    chosen = parser.parse_args(arguments)
    folder, rows = chosen.data or data_folder(), list[Row]()
    print(
        f"{'posterior':40}{'sampler':17}{'ok':4}{'|z|mean':>8}{'|z|sd':>8}{'ESS':>8}{'cold s':>9}{'warm s':>9}"
        f"{'ESS/cold':>9}{'ESS/warm':>9}  what was run"
    )
    for posterior in POSTERIORS:
        if chosen.posterior and not any(part in posterior for part in chosen.posterior):
            continue
        for sampler in (*(chosen.sampler or ENVIRONMENTS), *(GUIDES if chosen.guides else ())):
            rows.append(measured(sampler, posterior, folder, chosen.seed, chosen.warm, chosen.limit))
            print(_line(rows[-1]), flush=True)
    if not rows:
        parser.error(f"no posterior fits; there are: {', '.join(POSTERIORS)}.")
    print(*summary(rows), *([ahead(rows)] if chosen.guides else []), sep="\n")
    if chosen.out is not None:
        written(rows, chosen.out)
    wrong, limit = silent(rows)
    off = "".join(f"; {row.sampler}, {row.posterior} {row.z_ok:.2f}" for row in wrong)
    print(f"silent failures: {len(wrong)} (bound {limit:.2f}{off})")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LawfulError as error:
        sys.exit(f"{type(error).__name__}: {error}")
