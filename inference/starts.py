"""Starts: where chains begin, from values given by name, and from draws of finite density for all others.

Law: every chain starts at the values that are given for it; one that is given once is that of all chains, and what is
not given is drawn from the prior, given what is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, as_address, show_address
from lawful.conditioned import conditioned
from lawful.emitter import emit
from lawful.errors import LawfulError
from lawful.form import Form, Plate
from lawful.lift import lift
from lawful.record import Choice, choices_of
from lawful.scoring import gather_choices, scored

TRIES = 100

type Start = Callable[[jax.Array, Sequence[Any], Mapping[Any, Any]], list[jax.Array]]


def spread(choices: Sequence[Choice], given: Mapping[Any, Any], chains: int) -> list[jax.Array]:
    """Arrange given values in the order of the choices, with the chains as a first axis.

    Args:
        choices: those of the program.
        given: values by name; one of shape (chains, *shape of the site) has an entry for each chain.
        chains: how many.

    Raises: LawfulError for a missing site, an unknown name, or a wrong shape.
    """
    named = {as_address(name): np.asarray(x) if isinstance(x, list | tuple) else x for name, x in given.items()}
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


def given_choices(choices: Sequence[Choice], given: Mapping[Any, Any]) -> dict[Address, Any]:
    """Read the values that are given by name, as results name a choice, by its address, or by that of its steps.

    Args:
        choices: those that can be given.
        given: values by name.

    Raises: LawfulError for a name that none of them has, with the names there are.
    """
    shown = {c.name: c.address for c in choices}
    values = {shown.get(name, as_address(name)): value for name, value in given.items()}
    unknown = [a for a in values if not any(map(partial(_is_of, a), choices))]
    if unknown:
        raise LawfulError(
            f"init: no latent site that can be given has the name {', '.join(map(show_address, unknown))}; those that "
            f"can are: {', '.join(shown) or 'none'}. Fix: give values of these alone; a site without one is drawn.",
            names=tuple(unknown),
        )
    return values


def _is_of(address: Address, choice: Choice) -> bool:
    """Tell whether an address is that of a choice, or of one of its steps."""
    return address[: len(choice.address)] == choice.address


def starts_at(form: Form, states: Form, shown: Sequence[Choice], given: Mapping[Any, Any], chains: int) -> Start:
    """Compile `(key, inputs, given) -> state` for values by name; what is not given is drawn until all is finite.

    Args:
        form: the program.
        states: draws a state of the program, or of an algorithm that is a part of it; without weights. What it does
            not draw as the program does, as the path of a filter, cannot be given.
        shown: the choices that a state has values for.
        given: values by name, as for `spread`.
        chains: how many.
    """
    drawn_here = choices_of(states)
    free = [c for c in shown if c.address in {one.address for one in drawn_here}]
    named = given_choices(free, given)
    choices = tuple(c for c in drawn_here if any(_is_of(a, c) for a in named))
    if all(c in choices or 0 in c.full_shape for c in drawn_here):
        found = state_at(form)
        return lambda key, inputs, init: found(inputs, spread(shown, given_choices(free, init), chains))
    around = conditioned(states, {c.address for c in choices}, ()).form
    n = len(states.inputs)
    lifted = lift(
        around, Plate("chain", chains), [False] * n + [True] * len(choices), carried=[True] * len(states.outputs)
    )
    run = jax.jit(partial(drawn, emit(lifted.form)))
    return lambda key, inputs, init: run(key, (*inputs, *spread(choices, given_choices(free, init), chains)))


def drawn(start: Callable[..., Any], key: jax.Array, inputs: Sequence[Any]) -> list[jax.Array]:
    """Draw starts again and again, until every chain has one of finite density or the tries are used up.

    Args:
        start: `(key, *inputs) -> (state, ...)` of all chains; the last value of a state is its log density.
        key: a random key.
        inputs: the inputs of the program.
    """

    def unfinished(carry: Any) -> jax.Array:
        attempt, state = carry
        return (attempt < TRIES) & ~jnp.isfinite(state[-1]).all()

    def redraw(carry: Any) -> Any:
        attempt, state = carry
        fresh = start(jax.random.fold_in(key, attempt), *inputs)[0]
        bad = ~jnp.isfinite(state[-1])
        return attempt + 1, [
            jnp.where(bad.reshape((-1,) + (1,) * (old.ndim - 1)), new, old)
            for old, new in zip(state, fresh, strict=True)
        ]

    shapes = jax.eval_shape(lambda key: start(key, *inputs)[0], key)
    nowhere = [jnp.zeros(x.shape, x.dtype) for x in shapes]
    nowhere[-1] = jnp.full_like(nowhere[-1], -jnp.inf)
    state: list[jax.Array] = jax.lax.while_loop(unfinished, redraw, (jnp.zeros((), jnp.int32), nowhere))[1]
    return state
