"""Run: the record of one execution of a program, whole or up to a pause.

Law: a program is a function of its choices, so a record can be repeated, continued and scored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lawful.addresses import Address, as_address
from lawful.messages import PlateFrame


@dataclass(frozen=True)
class Run:
    """The record of an execution.

    Attributes:
        choices: address to value, in the order in which they were made.
        log_weight: natural log of the product of the observations' densities and of the factors, so far.
        value: what the program returned; None before its end.
        finished: whether the program came to its end; a run of weight zero stops where its weight vanished.
        weighings: number of observations and factors so far.
        log_probs: address to log density of each free choice; empty where nobody asked.
        laws: address to the law of each free choice; empty where nobody asked.
        observations: address to datum.
        deterministics: named values.
        plates: the plates around a choice, an observation or a named value, where there are any.
        loop_names: the names of the loops around it, where they have any.
        fixed: choices whose value a handler of the program gave; they are not free, and their density is a weight.
        repeated: choices that were taken from another run.
        n_nonfinite: number of weights that were NaN and were read as zero.
        vanished: where the weight became zero.
        log_cut: natural log of the weight that a bounded loop cut off at its bound.
    """

    choices: Mapping[Address, Any] = field(default_factory=dict)
    log_weight: float = 0.0
    value: Any = None
    finished: bool = False
    weighings: int = 0
    log_probs: Mapping[Address, float] = field(default_factory=dict)
    laws: Mapping[Address, Any] = field(default_factory=dict)
    observations: Mapping[Address, Any] = field(default_factory=dict)
    deterministics: Mapping[Address, Any] = field(default_factory=dict)
    plates: Mapping[Address, tuple[PlateFrame, ...]] = field(default_factory=dict)
    loop_names: Mapping[Address, tuple[str | None, ...]] = field(default_factory=dict)
    fixed: frozenset[Address] = frozenset()
    repeated: frozenset[Address] = frozenset()
    n_nonfinite: int = 0
    vanished: str = ""
    log_cut: float = -math.inf

    @property
    def dead(self) -> bool:
        """Whether the weight is zero."""
        return self.log_weight == -math.inf

    @property
    def free(self) -> tuple[Address, ...]:
        """Addresses of the choices that an inference may change."""
        return tuple(address for address in self.choices if address not in self.fixed)

    @property
    def log_density(self) -> float:
        """Natural log of the density of choices and data, where the choices were scored."""
        return -math.inf if self.dead else math.fsum(self.log_probs.values()) + self.log_weight

    def __getitem__(self, name: str | Address) -> Any:
        """Return the value of one choice, by its name or address.

        >>> Run({("x", 0): 1, ("y",): 2})["y"]
        2
        """
        return self.choices[as_address(name)]

    def get(self, name: str | Address, default: Any = None) -> Any:
        """Return the value of one choice, or a default where it was not made.

        >>> Run({("x", 0): 1}).get(("x", 1), 0)
        0
        """
        return self.choices.get(as_address(name), default)


START = Run()
