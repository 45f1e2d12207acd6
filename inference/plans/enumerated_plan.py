"""Enumerated plan: an inference on a program whose finite sites are summed, with these sites drawn back.

Law: its draws have the measure of the program, as those of the inference have the marginal of the sites that stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import as_address
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.arguments.constant_data import refuse_other_data
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import by_name, choices_of, dims_of

from ..checkpoints.checkpoint_folder import Checkpoint
from ..results.copies import Told
from ..results.record import WeightedParticles, masked
from ..results.recover import drawing, recover
from ..results.result import Result
from ..running.chunks import Chunk
from ..running.options import RunOptions
from ..transformers.enumeration import Enumeration, enumeration
from .plan import Prepared, key_of
from .setting_types import Sums

BACK = 0x7FFFFFFF


@dataclass(frozen=True, eq=False)
class Summed:
    """An engine that goes by the marginal of the sites that stay, by the plan `inner`; what is summed is drawn back."""

    plan: Any
    inner: Any
    summed: Enumeration

    @property
    def marginal(self) -> Form:
        """The program of the sites that stay."""
        return self.summed.marginal

    def told(self, prepared: Prepared, result: Result, key: Any) -> Result:
        """Draw the summed sites of all draws and particles back."""
        first, second = (_part(_back(one_key(key)), number) for number in range(2))
        weighted = result._weighted
        if weighted is not None:
            values = recover(self.summed, weighted.values, first, *prepared.inputs)
            weighted = WeightedParticles(values, weighted.log_weight)
        own = {"enumerated": [c.name for c in self.summed.summed], "seed": prepared.seed}
        return replace(
            result,
            _posterior=recover(self.summed, result._posterior, second, *prepared.inputs),
            _weighted=weighted,
            run={**result.run, **own, "plan": Told(lambda: self.plan.plan(*prepared.args))},
        )

    def chunk(self, prepared: Prepared, chunk: Chunk, key: Any) -> Chunk:
        """Draw the summed sites of a chunk back."""
        part = _part(_back(one_key(key)), 0 if chunk.phase == "warmup" else 1)
        draws = recover(self.summed, chunk.draws, part, *prepared.inputs, first=chunk.start) if chunk.draws else {}
        return replace(chunk, draws=draws)

    def sampler(self, prepared: Prepared) -> Callable[..., dict[str, jax.Array]]:
        """Give draws of all sites by name as a function of a key and the inputs."""
        summed = self.summed
        inner, kept = self.inner.sampler(*prepared.inputs), choices_of(summed.marginal)
        back = drawing(summed.full, tuple(c.address for c in kept))

        def draw(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
            refuse_other_data(prepared.form, inputs)
            found = inner(one_key(key), *inputs)
            columns = [jnp.nan_to_num(found[c.name]).astype(c.dtype) for c in kept]
            rows = jnp.arange(len(columns[0]))
            answers = back(_back(one_key(key)), inputs, [jnp.zeros_like(rows), rows, *columns])
            drawn = by_name(summed.choices, answers)
            return masked(drawn.values, drawn.flags)

        return draw

    def lines(self, prepared: Prepared) -> list[str]:
        """Say which sites, and what is done to the others."""
        return [self.inner.plan(*prepared.inputs), *(f"  {line}" for line in self.summed.plan())]

    def result(self, prepared: Prepared, key: Any) -> Result:
        """Run the inference on the marginal."""
        return self._whole(prepared, key, lambda plan: plan(key, *prepared.inputs))

    def iterate(self, prepared: Prepared, key: Any, options: RunOptions) -> Iterator[Chunk]:
        """Run the inference on the marginal chunk by chunk."""
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
        """Describe a run on the marginal for its checkpoints."""
        found: dict[str, Any] = self.inner.header(self.inner.prepare(tuple(prepared.inputs)))
        return found

    def memory(self, prepared: Prepared) -> int:
        """Estimate the bytes that a run takes at its peak."""
        return int(self.inner.memory(*prepared.inputs))

    def algorithm(self, prepared: Prepared) -> Form:
        """Give the algorithm on the marginal as a Form."""
        found: Form = self.inner.form(*prepared.inputs)
        return found

    def _on(self) -> Any:
        """Give the plan on the marginal, whose runs are divided as those of the whole."""
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


def summed(plan: Any, form: Form, sites: Sums, method: Any = None, reasons: tuple[str, ...] = ()) -> Summed:
    """Sum sites of a program, and put a method on the marginal, by default that of the plan; `reasons` say why another.

    Raises: LawfulError where no site is left.
    """
    found = enumeration(form, sites)
    if not choices_of(found.marginal):
        raise LawfulError(
            "enumerate: no site is left to move or to weigh, since all of them are summed, so that the answer is "
            "exact. Fix: found = inference.enumeration(lawful.trace(model, *args), sites); then "
            "found.marginal.log_density({}, *args) is the log evidence, inference.conditional_means(found, {}, "
            "*args) gives probabilities and means, and inference.recover(found, {}, key, *args) a draw. Or sum "
            "fewer sites."
        )
    chosen = (method or plan.method).beside(found)
    return Summed(plan, plan.within(found.marginal, chosen, reasons), found)


def starts_beside(summed: Enumeration, init: Any) -> Any:
    """Leave out of a start by name what is summed: it is drawn given the others, so that it has no start."""
    gone = [c.address for c in summed.summed]
    names = {c.name for c in summed.summed}
    if not init:
        return init
    return {
        name: value
        for name, value in init.items()
        if name not in names and not any(as_address(name)[: len(address)] == address for address in gone)
    }


def _back(key: jax.Array) -> jax.Array:
    """Derive the key that draws the summed sites back from that of the run, whose first numbers the run takes."""
    return jax.random.fold_in(key, BACK)


def _part(back: jax.Array, number: int) -> jax.Array:
    """Derive the key of the weighted particles or warm-up (0), or of the draws (1)."""
    return jax.random.fold_in(back, number)
