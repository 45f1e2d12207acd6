"""Signatures: the signature and the documentation of the call of a method, read off its class.

Law: the call says what the class and its bases say, each field once.
"""

import inspect
import re
from typing import Any

from ..plans.plan import Plan

EXECUTION = ("enumerate", "mode", "run", "progress", "mesh", "chain_method")  # how a run is executed: what comes last
COMMON = ("on_fault", *EXECUTION)


def ordered(kind: type) -> list[inspect.Parameter]:
    """List the fields as parameters: those that are needed first, and how a run is executed last."""
    found = inspect.signature(kind).parameters.values()
    return sorted(found, key=lambda p: (p.kind, p.default is not p.empty, (p.name in COMMON) + (p.name in EXECUTION)))


def signature(kind: type) -> inspect.Signature:
    """Give the signature of the call of a method.

    >>> from lawful.inference.registered import method_of
    >>> str(signature(method_of("importance")))[:38]
    '(model, *, particles: int, runs: int ='
    """
    model = inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = [p.replace(annotation=_plain(p.annotation)) for p in ordered(kind)]
    return inspect.Signature([model, *given], return_annotation=Plan)


def documentation(kind: type) -> str:
    """Write the documentation of the call of a method: that of its class, with the arguments of its bases.

    >>> from lawful.inference.registered import method_of
    >>> print(next(line for line in documentation(method_of("importance")).splitlines() if "keep:" in line))
        keep: "paths" gives every choice with its history; "last" gives only what the program returns, in memory
    """
    said: dict[str, str] = {"model": "model: a program.\n"}
    for base in reversed(kind.__mro__):
        said |= arguments_of(base)
    before, _, after = inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")
    rest = re.split(r"^(?=\S)", after, maxsplit=1, flags=re.MULTILINE)[1:] if after else []
    listed = ["model", *(p.name for p in ordered(kind))]
    arguments = "".join(f"    {said.get(name, f'{name}: see the class.')}" for name in listed)
    return f"{before.rstrip()}\n\nArgs:\n{arguments}\n{''.join(rest)}".rstrip() + "\n"


def arguments_of(kind: type) -> dict[str, str]:
    """Read what the documentation of a class says of each argument."""
    text = inspect.cleandoc(kind.__doc__ or "") if "Args:\n" in (kind.__doc__ or "") else ""
    section = re.split(r"^(?=\S)", text.partition("Args:\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^    (?=\w+: )", section, flags=re.MULTILINE)[1:]
    return {part.partition(":")[0]: f"{part.rstrip()}\n" for part in parts}


def _plain(hint: Any) -> Any:
    """Show the type that a user reads: without how it is read."""
    while hasattr(hint, "__value__") and hasattr(hint.__value__, "__metadata__"):
        hint = hint.__value__.__origin__
    return hint
