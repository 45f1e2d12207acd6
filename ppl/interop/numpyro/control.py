"""Control flow of NumPyro: its scan and its cond, run as a loop and as a choice of our language.

Law: a body means what it means alone. Of the handlers around it `seed` gives keys and `condition` gives data: a series
of values gives step i its i-th value, a shorter one leaves the later steps unobserved, and a value of one step's shape
is given to every step. Any other handler that acts on a site of the body is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.ops.pytree import PytreeTrace
from numpyro.primitives import Messenger

from ... import handlers as of_programs
from ...errors import ObservationError, UnsupportedProgramError
from ...language import control
from ...messages import caller
from .messages import PRESENT

type Body = Callable[..., Any]
type Run = Callable[..., Any]  # runs a body, called with it and its arguments
type Find = Callable[[Any, dict[str, Any]], Any]  # from what a `condition` holds and a site to its value, or None

SITES = ("sample", "deterministic", "param")
# Handlers that act on those sites of some kinds whose names they hold, or on all where they hold a function.
HELD = (
    (handlers.substitute, "data", SITES), (handlers.do, "data", ("sample",)), (handlers.replay, "trace", ("sample",)),
    (handlers.reparam, "config", ("sample",)), (handlers.lift, "prior", ("param",)),
)  # fmt: skip


def run_scan(message: dict[str, Any], run: Run) -> Any:
    """Run NumPyro's scan as our loop; gives what NumPyro's scan expects back, without sites to be shown once more."""
    body, init, xs, length, reverse = message["args"]
    key = message["kwargs"].get("rng_key")
    steps = int(np.shape(jax.tree.leaves(xs)[0])[0]) if length is None else int(length)

    own = message["kwargs"] | {"rng_key": jax.random.key(0) if key is None else key, "substitute_stack": []}
    (_, _, carry), _ = jax.eval_shape(lambda: message["fn"](*message["args"], **own))  # a start may have another type

    def typed(state: Any) -> Any:
        return jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), state, carry)

    def step(state: Any, row: Any) -> tuple[Any, Any]:
        x, index, subkey = row
        after, y = run(_given(_seeded(body, subkey), message, functools.partial(_of_step, index, steps)), state, x)
        return typed(after), y

    turned = (lambda rows: rows[::-1]) if reverse else (lambda rows: rows)  # our loops run forward
    rows = jax.tree.map(turned, xs), jnp.arange(steps), key if key is None else _subkeys(key, steps)
    last, ys = control.scan(step, typed(init), rows, length=steps)
    return (steps, key, last), (PytreeTrace({}), jax.tree.map(turned, ys))


def run_cond(message: dict[str, Any], run: Run) -> Any:
    """Run NumPyro's cond as our choice; gives what NumPyro's cond expects back, without sites to be shown once more."""
    pred, *arms, operand = message["args"]
    key = message["kwargs"].get("rng_key")
    bodies = [functools.partial(run, _given(_seeded(arm, key), message, _of_name)) for arm in arms]
    return control.cond(pred, *bodies, operand), PytreeTrace({})


def refuse_around(handler: Messenger, statement: str, site: Mapping[str, Any]) -> None:
    """Refuse a handler around a loop or a choice that would act on a site inside.

    Args:
        handler: of NumPyro.
        statement: what it stands around, with its line.
        site: the message of the site.

    Raises: UnsupportedProgramError with the handler, the statement and the site.
    """
    if site["type"] not in SITES or not _acts(handler, site):
        return
    kind, own = type(handler).__name__, type(handler).__module__ == handlers.__name__
    whole = f", or lawful.handlers.{kind} around the whole program" if own and hasattr(of_programs, kind) else ""
    raise UnsupportedProgramError(
        f"{'numpyro.handlers.' if own else ''}{kind} stands around {statement}, so it would act on site "
        f"'{site['name']}' ({caller()}) from outside of the body, which is not supported. Fix: put it inside the "
        f"body{whole}.",
        site=site["name"], handler=kind,
    )  # fmt: skip


def _acts(handler: Messenger, site: Mapping[str, Any]) -> bool:
    """Tell whether a handler would change, hide or record a site."""
    name, kind = site["name"], site["type"]
    for own, held, kinds in HELD:
        if isinstance(handler, own):
            names = getattr(handler, held)
            return kind in kinds and (not isinstance(names, Mapping) or name in names)
    match handler:
        case handlers.seed() | handlers.condition() | handlers.infer_config():
            return False
        case handlers.block():
            return bool(handler.hide_fn(site))
        case handlers.uncondition():
            return kind == "sample" and bool(site["is_observed"])
        case handlers.mask() | handlers.scale():
            return kind == "sample"
        case _:
            return True


def _given(body: Body, message: Mapping[str, Any], find: Find) -> Body:
    """Give a body what `condition` around it holds, the innermost first: mappings, or functions of a site."""
    for kind, values in message["kwargs"]["substitute_stack"]:
        if kind == "condition":
            body = handlers.condition(body, condition_fn=functools.partial(find, values))
    return body


def _of_name(values: Any, site: Mapping[str, Any]) -> Any:
    return values.get(site["name"]) if isinstance(values, Mapping) else values(site)


def _of_step(index: Any, steps: int, values: Any, site: dict[str, Any]) -> Any:
    """Find the data of a site at a step."""
    value = _of_name(values, site)
    if value is None:
        return None
    shape = (*site["kwargs"].get("sample_shape", ()), *site["fn"].shape())
    given = tuple(jnp.shape(value))
    if len(given) == len(shape):
        return value
    if len(given) != len(shape) + 1 or given[0] > steps:
        raise ObservationError(
            f"site '{site['name']}' in numpyro's scan ({caller()}): condition gives values of shape {given}, expected "
            f"{(steps, *shape)}, one value a step, or {shape}.",
            site=site["name"], given=given, expected=(steps, *shape),
        )  # fmt: skip
    if given[0] == 0:
        return None
    if given[0] < steps:
        site[PRESENT] = jnp.broadcast_to(index < given[0], site["fn"].batch_shape)
    return jnp.asarray(value)[jnp.minimum(index, given[0] - 1)]


def _seeded(body: Body, key: Any) -> Body:
    return body if key is None else handlers.seed(body, key)


def _subkeys(key: jax.Array, steps: int) -> jax.Array:
    """Split keys as NumPyro's scan does."""
    return jax.lax.scan(lambda key, _: tuple(jax.random.split(key)), key, None, length=steps)[1]
