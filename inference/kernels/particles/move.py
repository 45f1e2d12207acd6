"""Move: apply a kernel, or a bare proposal, to every particle of a population.

Law: that of `transformers.move`; a bare proposal means its Metropolis-Hastings kernel.
"""

from __future__ import annotations

from typing import Any

from ...contract import Transformer
from ...transformers.move import move_by
from ..combine.mh import as_kernel


def move(kernel: Any) -> Transformer:
    """Apply a kernel once to each particle of a population that was spawned from a traced program.

    >>> from lawful.inference import kernels
    >>> move(kernels.mh())
    move(mh(single_site()))
    """
    return move_by(as_kernel(kernel))
