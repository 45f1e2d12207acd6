"""Study the rates of Gaussian mixtures of experts: `python benchmarks/studies/gaussian_moe/run.py`.

A run goes on where it stopped: a replication that is in the file of records is not run again. What the bars read is run
first.
"""

import argparse
import csv
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    os.environ["JAX_ENABLE_X64"] = "1"  # losses and curvatures need it

from benchmarks.harness.environments import ignored_folder
from benchmarks.harness.records import commit
from benchmarks.studies.gaussian_moe.bars import Bar, bars_of_information, bars_of_rates
from benchmarks.studies.gaussian_moe.catalogue import QUICK, SIZES, STUDIES, in_order
from benchmarks.studies.gaussian_moe.rates import Rates, slope_of
from benchmarks.studies.gaussian_moe.replications import measured

BENCHMARKS = Path(__file__).resolve().parents[2]
RESULTS, PARTIAL = BENCHMARKS / "results" / "gaussian_moe", BENCHMARKS / ".partial" / "gaussian_moe"
KEY = 0


def main(given: Sequence[str] | None = None) -> None:
    """Run what is missing, size by size, and write the table and the plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"of {', '.join(STUDIES)}; all if none")
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--replications", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="four sizes up to 10,000, 20 replications")
    parser.add_argument("--page", action="store_true", help="run nothing, write the page of what has been run")
    parser.add_argument("--out", type=Path, help="folder of the results; .partial/ for a part of a run")
    options = parser.parse_args(given)
    unknown = set(options.studies) - set(STUDIES)
    if unknown:
        parser.error(f"unknown study {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    if options.quick:
        options.sizes, options.replications = list(QUICK), 20
    whole = not options.studies and options.sizes == list(SIZES) and options.replications == 40
    folder = options.out or (RESULTS if whole else ignored_folder(PARTIAL.parent) / PARTIAL.name)
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in [] if options.page else in_order(options.studies or STUDIES, options.sizes):
        run_cell(folder / f"{name}.csv", name, n, options.replications)
    write_page(folder)


def run_cell(file: Path, name: str, n: int, replications: int) -> None:
    """Run what the file lacks of one study at one size, and add each replication to the file when it is done."""
    study = STUDIES[name]
    done = {int(row["replication"]) for row in read(file) if int(row["n"]) == n}
    missing = [number for number in range(replications) if number not in done]
    if not missing:
        return
    version, begun, cpu = commit(), time.perf_counter(), [time.process_time()]
    for row in measured(KEY, study.truth, study.model, n, missing, **study.settings):
        cpu.append(time.process_time())
        add(file, row | {"cpu_s": round(cpu[-1] - cpu[-2], 4), "commit": version})
    spent, wall = cpu[-1] - cpu[0], time.perf_counter() - begun
    print(f"{name} n={n}: {len(missing)} replications, {spent:.1f} CPU s, {wall:.1f} s", flush=True)


def add(file: Path, row: Mapping[str, Any]) -> None:
    """Add a record to its file."""
    known = read(file)
    if known and list(known[0]) != list(row):
        raise SystemExit(f"{file} has other columns than this version writes. Fix: move it away.")
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        if not known:
            writer.writeheader()
        writer.writerow(row)


def read(file: Path) -> list[dict[str, str]]:
    """Read records, none where there is no file."""
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_page(folder: Path) -> None:
    """Write the table of all records of a folder, and a plot of each study."""
    from matplotlib import pyplot

    files = {name: folder / f"{name}.csv" for name in STUDIES if (folder / f"{name}.csv").exists()}
    frames = {name: pandas.read_csv(file).sort_values(["n", "replication"]) for name, file in files.items()}
    parts = ["# Gaussian mixtures of experts: rates", "Medians over replications; x uniform on [0, 1]."]
    parts += ["## Bars", bars_table([*bars_of_rates(frames), *bars_of_information()])]
    for name, frame in frames.items():
        study = STUDIES[name]
        columns = [column for column in study.columns if column in frame]
        parts += [f"## {name}: {study.title}", table(frame, columns), f"![medians]({name}.png)"]
        figure, ax = pyplot.subplots(figsize=(6, 4), layout="constrained")
        Rates(frame).plot(columns[:6], ax).set_title(study.title, fontsize="small")
        figure.savefig(folder / f"{name}.png", dpi=100, metadata={"Software": None})
        pyplot.close(figure)
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n")


def table(frame: Any, columns: Sequence[str]) -> str:
    """Give medians by size, their slopes, how many fits were finished, and CPU seconds."""
    lines = ["| n | replications | " + " | ".join(columns) + " | finished | gate at its bound | CPU s |"]
    lines += ["| --- " * (len(columns) + 5) + "|"]
    for n, rows in frame.groupby("n"):
        cells = [f"{rows[column].median():.3g}" for column in columns]
        ends = [f"{rows[flag].mean():.2f}" for flag in ("converged", "bound_active")]
        lines.append(f"| {n} | {len(rows)} | " + " | ".join(cells + ends) + f" | {rows['cpu_s'].sum():.0f} |")
    if frame["n"].nunique() > 1:
        slopes = [slope_of(frame, column) for column in columns]
        cells = [f"{slope:+.2f}" if np.isfinite(slope) else "" for slope in slopes]  # none where an error is 0
        lines.append("| slope | | " + " | ".join(cells) + " | | | |")
    return "\n".join(lines)


def bars_table(bars: Sequence[Bar]) -> str:
    """Give the bars with their verdicts."""
    lines = ["| bar | found | from | to | |", "| --- | --- | --- | --- | --- |"]
    for bar in bars:
        verdict = "" if np.isnan(bar.value) else "met" if bar.met else "**missed**"
        lines.append(f"| {bar.name} | {bar.value:.4g} | {bar.low:.4g} | {bar.high:.4g} | {verdict} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
