"""What a step of 2^20 particles costs on several devices, in CPU seconds beside one device.

    python benchmarks/sharding/run.py                  # all; writes results/sharding/steps.csv and steps.md
    python benchmarks/sharding/run.py resampling guard --particles 65536 --rounds 3 --out DIR  # a look

resampling: particles and weights are given, and drawn anew. uneven: the same where one device has nearly all weight.
step: particles move, are weighed and resampled. filter: four steps by `inference.smc`. scaling: resampling on 1, 2, 4
and 8 devices. guard: twice the particles on four devices.

Devices are parts of one processor, so wall time says nothing about real ones: what counts is the work, user and system
time of the whole process. Every scheme has a process of its own; they take turns, one call of each a round, and medians
are compared. Bars, on four devices with 2^20 particles: islands cost at most 1.2 times one device, exact resampling by
neighbours 2 times, by gathering 5 times; twice the particles at most 3 times as much. The exit status tells whether all
are met.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.harness.process import Worker
from benchmarks.harness.records import commit, usable_cores
from benchmarks.harness.rounds import Measurement, measure
from benchmarks.label_proportions.csv_file import write

PARTICLES, DEVICES, ROUNDS, LIMIT_S = 1 << 20, 4, 9, 600.0
ONE = "one device"
SCHEMES = ("exact, neighbours", "exact, gather", "islands")
BARS = {"exact, neighbours": 2.0, "exact, gather": 5.0, "islands": 1.2}
GUARD, MOST = (65_536, 131_072), 3.0
FIELDS = (
    "part", "scheme", "devices", "particles", "cpu_s", "wall_s", "ratio", "bar", "met", "first_cpu_s", "peak_mb",
    "mean", "log_evidence", "rounds", "cores", "commit", "versions",
)  # fmt: skip


class Case(NamedTuple):
    """What one process does."""

    scheme: str
    devices: int
    particles: int
    what: str
    uneven: bool = False


def cases(part: str, particles: int) -> list[Case]:
    """List the processes of a part; the first is what the others are compared with."""
    if part == "guard":
        return [Case(name, DEVICES, size, "resampling") for name in SCHEMES for size in GUARD]
    if part == "scaling":
        spread = [Case(name, devices, particles, "resampling") for devices in (2, 4, 8) for name in SCHEMES]
        return [Case(ONE, 1, particles, "resampling"), *spread]
    names = [name for name in SCHEMES if part != "filter" or name != "exact, gather"]
    what = "resampling" if part == "uneven" else part
    first = Case(ONE, 1, particles, what, part == "uneven")
    return [first, *(Case(name, DEVICES, particles, what, part == "uneven") for name in names)]


PARTS = ("resampling", "uneven", "step", "filter", "scaling", "guard")


def start(case: Case) -> Worker:
    """Start a process."""
    return Worker(sys.executable, "benchmarks.sharding.step", case._asdict(), LIMIT_S)


def rows(part: str, particles: int, rounds: int) -> Iterator[dict[str, str]]:
    """Measure a part."""
    wanted = {str(number): case for number, case in enumerate(cases(part, particles))}
    found = measure(list(wanted), lambda number: start(wanted[number]), rounds)
    for number, case in wanted.items():
        own = found[number]
        if not own.complete or own.first is None:
            raise SystemExit(f"{part}, {case.scheme} on {case.devices} devices: {own.failure}")
        base = found["0"]
        if part == "guard":
            half = next(n for n, c in wanted.items() if c == case._replace(particles=GUARD[0]))
            base = found[half]
        yield row(part, case, own, median(own, "cpu_s") / median(base, "cpu_s"))


def median(own: Measurement, clock: str) -> float:
    """Median seconds of a call."""
    return statistics.median(run[clock] for run in own.runs)


def row(part: str, case: Case, own: Measurement, ratio: float) -> dict[str, str]:
    """Write down one scheme."""
    bar = None
    if part == "guard":
        bar = MOST if case.particles == GUARD[1] else None
    elif part in ("resampling", "step", "filter") and (case.devices, case.particles) == (DEVICES, PARTICLES):
        bar = BARS.get(case.scheme)
    assert own.first is not None
    numbers = {
        "cpu_s": median(own, "cpu_s"), "wall_s": median(own, "wall_s"), "ratio": ratio,
        "first_cpu_s": own.first["cpu_s"], "peak_mb": max(run["peak_mb"] for run in own.runs),
    }  # fmt: skip
    outputs = own.runs[-1]["outputs"]
    return {
        "part": part, "scheme": case.scheme, "devices": str(case.devices), "particles": str(case.particles),
        **{name: f"{value:.4g}" for name, value in numbers.items()},
        "bar": "" if bar is None else f"{bar:g}", "met": "" if bar is None else ("yes" if ratio <= bar else "no"),
        "mean": f"{outputs['mean']:.9g}", "log_evidence": f"{outputs['log_evidence']:.9g}",
        "rounds": str(len(own.runs)), "cores": str(usable_cores(None)), "commit": commit(),
        "versions": "; ".join(f"{name} {version}" for name, version in own.description["versions"].items()),
    }  # fmt: skip


TOLD = {
    "resampling": "One resampling; weights spread by 0.8 on the log scale",
    "uneven": "One resampling; the first device has nearly all the weight",
    "step": "One step: particles move, are weighed and resampled",
    "filter": "Four steps by `inference.smc`, beside the same without a mesh",
    "scaling": "One resampling on more and fewer devices",
    "guard": "Twice the particles: the ratio is to half of them",
}


def page(found: Sequence[dict[str, str]]) -> str:
    """Write the tables."""
    lines = [
        "# Particles on many devices",
        "",
        f"Devices are parts of one processor of {found[0]['cores']} cores. CPU seconds of the whole process, medians "
        f"of {found[0]['rounds']} calls that took turns; float32, eight dimensions; {found[0]['versions']}.",
    ]
    for part in dict.fromkeys(one["part"] for one in found):
        lines += ["", f"## {TOLD[part]}", "", "| resampling | devices | particles | CPU s | ratio | bar |"]
        lines.append("|---|---|---|---|---|---|")
        for one in found:
            if one["part"] == part:
                bar = f"{one['bar']}: {'met' if one['met'] == 'yes' else 'missed'}" if one["bar"] else ""
                size = f"{int(one['particles']):,}"
                lines.append(
                    f"| {one['scheme']} | {one['devices']} | {size} | {one['cpu_s']} | {one['ratio']} | {bar} |"
                )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure what was asked for, print it, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--particles", type=int, default=PARTICLES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, help="folder; by default results/sharding for a whole run, else none")
    options = parser.parse_args()
    whole = not options.parts and (options.particles, options.rounds) == (PARTICLES, ROUNDS)
    folder: Any = options.out or (Path(__file__).resolve().parents[1] / "results" / "sharding" if whole else None)
    found: list[dict[str, str]] = []
    for part in options.parts or PARTS:
        for one in rows(part, options.particles, options.rounds):
            found.append(one)
            verdict = f"   at most {one['bar']}: {one['met']}" if one["bar"] else ""
            name = f"{part}, {one['scheme']}, {one['devices']} devices, {int(one['particles']):,} particles"
            print(f"{name:70} {one['cpu_s']:>8} s CPU {one['wall_s']:>8} s wall {one['ratio']:>7}{verdict}", flush=True)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "steps.csv", FIELDS, found)
        (folder / "steps.md").write_text(page(found))
    return int(any(one["met"] == "no" for one in found))


if __name__ == "__main__":
    sys.exit(main())
