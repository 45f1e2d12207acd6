"""Drawn: what the chains of a run left, whether it ran as a whole or in chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .chain_loop import ChainLoop
from .one_by_one import OneByOne
from .tuned_loop import TunedLoop


class Drawn(NamedTuple):
    """What chains left: states of warm-up and draws, (step, chain, ...), and numbers of all steps, (step, chain)."""

    early: Sequence[Any]
    late: Sequence[Any]
    numbers: Sequence[Any]
    warm: int
    last: Sequence[Any]
    tuned: Mapping[str, Any]


def whole_run(loop: ChainLoop | TunedLoop | OneByOne, out: Mapping[str, Any]) -> Drawn:
    """Read what the whole loop gave; on the host warm-up and draws are parts of one array, and none is copied."""
    early, late = loop.parts([[np.asarray(x) for x in states] for states in out["kept"]])
    return Drawn(early, late, out["numbers"], loop.warmup, out["last"], out.get("tuned", {}))
