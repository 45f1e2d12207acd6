"""Enumerated plan: an inference on a program whose finite sites are summed, with these sites drawn back.

Law: its draws have the measure of the program, as those of the inference have the marginal of the sites that stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import as_address
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.arguments.constant_data import refuse_other_data
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import choices_of, dims_of
from lawful.tracing.trace import trace

from ..checkpoints.checkpoints import Checkpoint
from ..results.copies import Told
from ..results.record import WeightedParticles, masked
from ..results.recover import drawing, recover
from ..results.result import Result
from ..running.driver import Chunk
from ..running.options import RunOptions
from ..summing.enumerate_sites import Enumeration, Sites, enumeration
from ..uncalled import refuse_uncalled
from .plan import Builder, Prepared, key_of
from .resuming import gone_on, plan_of

BACK = 0x7FFFFFFF


class EnumeratedPlan:
    """An inference on a program whose finite sites are summed; its results hold these sites too.

    Attributes:
        run: how the run is divided, watched and kept.
    """

    def __init__(
        self, model: Any, sites: Sites, inner: Callable[[Enumeration], Any], run: RunOptions | None = None, *,
        told: bool = True,
    ) -> None:  # fmt: skip
        """Keep the parts; `inner` builds the inference on the marginal, whose recipe is `told` the sites."""
        refuse_uncalled(sites, "enumerate")
        self.model, self.sites, self.inner, self.run, self._told = model, sites, inner, run, told
        self.prepare = Builder(model, self._build)

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Run the inference on the marginal, and draw the summed sites back.

        Raises: as the inference does, and as `enumerate_sites`.
        """
        prepared = self.prepare(args, key, named)
        return self._whole(prepared, _back(one_key(key)), lambda plan: plan(key, *prepared.inputs))

    def iterate(self, key: Any, *args: Any, **named: Any) -> Iterator[Chunk]:
        """Run the inference on the marginal chunk by chunk, and draw the summed sites of each chunk back."""
        prepared = self.prepare(args, key, named)
        summed, plan = prepared.built
        back = _back(one_key(key))
        for chunk in plan.iterate(key, *prepared.inputs):
            part = _part(back, 0 if chunk.phase == "warmup" else 1)
            draws = recover(summed, chunk.draws, part, *prepared.inputs, first=chunk.start) if chunk.draws else {}
            yield replace(chunk, draws=draws)

    def resumed(self, found: Checkpoint, options: RunOptions, args: tuple[Any, ...]) -> Result:
        """Go on from a checkpoint; see `inference.resume`."""
        prepared = self.prepare(args)
        seed = found.header.get("seed")
        if seed is None:
            raise LawfulError(
                f"{found.path} does not tell the key of its run, which draws the summed sites back. Fix: begin with "
                "a key of a kind that has a name, as jax.random.key(0)."
            )
        prepared.seed = seed
        return self._whole(
            prepared, _back(key_of(seed)), lambda plan: gone_on(plan, found, options, tuple(prepared.inputs))
        )

    def memory(self, *args: Any, **named: Any) -> int:
        """Estimate the bytes that the run on the marginal takes at its peak; nothing is run."""
        prepared = self.prepare(args, named=named)
        return int(prepared.built[1].memory(*prepared.inputs))

    def _whole(self, prepared: Prepared, back: jax.Array, run: Callable[[Any], Result]) -> Result:
        """Run the inference, and complete its result, also where an error has one of what was finished."""
        summed, plan = prepared.built
        try:
            return self._with_sites(prepared, summed, run(plan), back)
        except LawfulError as error:
            if isinstance(error.result, Result):
                error.result = self._with_sites(prepared, summed, error.result, back)
            raise

    def sampler(self, *args: Any, **named: Any) -> Callable[..., dict[str, jax.Array]]:
        """Return the plan as a function that JAX can map, compile or combine with others.

        Returns: takes a key and the arrays among the arguments; gives draws by name, (draws, ...), of all sites.
        """
        prepared = self.prepare(args, named=named)
        summed, plan = prepared.built
        inner, kept = plan.sampler(*prepared.inputs), choices_of(summed.marginal)
        back = drawing(summed.full, tuple(c.address for c in kept))
        names, flagged = [c.name for c in summed.choices], [c.name for c in summed.choices if c.conditional]

        def draw(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
            refuse_other_data(prepared.form, inputs)
            found = inner(one_key(key), *inputs)
            columns = [jnp.nan_to_num(found[c.name]).astype(c.dtype) for c in kept]
            rows = jnp.arange(len(columns[0]))
            answers = back(_back(one_key(key)), inputs, [jnp.zeros_like(rows), rows, *columns])
            flags = dict(zip(flagged, answers[len(names) :], strict=True))
            return masked(dict(zip(names, answers, strict=False)), flags)

        return draw

    def plan(self, *args: Any, **named: Any) -> str:
        """Say which sites, and what is done to the others."""
        prepared = self.prepare(args, named=named)
        summed, plan = prepared.built
        return "\n".join([plan.plan(*prepared.inputs), *(f"  {line}" for line in summed.plan())])

    def form(self, *args: Any, **named: Any) -> Form:
        """Return the algorithm on the marginal as a Form."""
        prepared = self.prepare(args, named=named)
        return prepared.built[1].form(*prepared.inputs)

    def marginal(self, *args: Any, **named: Any) -> Form:
        """Return the program of the sites that stay."""
        return self.prepare(args, named=named).built[0].marginal

    def __repr__(self) -> str:
        """Show what is summed."""
        return f"enumerated({self.sites!r})"

    def _build(self, form: Form) -> tuple[Enumeration, Any]:
        summed = enumeration(form, self.sites)
        if not choices_of(summed.marginal):
            raise LawfulError(
                "enumerate: no site is left to move or to weigh, since all of them are summed, so that the answer is "
                "exact. Fix: found = inference.enumeration(lawful.trace(model, *args), sites); then "
                "found.marginal.log_density({}, *args) is the log evidence, inference.conditional_means(found, {}, "
                "*args) gives probabilities and means, and inference.recover(found, {}, key, *args) a draw. Or sum "
                "fewer sites."
            )
        plan = self.inner(summed)
        if self._told:
            chains = plan_of(plan)
            method, options = chains.recipe
            chains.recipe = method, None if options is None else {**options, "enumerate": self.sites}
        return summed, plan

    def _with_sites(self, prepared: Prepared, summed: Enumeration, result: Result, key: jax.Array) -> Result:
        first, second = _part(key, 0), _part(key, 1)
        more = result.more
        weighted = result._weighted
        if weighted is not None:
            values = recover(summed, weighted.values, first, *prepared.inputs)
            weighted = WeightedParticles(values, weighted.log_weight)
        observed = {"observed_data": prepared.observed} if prepared.observed else {}
        form = trace(self.model, *prepared.args)
        return replace(
            result,
            _posterior=recover(summed, result._posterior, second, *prepared.inputs),
            _weighted=weighted,
            groups={**result.groups, **observed},
            form=form,
            model=self.model,
            args=prepared.args,
            dims=dims_of(choices_of(form, ("sample", "deterministic"))),
            run={
                **result.run,
                "seed": prepared.seed,
                "enumerated": [c.name for c in summed.summed],
                "plan": Told(lambda: self.plan(*prepared.args)),
            },
            found=(*result.found, *prepared.unread),
            more=None if more is None else lambda draws: self._with_sites(prepared, summed, more(draws), key),
        )


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
