"""`python -m lawful.inference.check [ROW ...]`: check the law of every registered row; print programs and errors."""

from __future__ import annotations

import argparse
import sys
import time

import jax

from .eager import eager_verdicts
from .law import identity_rows, rows_named, verdicts


def main() -> int:
    """Run the rows; the exit code is 0 when every law holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="parts of row names; default: all rows")
    parser.add_argument("--programs", type=int, default=50, help="random programs by the reference enumerator")
    parser.add_argument("--structures", type=int, default=12, help="compiled structures")
    parser.add_argument("--parameters", type=int, default=100, help="parameter sets of each compiled structure")
    parser.add_argument("--workers", type=int, default=2, help="processes that share the rows")
    chosen = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    start = time.perf_counter()
    held, worst, programs = True, 0.0, 0
    print(f"{'row':<44} {'programs':>8} {'sets':>6} {'branch':>6} {'paths':>9} {'error':>9} {'s':>6}  verdict")
    names = [row.name for row in rows_named(chosen.rows)]
    sizes = (chosen.programs, chosen.structures, chosen.parameters)
    processes = verdicts(names, sizes, chosen.workers)
    eager_rows, identities = list(eager_verdicts(chosen.rows)), list(identity_rows())  # meanwhile
    for verdict in processes:
        row, report = verdict.row, verdict.report
        held, worst = held and report.passed, max(worst, report.measure_error or 0.0)
        programs += verdict.programs
        print(
            f"{row.name:<44} {verdict.programs:>8} {verdict.parameter_sets:>6} {verdict.structured:>6} "
            f"{report.paths:>9} {report.measure_error:>9.1e} {verdict.seconds:>6.1f}  {report.status}",
            flush=True,
        )
        if not report.passed:
            print(report.remarks, file=sys.stderr)
    for eager in eager_rows:
        report = eager.report
        held, worst = held and report.passed, max(worst, report.measure_error or 0.0)
        programs += eager.programs
        print(
            f"{eager.row.name:<44} {eager.programs:>8} {'':>6} {eager.structured:>6} {report.paths:>9} "
            f"{report.measure_error:>9.1e} {eager.seconds:>6.1f}  {report.status}",
            flush=True,
        )
        if not report.passed:
            print(report.remarks, file=sys.stderr)
    for row, report in identities:
        held = held and report.passed
        print(
            f"{row.name:<44} {'':>8} {report.instances:>6} {'':>6} {'':>9} {report.measure_error:>9.1e} {'':>6}  "
            f"{report.status} (density identities)"
        )
    print(f"{programs} programs, largest error {worst:.1e}, {time.perf_counter() - start:.0f} s")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
