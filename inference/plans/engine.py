"""Engine: what a plan asks of an algorithm that was written and compiled for the form of a program.

Law: what an engine gives is a function of the key and the inputs; how a run is divided, watched and kept changes no
draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import jax

from lawful.form import Form

from ..checkpoints.checkpoint_folder import Checkpoint
from ..results.result import Result
from ..running.chunks import Chunk
from ..running.options import RunOptions
from .plan import Prepared


@runtime_checkable
class Engine(Protocol):
    """An algorithm written and compiled for the form of a program."""

    @property
    def plan(self) -> Any:
        """The plan that the engine is of."""

    def result(self, prepared: Prepared, key: Any) -> Result:
        """Run."""

    def iterate(self, prepared: Prepared, key: Any, options: RunOptions) -> Iterator[Chunk]:
        """Run chunk by chunk."""

    def resumed(self, prepared: Prepared, found: Checkpoint, options: RunOptions) -> Result:
        """Go on from a checkpoint."""

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run for its checkpoints."""

    def sampler(self, prepared: Prepared) -> Callable[..., dict[str, jax.Array]]:
        """Give draws by name as a function of a key and the inputs."""

    def memory(self, prepared: Prepared) -> int:
        """Estimate the bytes of a run at its peak."""

    def lines(self, prepared: Prepared) -> list[str]:
        """Say what will be done."""

    def algorithm(self, prepared: Prepared) -> Form:
        """Give the algorithm as a Form."""
