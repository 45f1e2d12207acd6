"""`python -m lawful.inference.check [ROW ...]`: check the law of every registered row; print programs and errors."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence

import jax

from lawful.backends.compile_options import compile_quickly

from .rows.eager import EAGER_ROWS
from .rows.law import eager_verdicts, identity_verdicts, verdicts
from .rows.rows import IDENTITIES, ROWS
from .rows.verdict import HEADING, is_chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows; the exit code is 0 when every law holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="parts of row names; default: all rows")
    parser.add_argument("--programs", type=int, default=50, help="random programs by the reference enumerator")
    parser.add_argument("--structures", type=int, default=12, help="compiled structures")
    parser.add_argument("--parameters", type=int, default=100, help="parameter sets of each compiled structure")
    parser.add_argument("--workers", type=int, default=2, help="processes that share the rows")
    chosen = parser.parse_args(arguments)
    names = [*(row.name for row in (*ROWS, *IDENTITIES)), *(row.name for row in EAGER_ROWS)]
    for part in chosen.rows:
        if not any(is_chosen(name, [part]) for name in names):
            parser.error(f"no row has {part!r} in its name. Fix: give a part of one of these: {'; '.join(names)}.")
    jax.config.update("jax_enable_x64", True)
    start = time.perf_counter()
    held, worst, programs = True, 0.0, 0
    print(HEADING)
    sizes = (chosen.programs, chosen.structures, chosen.parameters)
    elsewhere = verdicts(chosen.rows, sizes, chosen.workers)
    here = [*eager_verdicts(chosen.rows), *identity_verdicts(chosen.rows)]  # while the other processes run
    for verdict in itertools.chain(elsewhere, here):
        report = verdict.report
        held, worst = held and report.passed, max(worst, verdict.error)
        programs += verdict.programs
        print(verdict, flush=True)
        if not report.passed:
            print(f"{report.remarks}\nrepeat with: {report.repro}", file=sys.stderr)
    print(f"{programs} programs, largest error {worst:.1e}, {time.perf_counter() - start:.0f} s")
    return 0 if held else 1


if __name__ == "__main__":
    compile_quickly()  # before anything is compiled; not for a process that calls main for itself
    sys.exit(main())
