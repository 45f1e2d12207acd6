"""Recovery: draws of summed sites, from their exact conditional given each draw of the sites that stay.

Law: where the sites that stay have the program's marginal, they have, together with the recovered ones, its measure.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.analysis import without_dead_code
from lawful.constant_data import refuse_other_data
from lawful.emitter import emit
from lawful.errors import LawfulError
from lawful.form import Form
from lawful.record import choices_of, dims_of
from lawful.tracing import split_arguments, trace

from .batches import BatchSize, in_batches, in_one_row
from .densities import as_choice, leading_axes
from .enumerate_sites import Enumeration, Sites, enumeration, given_sites
from .plan import Builder, Prepared, Told, masked, one_key
from .result import Result, WeightedParticles
from .uncalled import refuse_uncalled


def recover(
    summed: Enumeration, draws: Mapping[str, Any], key: Any, *args: Any, batch_size: BatchSize = "auto"
) -> dict[str, np.ndarray]:
    """Draw the summed sites back.

    Args:
        summed: the program with its sites summed, from `enumeration`.
        draws: values of every site that stays, (chain, draw, ...) by name.
        key: a random key.
        args: the program's arguments.
        batch_size: draws a batch.

    Returns: all choices of the program, and what it names, by name, (chain, draw, ...); NaN where an arm did not run.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> def coins():
    ...     p = lawful.sample("p", dist.Beta(1.0, 1.0))
    ...     lawful.sample("z", dist.Bernoulli(p))
    ...     lawful.factor("f", -p)
    >>> summed = enumeration(lawful.trace(coins), ["z"])
    >>> sure = recover(summed, {"p": np.ones((1, 5))}, jax.random.key(0))
    >>> sure["z"].tolist()
    [[1, 1, 1, 1, 1]]
    """
    inputs, _, _ = split_arguments(args)
    kept = choices_of(summed.marginal)
    lead = leading_axes(draws) if draws else (1, 1)
    columns = [in_one_row(as_choice(choice, draws[choice.name])) for choice in kept]
    count = int(np.prod(lead))
    function = functools.partial(_drawing(summed.full, tuple(c.address for c in kept)), one_key(key), inputs)
    answers = in_batches(function, [np.arange(count, dtype=np.int32), *columns], count, batch_size)
    shaped = [answer.reshape(*lead, *answer.shape[1:]) for answer in answers]
    names = [c.name for c in summed.choices]
    flags = dict(zip((c.name for c in summed.choices if c.conditional), shaped[len(names) :], strict=True))
    return masked(dict(zip(names, shaped, strict=False)), flags)


_compiled: weakref.WeakKeyDictionary[Form, Callable[..., Any]] = weakref.WeakKeyDictionary()


def _drawing(full: Form, kept: tuple[Any, ...]) -> Callable[..., Any]:
    """Compile the draws of many points, once per form."""
    if full not in _compiled:
        run = emit(without_dead_code(given_sites(full, kept)))

        def one(key: jax.Array, inputs: Any, row: list[Any]) -> Any:
            index, *values = row
            return run(jax.random.fold_in(key, index), *inputs, *values)[0]

        _compiled[full] = jax.jit(jax.vmap(one, (None, None, 0)))
    return _compiled[full]


class EnumeratedPlan:
    """An inference on a program whose finite sites are summed; its results hold these sites too."""

    def __init__(self, model: Any, sites: Sites, inner: Callable[[Form], Any]) -> None:
        """Keep the parts; `inner` builds the inference on the marginal."""
        refuse_uncalled(sites, "enumerate")
        self.model, self.sites, self.inner = model, sites, inner
        self.prepare = Builder(model, self._build)

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Run the inference on the marginal, and draw the summed sites back.

        Raises: as the inference does, and as `enumerate_sites`.
        """
        prepared = self.prepare(args, key, named)
        summed, plan = prepared.built
        run_key, back_key = (jax.random.fold_in(one_key(key), part) for part in range(2))
        try:
            result = plan(run_key, *prepared.inputs)
        except LawfulError as error:
            if isinstance(error.result, Result):  # what was finished, with all sites
                error.result = self._with_sites(prepared, summed, error.result, back_key)
            raise
        return self._with_sites(prepared, summed, result, back_key)

    def sampler(self, *args: Any, **named: Any) -> Callable[..., dict[str, jax.Array]]:
        """Return the plan as a function that JAX can map, compile or combine with others.

        Returns: takes a key and the arrays among the arguments; gives draws by name, (draws, ...), of all sites.
        """
        prepared = self.prepare(args, named=named)
        summed, plan = prepared.built
        inner, kept = plan.sampler(*prepared.inputs), choices_of(summed.marginal)
        back = _drawing(summed.full, tuple(c.address for c in kept))
        names, flagged = [c.name for c in summed.choices], [c.name for c in summed.choices if c.conditional]

        def draw(key: jax.Array, *inputs: Any) -> dict[str, jax.Array]:
            refuse_other_data(prepared.form, inputs)
            run_key, back_key = (jax.random.fold_in(one_key(key), part) for part in range(2))
            found = inner(run_key, *inputs)
            columns = [jnp.nan_to_num(found[c.name]).astype(c.dtype) for c in kept]
            answers = back(back_key, inputs, [jnp.arange(len(columns[0])), *columns])
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
                "enumerate: no site is left to move or to weigh, since all of them are summed. Fix: use "
                "inference.enumerate(model), which gives the exact measure, or sum fewer sites."
            )
        return summed, self.inner(summed.marginal)

    def _with_sites(self, prepared: Prepared, summed: Enumeration, result: Result, key: jax.Array) -> Result:
        first, second = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
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
            more=None,
        )
