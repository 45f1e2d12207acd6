"""Starts: where chains begin, from values given by name.

Law: every chain starts at the values that are given for it; one that is given once is that of all chains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import Address, as_address
from lawful.form import Form
from lawful.record import Choice
from lawful.scoring import gather_choices, scored


def spread(choices: Sequence[Choice], given: Mapping[Any, Any], chains: int) -> list[jax.Array]:
    """Arrange given values in the order of the choices, with the chains as a first axis.

    Args:
        choices: those of the program.
        given: values by name; one of shape (chains, *shape of the site) has an entry for each chain.
        chains: how many.

    Raises: LawfulError for a missing site, an unknown name, or a wrong shape.
    """
    named = {as_address(name): value for name, value in given.items()}
    own: dict[Address, Any] = {
        c.address: named[c.address]
        for c in choices
        if c.address in named and jnp.shape(named[c.address]) == (chains, *c.full_shape)
    }
    shared, _ = gather_choices(tuple(choices), named | {address: value[0] for address, value in own.items()})
    return [
        jnp.asarray(own[c.address]).astype(c.dtype)
        if c.address in own
        else jnp.broadcast_to(x, (chains, *jnp.shape(x)))
        for c, x in zip(choices, shared, strict=True)
    ]


def state_at(form: Form) -> Callable[..., list[jax.Array]]:
    """Compile `(inputs, values of each chain) -> state`: the values, the flags of conditional ones, the log density."""
    function = scored(form)[1]

    @jax.jit
    def state(inputs: Any, values: Any) -> Any:
        prior, likelihood, flags = jax.vmap(function, (None, 0))(inputs, values)
        return [*values, *flags, prior + likelihood]

    return state
