"""Rewritten program: an inference that goes by another program, and whose results are told of the program itself.

Law: how a run is divided, kept or ended early is the business of the plan on the other program; what is finished is
told of the program whether the run went to its end, was resumed, or failed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.choices import choices_of, dims_of

from ..checkpoints.checkpoints import Checkpoint
from ..results.result import Result
from ..running.driver import Chunk
from ..running.options import RunOptions
from .plan import Prepared, key_of


@dataclass(frozen=True, eq=False)
class Detour:
    """An engine that goes by another program.

    Attributes:
        plan: the plan on the program.
        inner: the plan on the other program.
    """

    plan: Any
    inner: Any

    @abstractmethod
    def told(self, prepared: Prepared, result: Result, key: Any) -> Result:
        """Tell of the program what an inference on the other one gave; the key is that of the run."""

    @abstractmethod
    def chunk(self, prepared: Prepared, chunk: Chunk, key: Any) -> Chunk:
        """Tell of the program what a chunk of the other one gave."""

    @abstractmethod
    def sampler(self, prepared: Prepared) -> Callable[..., dict[str, jax.Array]]:
        """Give draws by name as a function of a key and the inputs."""

    @abstractmethod
    def lines(self, prepared: Prepared) -> list[str]:
        """Say what will be done."""

    def result(self, prepared: Prepared, key: Any) -> Result:
        """Run the inference on the other program."""
        return self._whole(prepared, key, lambda plan: plan(key, *prepared.inputs))

    def iterate(self, prepared: Prepared, key: Any, options: RunOptions) -> Iterator[Chunk]:
        """Run the inference on the other program chunk by chunk."""
        for chunk in self._on().iterate(key, *prepared.inputs):
            yield self.chunk(prepared, chunk, key)

    def resumed(self, prepared: Prepared, found: Checkpoint, options: RunOptions) -> Result:
        """Go on from a checkpoint."""
        seed = found.header.get("seed")
        if seed is None:
            raise LawfulError(
                f"{found.path} does not tell the key of its run, which draws the summed sites back. Fix: begin with "
                "a key of a kind that has a name, as jax.random.key(0)."
            )
        prepared.seed = seed
        return self._whole(prepared, key_of(seed), lambda plan: plan.resumed(found, options, tuple(prepared.inputs)))

    def header(self, prepared: Prepared) -> dict[str, Any]:
        """Describe a run on the other program for its checkpoints."""
        found: dict[str, Any] = self.inner.header(self.inner.prepare(tuple(prepared.inputs)))
        return found

    def memory(self, prepared: Prepared) -> int:
        """Estimate the bytes that a run takes at its peak."""
        return int(self.inner.memory(*prepared.inputs))

    def algorithm(self, prepared: Prepared) -> Form:
        """Give the algorithm on the other program as a Form."""
        found: Form = self.inner.form(*prepared.inputs)
        return found

    def _on(self) -> Any:
        """Give the plan on the other program, whose runs are divided as those of the whole."""
        self.inner.run = self.plan.run
        return self.inner

    def _whole(self, prepared: Prepared, key: Any, run: Callable[[Any], Result]) -> Result:
        """Run, and tell the result, also where an error has one of what was finished."""
        try:
            return self._about(prepared, run(self._on()), key)
        except LawfulError as error:
            if isinstance(error.result, Result):
                error.result = self._about(prepared, error.result, key)
            raise

    def _about(self, prepared: Prepared, result: Result, key: Any) -> Result:
        """Tell a result, with the program, its data, and what is unread in them."""
        told, more = self.told(prepared, result, key), result.more
        observed = {"observed_data": prepared.observed} if prepared.observed else {}
        return replace(
            told,
            groups={**result.groups, **observed},
            form=prepared.form,
            model=self.plan.model,
            args=prepared.args,
            dims=dims_of(choices_of(prepared.form, ("sample", "deterministic"))),
            found=(*result.found, *prepared.unread),
            more=None if more is None else lambda draws: self._about(prepared, more(draws), key),
        )
