"""Control flow of NumPyro: its scan and its cond, run as a loop and as a choice of our language.

Law: what handlers do to the sites of a body counts once, whichever side of the statement they stand on. NumPyro hides
the body from the handlers around it and shows them each site once more, afterwards and stacked along time; here the
sites are shown first, as shapes, and what comes out is how they are said inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.distributions.batch_util import promote_batch_shape
from numpyro.ops.pytree import PytreeTrace
from numpyro.primitives import apply_stack

from ...errors import UnsupportedProgramError
from ...language import control
from ...messages import caller
from .given import Stack, given_in_arm, given_in_step, rehearsed_stack
from .messages import DONE, Edit, Statement, unmasked

PROBE = "_lawful_probe"  # marks a site that is only shown, and takes the answer
SHOWN = ("sample", "deterministic")


@runtime_checkable
class Adapter(Protocol):
    """The handler that answers NumPyro's statements, as far as it is needed here."""

    seen: set[str]

    def inside(self, edits: Mapping[str, Edit]) -> Any:
        """Give the handler of a body."""


def run_scan(adapter: Adapter, message: dict[str, Any]) -> Any:
    """Run NumPyro's scan as our loop; gives what NumPyro's scan expects back."""
    body, init, xs, length, reverse = message["args"]
    given, key = message["kwargs"]["substitute_stack"], message["kwargs"].get("rng_key")
    steps = int(np.shape(jax.tree.leaves(xs)[0])[0]) if length is None else int(length)
    (_, _, carry), (sites, outputs) = _rehearsed(message, rehearsed_stack(given, steps))
    edits = edits_of(adapter, sites.trace)
    rows = {name: _rows(edit) for name, edit in edits.items()}
    trees: dict[str, Any] = {}

    def step(state: Any, row: Any) -> tuple[Any, Any]:
        x, index, subkey, weights = row
        function = given_in_step(_seeded(body, subkey), given, index, steps)
        inside = {name: _row(edit, weights[name]) for name, edit in edits.items()}
        (state, y), leaves = _run(adapter, inside, function, (state, x), trees)
        return _typed(state, carry), (_typed(y, outputs), leaves)

    turned = _flipped if reverse else _same  # our loops run forward, so what a step reads is turned round
    keys = None if key is None else _subkeys(key, steps)
    inputs = (jax.tree.map(turned, xs), jnp.arange(steps), keys, jax.tree.map(turned, rows))
    last, (ys, leaves) = control.scan(step, _typed(init, carry), inputs, length=steps)
    ys, leaves = jax.tree.map(turned, (ys, leaves))
    return (steps, key, last), (_afterwards(sites, edits, trees, leaves, promote_batch_shape), ys)


