"""Recover: draws of summed sites, from their exact conditional given each draw of the sites that stay.

Law: where the sites that stay have the program's marginal, they have, together with the recovered ones, its measure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from lawful.backends.compile_options import sparingly
from lawful.backends.xla import emit
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import by_name, choices_of
from lawful.form.pipeline import per_form

from ..transformers.enumeration import Enumeration, given_sites
from .batches import BatchSize, as_choice, in_batches, in_one_row, leading_axes
from .record import masked


def recover(
    summed: Enumeration,
    draws: Mapping[str, Any],
    key: Any,
    *args: Any,
    batch_size: BatchSize = "auto",
    first: int = 0,
    count: tuple[int, int] = (1, 1),
) -> dict[str, np.ndarray]:
    """Draw the summed sites back: with one key, what a chain and a draw of it get does not depend on the others.

    Args:
        summed: the program with its sites summed, from `enumeration`.
        draws: values of every site that stays, (chain, draw, ...) by name.
        key: a random key.
        args: the program's arguments.
        batch_size: draws a batch.
        first: the number of the first draw.
        count: chains and draws, where no site stays and `draws` is empty.

    Returns: all choices of the program, and what it names, by name, (chain, draw, ...); NaN where an arm did not run.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> from lawful.inference import enumeration
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
    lead = leading_axes(draws) if draws else count
    columns = [in_one_row(as_choice(choice, draws[choice.name])) for choice in kept]
    rows = int(np.prod(lead))
    places = [in_one_row(x) for x in np.indices(lead, np.int32)]
    places[1] = places[1] + np.int32(first)
    function = functools.partial(drawing(summed.full, tuple(c.address for c in kept)), one_key(key), inputs)
    answers = in_batches(function, [*places, *columns], rows, batch_size)
    shaped = [answer.reshape(*lead, *answer.shape[1:]) for answer in answers]
    found = by_name(summed.choices, shaped)
    return masked(found.values, found.flags)


@per_form
def drawing(full: Form, kept: tuple[Any, ...]) -> Callable[..., Any]:
    """Compile the draws of many points, once per form."""
    run = emit(given_sites(full, kept))

    def one(key: jax.Array, inputs: Any, row: list[Any]) -> Any:
        chain, draw, *values = row
        return run(jax.random.fold_in(jax.random.fold_in(key, chain), draw), *inputs, *values)[0]

    return sparingly(jax.vmap(one, (None, None, 0)))
