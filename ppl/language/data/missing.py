"""Missing data: the elements of an observation that were not observed, as a site of their own.

Law: with missing elements the density is that of the observed ones, times that of the missing ones at the site
`<name>.missing`. Where nothing reads the completed value, the missing elements integrate to one, so a traced program
drops that site; where something does, or where it is asked for, they are imputed. The site has the shape of the data,
and elements that were observed are absent from it (`distributions.absent`). What the data hold at missing elements has
no influence on any value or gradient.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...addresses import indices_of, names_of
from ...distributions.absent import guarded
from ...distributions.censoring import law_within
from ...distributions.families import core_of
from ...distributions.law import law_of
from ...distributions.marginal_normal import is_of_parts, law_of_missing_parts
from ...distributions.parameter_constraints import is_everywhere
from ...distributions.weighting import both
from ...errors import LawfulError
from ...messages import SampleMessage, send, site_at


def missing(data: Any) -> tuple[jax.Array, jax.Array]:
    """Read NaN as missing: the data with zero in place of NaN, and the mask of what is present.

    >>> values, present = missing([1.0, float("nan")])
    >>> values.tolist(), present.tolist()
    ([1.0, 0.0], [True, False])
    """
    array = jnp.asarray(data)
    present = ~jnp.isnan(array)
    return jnp.where(present, array, jnp.zeros((), array.dtype)), present


def complete(message: SampleMessage, distribution: Any, impute: bool = False, lanes: Any = None) -> None:
    """Draw the missing elements of an observation and put them into its value.

    Args:
        message: the observation.
        distribution: its distribution as it was before the mask.
        impute: keep them as choices also where nothing reads them.
        lanes: which lanes of a loop are there; None for all.

    Raises: LawfulError where no handler gives the missing elements a value.
    """
    present = message.present
    if is_everywhere(present):
        return
    parts, law = is_of_parts(distribution, present), distribution
    if message.interval is not None:
        parts, law = True, law_within(distribution, message.interval, present)
    elif parts:
        law = law_of_missing_parts(distribution, message.value, present)
    if message.interval is None and not (parts and core_of(distribution).event_shape):
        absent = jnp.asarray(present) if isinstance(present, jax.core.Tracer) else np.asarray(present)
        law = guarded(law, both(~absent, None if parts else lanes))
    part = "missing" if message.interval is None else "censored"
    address = (*names_of(message.address), part, *indices_of(message.address))
    rest = SampleMessage(
        address, law, None, False, message.plates, message.source, droppable=not impute,
        event_dims=message.event_dims if len(law.event_shape) == len(message.event_dims) else (),
    )  # fmt: skip
    send(rest)
    if rest.value is None:
        raise LawfulError(
            f"{site_at(message)}: its {part} elements have no value: wrap the program in handlers.seed(program, key), "
            "or call an inference with a key.",
            site=address,
        )
    batch, shape = law_of(distribution)[0].units, tuple(distribution.shape())
    math = np if isinstance(rest.value, np.ndarray | np.generic) and not isinstance(present, jax.Array) else jnp
    mask = math.asarray(present)
    if not parts:
        mask = math.broadcast_to(mask, batch).reshape((*batch, *(1,) * (len(shape) - len(batch))))
    given, drawn = math.asarray(message.value), math.asarray(rest.value)
    dtype = np.promote_types(given.dtype, drawn.dtype)
    message.value = math.where(mask, given.astype(dtype), drawn.astype(dtype))
