"""Table: the outcomes of all mutants as text, with the count of kills and of alarms of the clean code."""

from collections.abc import Sequence

from tests.mutants.registry import MUTANTS, Outcome

HEADER = f"{'id':<6} {'check that must find it':<52} {'tier':<3}{'error':>9}  {'evidence':<12} {'s':>6}  outcome"
EQUIVALENT = {mutant.id for mutant in MUTANTS if mutant.equivalent}


def last_line(outcomes: Sequence[Outcome]) -> tuple[str, bool]:
    """The count of kills and alarms, and whether all is as it should be."""
    faults = [o for o in outcomes if o.id != "clean" and o.id not in EQUIVALENT]
    killed = sum(o.verdict == "killed" for o in faults)
    alarms = sum(o.alarms for o in outcomes) + sum(not o.report.passed for o in outcomes if o.id in EQUIVALENT)
    seeds = max((o.seeds for o in outcomes), default=1)
    line = f"{killed} of {len(faults)} killed, {alarms} alarms" + (f" in {seeds} clean seeds" if seeds > 1 else "")
    return line, killed == len(faults) and not alarms
