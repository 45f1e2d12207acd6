"""Rows: what `make law` checks, one row per transformer, composition or kernel.

Law: a row whose contract is exact is checked by both enumerators; a row that cannot be enumerated says by which check
it is. A newcomer adds one row and gets all laws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..kernels import mh, random_walk
from ..moving import move
from ..numerics.resampling import scheme
from ..representations.sequential import Suspend
from ..representations.traced import Trace
from ..smc import particle_filter
from ..transformer import Transformer
from ..transformers import (
    PRESERVES,
    Advance,
    Collapse,
    Finish,
    PushEvidence,
    ess_below,
    repeat_to_end,
    resample,
    spawn,
)

SCHEMES = ("multinomial", "systematic", "stratified", "residual")


# Enumeration reads a program as it is: the row compares the two enumerators with each other.
Enumerate = Transformer("enumerate", lambda form: form, PRESERVES)


@dataclass(frozen=True)
class Row:
    """One row: a name, what is checked, and what kind of programs it needs."""

    name: str
    subject: Any
    loops: bool = False
    particles: int = 2
    max_paths: int = 500
    steps: int = 0

    @property
    def is_kernel(self) -> bool:
        """Whether the subject is a Markov kernel."""
        return hasattr(self.subject, "build")


def _filter(name: str, n: int, below: float | None) -> Any:
    when = None if below is None else ess_below(below)
    return Suspend >> particle_filter(n, scheme(name), when)


ROWS: tuple[Row, ...] = (
    Row("enumerate", Enumerate, particles=1, max_paths=60),
    Row("spawn", spawn(2)),
    Row("importance: collapse . push_evidence . spawn", spawn(2) >> PushEvidence >> Collapse),
    *(Row(f"resample {name}", spawn(2) >> resample(scheme(name))) for name in SCHEMES),
    Row("resample adaptive, N = 3", spawn(3) >> resample(scheme("systematic"), ess_below(0.9)), particles=3),
    Row("advance, finish", Suspend >> spawn(2) >> repeat_to_end(Advance) >> Finish, loops=True),
    *(Row(f"smc {name}", _filter(name, 2, None), loops=True, steps=2) for name in SCHEMES),
    Row("smc systematic adaptive, N = 2", _filter("systematic", 2, 0.9), loops=True, steps=2),
    Row(
        "smc systematic adaptive, N = 3",
        _filter("systematic", 3, 0.9),
        loops=True,
        particles=3,
        max_paths=6000,
        steps=2,
    ),
    Row("smc multinomial adaptive, collapsed", _filter("multinomial", 2, 0.9) >> Collapse, loops=True, steps=2),
    Row("move: mh after resampling", Trace >> spawn(2) >> resample(scheme("systematic")) >> move(mh()), max_paths=40),
    Row("mh single site", mh(), particles=1, max_paths=16),
)

IDENTITIES: tuple[Row, ...] = (Row("mh random walk", mh(random_walk(0.7))),)
