"""Options table: which options of a run go with which methods, made of the register and the rules of refusals.

Law: a cell is empty where the plan is refused, with the reason and the remedy that the refusal gives.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lawful.inference.plans.refusals import refusal
from lawful.inference.registered import all_methods, method_of
from lawful.inference.running.options import RunOptions

OPTIONS: dict[str, dict[str, Any]] = {
    "chunks": {"run": RunOptions()},
    "checkpoints": {"run": RunOptions(checkpoint="run/")},
    "store": {"run": RunOptions(store="draws.zarr")},
    "devices": {"mesh": "any"},
    "faults as flags": {"on_fault": "flag"},
    "summed sites": {"enumerate": "all"},
    "eager": {"mode": "eager"},
    "one by one": {"chain_method": "sequential"},
}


def cell(method: str, option: str) -> str | None:
    """Say why a method does not take an option; None where it does.

    >>> cell("pmmh", "summed sites"), cell("smc", "one by one")
    (None, 'smc: chain_method= is of methods with chains. Fix: leave out chain_method=.')
    """
    kind, given = method_of(method), OPTIONS[option]
    unknown = given.keys() - {f.name for f in fields(kind)}
    if unknown:
        return f"{method}: {min(unknown)}= is of methods with chains. Fix: leave out {min(unknown)}=."
    found = refusal(kind, given)
    return found and found[1]


def table() -> str:
    """Write the table in Markdown, a line a method of the library.

    >>> print(table().splitlines()[0])
    | method | chunks | checkpoints | store | devices | faults as flags | summed sites | eager | one by one |
    """
    rows = [["method", *OPTIONS], ["---", *("---" for _ in OPTIONS)]]
    for name in sorted(name for name, kind in all_methods().items() if kind.__module__.startswith("lawful.")):
        rows.append([f"`{name}`", *("" if cell(name, option) else "yes" for option in OPTIONS)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
