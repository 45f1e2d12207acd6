"""Unrolled sites: equal sites that are compiled one by one, since no loop holds them, and what that costs.

Law: a site that was rolled into a loop is never counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...addresses import Address
from ...form import Det, Form, Node, Site, subforms, walk
from ...form.builder import LogProb
from ...messages import Source

MANY_SITES = 50
SECONDS = (0.025, 0.040)  # to trace and compile one site, measured on CPU


class UnrolledWarning(UserWarning):
    """Many equal sites are compiled one by one."""


@dataclass(frozen=True)
class Straight:
    """Equal sites of one line that no loop holds: how many, the first address, the line, and the family."""

    count: int
    address: Address
    source: Source
    label: str

    @property
    def found(self) -> str:
        """What was found, with the estimate."""
        low, high = (self.count * seconds for seconds in SECONDS)
        return (
            f"{self.count} equal sites {self.label} come from one line, in steps that differ, so each is compiled by "
            f"itself: about {low:.1f} to {high:.1f} s."
        )


REMEDY = "write the sequence with lawful.scan, or independent sites with one site in a plate."


def straight(form: Form) -> Iterator[Straight]:
    """List the groups of many equal sites (or scores of sites) of one line in a form that was rolled."""
    for inner in (form, *(inner for node in walk(form) for inner in subforms(node))):
        groups: dict[tuple[Source, Any], list[Node]] = {}
        for node in inner.nodes:
            if isinstance(node, Site):
                law = node.law
            elif isinstance(node, Det) and isinstance(node.function, LogProb) and node.source.line:
                law = node.function.law
            else:
                continue
            groups.setdefault((node.source, law), []).append(node)
        for (source, law), nodes in groups.items():
            if len(nodes) > MANY_SITES:
                yield Straight(len(nodes), getattr(nodes[0], "address", None) or (), source, law.label)


_warned: set[Source] = set()


def warn_straight(form: Form) -> None:
    """Warn of the straight-line code of a form, once for each line of the program."""
    for group in straight(form):
        if group.source not in _warned and group.source.line:
            _warned.add(group.source)
            warnings.warn(f"{group.source}: {group.found} Fix: {REMEDY}", UnrolledWarning, stacklevel=3)
