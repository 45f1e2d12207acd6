"""Starts: where chains begin, from values given by name, from the prior, or near where draws are expected.

Law: every chain starts at the values that are given for it; one that is given once is that of all chains, and what is
not given is drawn from the prior, given what is. Where nothing is given, kernels along gradients, and all kernels where
the prior is flat, start as `lawful.backends.initial_values` finds; others at draws from the prior of finite density.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, as_address, show_address
from lawful.backends.compile_options import quickly
from lawful.backends.initial_values import TRIES, found_start, is_from_prior, prior_coordinates
from lawful.backends.log_density import gather_choices, scored
from lawful.backends.unchain_loops import UNCHAINED
from lawful.backends.xla import emit
from lawful.distributions.sampling.threefry import fold_in
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Plate
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of, is_own
from lawful.form.liveness import without_dead_code
from lawful.inspection.lint.improper_priors import improper_sites
from lawful.passes.add_plate import lift
from lawful.passes.condition import conditioned

from ...kernels.base.base import initial_state
from ...kernels.base.frame import frame_of
from ...representations.conditional import without_factors
from ...representations.kernel_form import KernelForm

GIVEN, PRIOR, CUBE = range(3)  # what a chain begins from
WORDS = ("given", "draw from the prior", "point of the cube (-2, 2)")

type Start = Callable[[jax.Array, Sequence[Any], Mapping[Any, Any]], list[jax.Array]]
type Drawn = Callable[[jax.Array, Sequence[Any]], tuple[list[jax.Array], jax.Array]]


class Begun(NamedTuple):
    """How a run begins: its key, the state of each chain, and for each what it is from and its steps uphill."""

    key: jax.Array
    state: list[jax.Array]
    origin: jax.Array

    @property
    def words(self) -> list[str]:
        """Say of each chain how it began.

        >>> Begun(jax.random.key(0), [], jnp.array([[GIVEN, 0], [CUBE, 3]])).words
        ['given', 'point of the cube (-2, 2), 3 steps uphill']
        """
        return [WORDS[kind] + (f", {steps} steps uphill" if steps else "") for kind, steps in np.asarray(self.origin)]


def drawn_starts(slopes: bool, built: KernelForm, form: Form, states: Callable[[], Form], chains: int) -> Drawn:
    """Compile `(key, inputs) -> (state, origin)` of all chains, where nothing is given.

    Args:
        slopes: whether the kernel moves along gradients.
        built: the kernel, built.
        form: the program.
        states: gives what draws a state from the prior, without weights; asked where it is needed.
        chains: how many.
    """
    wanted = slopes or improper_sites(form)
    if wanted and built.first is None and not any(map(is_own, choices_of(form))):
        with suppress(UnsupportedProgramError):  # sites without coordinates: as the prior has them
            # A hundred evaluations or so: compiled in half the time, they take a fraction of a millisecond more.
            return quickly(_climbing(form, chains))
    first = states()
    all_own = [True] * len(first.outputs)  # also what is the same in all chains
    run = emit(lift(first, Plate("chain", chains), [False] * len(form.inputs), carried=all_own).form)
    origin = np.tile(np.array([PRIOR, 0], np.int32), (chains, 1))
    return jax.jit(lambda key, inputs: (drawn(run, key, inputs), jnp.asarray(origin)))


def first_states(kernel: KernelForm, form: Form) -> Form:
    """Write a draw of where a chain begins, of log density NaN where a gradient that is carried is not finite."""
    states = initial_state(form) if kernel.first is None else without_factors(kernel.first)
    if not kernel.gradient:
        return states
    block = Block()
    inputs = tuple(v.like() for v in states.inputs)
    state = block.splice(states, inputs)
    carried = kernel.entered(block, inputs, state)
    log_density = kernel.left(block, inputs, carried)[-1]  # so that the program is scored once
    checked = block.det(_where_finite, log_density, carried[2], label="gradient finite?")
    return without_dead_code(block.form(inputs, (*state[:-1], checked)))


def onward(begin: Form, form: Form, chains: int) -> Callable[[Sequence[Any], list[jax.Array]], list[jax.Array]]:
    """Compile the way of all chains from a state of the program, where they begin there, to one of the kernel."""
    plated = [i >= len(form.inputs) for i in range(len(begin.inputs))]
    run = emit(lift(begin, Plate("chain", chains), plated, carried=[True] * len(begin.outputs)).form)
    return jax.jit(lambda inputs, state: list(run(jax.random.key(0), *inputs, *state)[0]))


def _where_finite(log_density: jax.Array, gradient: jax.Array) -> jax.Array:
    return jnp.where(jnp.all(jnp.isfinite(gradient)), log_density, jnp.nan)


def _climbing(form: Form, chains: int) -> Drawn:
    """Find starts in coordinates; a chain that has none gets the log density -inf."""
    frame, dtype = frame_of(form, "mcmc"), jnp.result_type(float)
    leave = emit(frame.way_out, UNCHAINED)
    drawn = prior_coordinates(form)
    prior = None if drawn is None else emit(drawn, UNCHAINED)

    def run(key: jax.Array, inputs: Sequence[Any]) -> tuple[list[jax.Array], jax.Array]:
        def vector(key: jax.Array) -> jax.Array:
            assert prior is not None
            return frame.vector(*prior(key, *inputs)[0])

        def one(chain: jax.Array) -> tuple[list[jax.Array], jax.Array]:
            target, own = partial(frame.value_and_grad, inputs), fold_in(key, chain)
            start = found_start(target, frame.size, dtype, own, None if prior is None else vector)
            state, _ = leave(own, *inputs, start.vector, start.log_density, start.gradient)
            from_prior = (prior is not None) & (start.candidate >= 0) & is_from_prior(start.candidate)
            return state, jnp.stack([jnp.where(from_prior, PRIOR, CUBE), start.climbed]).astype(jnp.int32)

        return jax.vmap(one)(jnp.arange(chains))

    return run


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
        fresh = start(fold_in(key, attempt), *inputs)[0]
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