def run_cond(adapter: Adapter, message: dict[str, Any]) -> Any:
    """Run NumPyro's cond as our choice; gives what NumPyro's cond expects back."""
    pred, true_fun, false_fun, operand = message["args"]
    given, key = message["kwargs"]["substitute_stack"], message["kwargs"].get("rng_key")
    value, sites = _rehearsed(message, given)
    edits = edits_of(adapter, sites.trace)
    trees: dict[str, Any] = {}

    def arm(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def run(operand: Any) -> Any:
            out, leaves = _run(adapter, edits, given_in_arm(_seeded(function, key), given), (operand,), trees)
            return _typed(out, value), leaves

        return run

    out, leaves = control.cond(pred, arm(true_fun), arm(false_fun), operand)
    return out, _afterwards(sites, edits, trees, leaves, _same)


def edits_of(adapter: Adapter, sites: Mapping[str, dict[str, Any]]) -> dict[str, Edit]:
    """Find what the handlers around a loop or an arm make of its sites: show them each one, and see it come out.

    Args:
        adapter: the outermost handler, where sites come out.
        sites: stacked messages as NumPyro would send them afterwards, with shapes in place of arrays.
    """
    adapter.seen |= {name for name, site in sites.items() if site["type"] in ("param", "plate")}
    return {name: _edit(site) for name, site in sites.items() if site["type"] in SHOWN}


def _edit(site: dict[str, Any]) -> Edit:
    answer: list[Statement] = []
    probe = _copied(site) | jax.tree.map(_ones, {key: site[key] for key in ("fn", "value") if key in site})
    if site["type"] == "sample":
        probe["scale"] = None
    apply_stack(probe | {PROBE: answer})
    if not answer:
        return Edit(site["name"], observed=bool(site.get("is_observed")), hidden=True)
    (seen,) = answer
    own = len(unmasked(probe["fn"])[0]) if site["type"] == "sample" else 0
    masks = replace(seen, masks=seen.masks[: len(seen.masks) - own]).mask
    batch = seen.distribution.batch_shape if seen.distribution is not None else ()
    scale = jnp.broadcast_to(seen.scale, batch) if np.ndim(seen.scale) else seen.scale
    return Edit(
        seen.name, seen.frames, () if masks is None else (jnp.broadcast_to(masks, batch),), scale, seen.observed
    )  # fmt: skip


def _rehearsed(message: dict[str, Any], given: Stack) -> Any:
    """Run NumPyro's own loop or choice on shapes alone: what it would give, and send afterwards."""
    kwargs = message["kwargs"] | {"substitute_stack": given}
    if kwargs.get("rng_key") is None:
        kwargs["rng_key"] = jax.random.key(0)  # nothing is drawn
    try:
        return jax.eval_shape(lambda: message["fn"](*message["args"], **kwargs))
    except TypeError as error:
        if message["fn"].__name__ != "cond_wrapper":
            raise
        raise UnsupportedProgramError(
            f"numpyro's cond ({caller()}) needs the same sites in both arms, of the same families and shapes: "
            f"{str(error).splitlines()[0]} Fix: write this choice with lawful.cond, whose arms may differ.",
        ) from error


def _seeded(body: Callable[..., Any], key: Any) -> Callable[..., Any]:
    return body if key is None else handlers.seed(body, key)


def _run(
    adapter: Adapter, edits: Mapping[str, Edit], body: Callable[..., Any], args: tuple[Any, ...], trees: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Run a body under an adapter of its own; gives its output, and of each site distribution and value as arrays."""
    inner = adapter.inside(edits)
    with inner:
        out = body(*args)
        inner.finish()
    leaves = {}
    for name, site in inner.sites.items():
        if name in edits:
            own, trees[name] = jax.tree.flatten(site.get("fn"))
            leaves[name] = [jnp.asarray(leaf) for leaf in own], jax.tree.map(jnp.asarray, site["value"])
    return out, leaves


def _afterwards(
    sites: PytreeTrace, edits: Mapping[str, Edit], trees: Mapping[str, Any], leaves: Mapping[str, Any], promote: Any
) -> PytreeTrace:
    """Write what the handlers around the statement see of its sites when they have run."""
    trace = {}
    for name, site in sites.trace.items():
        if name not in leaves:
            continue
        trace[name] = _copied(site) | {"value": leaves[name][1]}
        if site["type"] == "sample":
            fn = promote(jax.tree.unflatten(trees[name], leaves[name][0]))
            scale = None if isinstance(site["scale"], jax.core.Tracer) else site["scale"]
            seen = site["is_observed"] and edits[name].observed
            trace[name] |= {"fn": fn, "scale": scale, "is_observed": seen}
    return PytreeTrace(trace)


def _copied(site: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a message whose lists and dicts handlers may write into."""
    kinds = (dict, list)
    copy = {key: (value.copy() if isinstance(value, kinds) else value) for key, value in site.items() if key != "stop"}
    return copy | ({"intermediates": []} if site["type"] == "sample" else {}) | {DONE: True}


def _rows(edit: Edit) -> dict[str, Any]:
    """Give what an edit holds for each step; the batch of a stacked site has the steps first."""
    found = {}
    if edit.masks and np.ndim(edit.masks[0]):
        found["mask"] = edit.masks[0]
    if edit.scale is not None and np.ndim(edit.scale):
        found["scale"] = edit.scale
    return found


def _row(edit: Edit, weights: Mapping[str, Any]) -> Edit:
    masks = (weights["mask"],) if "mask" in weights else edit.masks
    return replace(edit, masks=masks, scale=weights.get("scale", edit.scale))


def _subkeys(key: jax.Array, steps: int) -> jax.Array:
    """Split keys as NumPyro's scan does."""

    def step(key: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        key, subkey = jax.random.split(key)
        return key, subkey

    return jax.lax.scan(step, key, None, length=steps)[1]


def _typed(values: Any, like: Any) -> Any:
    """Give values the types that NumPyro's own run has; a number that starts a loop may be of a narrower one."""
    return jax.tree.map(_cast, values, like)


def _cast(leaf: Any, like: Any) -> Any:
    is_key = jnp.issubdtype(like.dtype, jax.dtypes.prng_key)
    return leaf if is_key else jnp.asarray(leaf, like.dtype)


def _ones(shape: Any) -> np.ndarray:
    return np.broadcast_to(np.ones((), shape.dtype), shape.shape)


def _same(value: Any) -> Any:
    return value


def _flipped(value: Any) -> Any:
    return value[::-1]
