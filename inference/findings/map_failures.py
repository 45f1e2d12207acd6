"""Map failures: moves that a map could not make.

Law: such moves are rejected, which keeps the posterior; what is lost is where they would have led.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .findings import Finding

# Code, number of the kernel, what happened, remedy.
FAULTS = (
    (
        "NO_RETURN",
        "n_no_return",
        "the map, applied twice, did not lead back to the start (check.involution(kernel, model, *args) shows where)",
        "let the map be its own inverse, also in the auxiliary values that it returns",
    ),
    (
        "UNMATCHED",
        "n_unmatched",
        "the map led to a state with another number of continuous coordinates, so there is no ratio of densities",
        "draw an auxiliary value for each coordinate that begins, and keep in one each that stops",
    ),
)


def map_findings(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the maps of involutive kernels, from the numbers of all steps.

    >>> [finding.code for finding in map_findings({"n_no_return": [0, 2]})]
    ['NO_RETURN']
    """
    for code, name, what, fix in FAULTS:
        count = int(np.sum(np.asarray(numbers.get(name, 0))))
        if count:
            text = f"{count} moves were rejected because {what}. The posterior is kept, but these moves are lost."
            yield Finding(code, f"{text} Fix: {fix}.", value=count, limit=0)
