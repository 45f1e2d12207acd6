"""`python -m tests.mutants [FILE]`: plant every fault, print what found it, and write FILE as evidence."""

import sys
from pathlib import Path

import jax
from hypothesis import settings

from tests.mutants.evidence import write
from tests.mutants.registry import MUTANTS, STATISTICAL, clean_checks, run, run_clean, run_seeds
from tests.mutants.table import HEADER, last_line


def main() -> int:
    jax.config.update("jax_enable_x64", True)
    settings.register_profile("evidence", derandomize=True, deadline=None, database=None)  # as the tests run
    settings.load_profile("evidence")
    print(HEADER)
    outcomes = []
    for mutant in MUTANTS:
        outcomes.append(run(mutant))
        print(outcomes[-1], flush=True)
    for check in clean_checks():
        outcomes.append(run_clean(check))
        print(outcomes[-1], flush=True)
    for statistical in STATISTICAL:
        outcomes.append(run_seeds(statistical))
        print(outcomes[-1], flush=True)
    line, clean = last_line(outcomes)
    if sys.argv[1:]:
        write(outcomes, Path(sys.argv[1]))
    print(line)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
