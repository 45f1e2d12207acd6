"""Refusals: which options of a run go with which methods, and what is said where one does not.

Law: every method takes every option, but where a rule of this file says why not, and what to do. The rules read the
method's class and the settings alone, so that a table of all methods and options can be made before anything is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from lawful.errors import LawfulError

USUAL = {  # none of these is refused
    "enumerate": None, "mode": "staged", "run": None, "progress": None, "mesh": None, "chain_method": "vectorized",
}  # fmt: skip
EAGER = "eager"  # in the metadata of a field: the values that it has in mode "eager"


@dataclass(frozen=True)
class Refusal:
    """A rule: the option at fault, for which kind of method and settings, and why, with what to do instead."""

    option: str
    applies: Callable[[Any, Mapping[str, Any]], bool]
    why: str


def _has(name: str) -> Callable[[Any, Mapping[str, Any]], bool]:
    """Tell whether the options of the run ask for checkpoints or a store."""
    return lambda kind, given: getattr(given["run"], name, None) is not None


def _eager(kind: Any, given: Mapping[str, Any]) -> bool:
    return bool(given["mode"] == "eager")


def _one_by_one(kind: Any, given: Mapping[str, Any]) -> bool:
    return given.get("chain_method") == "sequential"


def _both(*rules: Callable[[Any, Mapping[str, Any]], bool]) -> Callable[[Any, Mapping[str, Any]], bool]:
    return lambda kind, given: all(rule(kind, given) for rule in rules)


def _summed(kind: Any, given: Mapping[str, Any]) -> bool:
    return given["enumerate"] is not None


REFUSALS = (
    *(
        Refusal(
            name,
            # the default holds the name of this round; the types of a lambda with one are not inferred
            lambda kind, given, name=name: kind.sums and given[name] not in (None, False),  # type: ignore[misc]
            f"{{method}}: {name}: {{method}} gives sums, not draws, so {why}. Fix: leave out {name}=.",
        )
        for name, why in (
            ("run", "there is nothing to divide, to keep on the way or to store"),
            ("progress", "there is nothing to count on the way"),
            ("mesh", "there is nothing to share among devices"),
        )
    ),
    Refusal(
        "mode",
        lambda kind, given: _eager(kind, given) and not kind.runs_eagerly,
        "{method}: mode='eager' runs the program as it is, and {method} rewrites its Form. Fix: mode='staged', or "
        "smc, importance or mcmc, which have an eager mode.",
    ),
    Refusal(
        "mesh",
        lambda kind, given: given["run"] is not None and getattr(given["mesh"], "is_multi_process", False),
        "{method}: a run in chunks (run=, iterate, resume) is on the devices of one process, and those of mesh= are of "
        "several. Fix: leave out mesh=, or call the plan without run=, which runs it as a whole.",
    ),
    Refusal(
        "chain_method",
        _both(_one_by_one, lambda kind, given: given["run"] is not None),
        "{method}: a run in chunks (run=, iterate, resume) takes the steps of all chains side by side, and "
        "chain_method='sequential' was given. Fix: leave out chain_method=, or call the plan without run=, which runs "
        "it as a whole.",
    ),
    Refusal(
        "mesh",
        _both(_one_by_one, lambda kind, given: given["mesh"] is not None),
        "{method}: the devices of a mesh run chains side by side. Fix: leave out mesh=, or chain_method='sequential'.",
    ),
    *(
        Refusal(
            name,
            _both(_eager, _has(name)),
            f"{{method}}: {name}: with mode='eager' a run holds objects of any kind, which no file can hold without "
            f"being trusted. Fix: leave out {name}=, or mode='staged'.",
        )
        for name in ("checkpoint", "store")
    ),
    Refusal(
        "store",
        _both(_has("store"), lambda kind, given: kind.shared == "particles"),
        "{method}: store: particles are draws once their run has ended, so there is nothing to write on the way. Fix: "
        "leave out store=, and write the result, result.save('draws.zarr'); checkpoint= keeps the run.",
    ),
    Refusal(
        "store",
        _both(_has("store"), lambda kind, given: kind.shared == "starts"),
        "{method}: store: a search leaves one point, so there is nothing to write on the way. Fix: leave out store=, "
        "and write the result, result.save('optima.zarr'); checkpoint= keeps the run.",
    ),
    Refusal(
        "store",
        _both(_has("store"), lambda kind, given: kind.shared == "paths"),
        "{method}: store: a fit leaves one guide, so there is nothing to write on the way. Fix: leave out store=, and "
        "write the result, result.save('draws.zarr'); checkpoint= keeps the run.",
    ),
    Refusal(
        "store",
        _both(_has("store"), _summed),
        "{method}: with enumerate= the summed sites are drawn back after the run, and a store holds the draws of the "
        "others alone. Fix: leave out store=, or give the marginal as the model: "
        "{method}(inference.marginalise(sites)(lawful.trace(model, *args)), ...).",
    ),
    Refusal(
        "enumerate",
        lambda kind, given: _summed(kind, given) and given.get("keep", "paths") == "last",
        "{method}: enumerate= draws the summed sites back from the paths. Fix: keep='paths'.",
    ),
)


def refusal(kind: Any, given: Mapping[str, Any]) -> tuple[str, str] | None:
    """Say which setting a method does not take, and why, with what to do; None where it takes all.

    Settings that are missing have their defaults.

    >>> from lawful.inference.registered import method_of
    >>> refusal(method_of("tempered_smc"), {"mode": "eager"})[1][:49]
    "tempered_smc: mode='eager' runs the program as it"
    >>> refusal(method_of("tempered_smc"), {"enumerate": "all"})
    """
    settings = {f.name: f.default for f in fields(kind) if f.default is not MISSING} | dict(given)
    for rule in REFUSALS:
        if rule.applies(kind, settings):
            return rule.option, rule.why.format(method=kind.name)
    if settings["mode"] == "eager":
        for f in fields(kind):
            known = f.metadata.get(EAGER)
            if known is not None and not any(_is(settings[f.name], one) for one in known):
                return f.name, (
                    f"{kind.name}: {f.name}={settings[f.name]!r} needs mode='staged'. Fix: with mode='eager' give "
                    f"{' or '.join(map(repr, known))}."
                )
    return None


def refuse(kind: Any, given: Mapping[str, Any]) -> None:
    """Refuse settings that a method does not take, with the option at fault.

    Raises: LawfulError saying why, and what to do.
    """
    found = refusal(kind, given)
    if found is not None:
        raise LawfulError(found[1], option=found[0])


def _is(given: Any, known: Any) -> bool:
    return given is known or (type(given) is type(known) and given == known)
