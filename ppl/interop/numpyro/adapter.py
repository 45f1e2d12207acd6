"""The adapter: the outermost handler on NumPyro's stack, which says each message in our language.

Law: the program under the adapter denotes the measure of NumPyro's `log_density`: the same sites, under the same names,
with the same densities. It answers every message itself and lets none pass to handlers further out, so a program means
the same wherever it runs.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import primitives
from numpyro.primitives import Messenger

from ...distributions.protocol import BoundLaw
from ...distributions.random_words import SeedLaw, key_of_seed
from ...errors import IndexRangeError, LawfulError, UnsupportedProgramError, close_names
from ...messages import SampleMessage, caller, installed, note_choice, send, surroundings
from .control import refuse_around, run_cond, run_scan
from .messages import Given, Statement, complementary, read, say

KINDS = ("sample", "deterministic", "param", "plate", "prng_key", "control_flow")
LEFT = ("subsample", "inspect")  # to the plates, which take their rows, and to the handlers inside, for their masks
OBSERVED, UNOBSERVED = "_observed", "_unobserved"  # the two halves of a site with obs_mask


class Adapter(Messenger):
    """Says messages of NumPyro in our language.

    Args:
        params: values of parameters by name.
        subsample: indices of plates by name.
        outer: the adapter around the loop or the arm of whose body this is the adapter; None at the top.
    """

    def __init__(self, params: Mapping[str, Any], subsample: Mapping[str, Any], outer: Adapter | None = None) -> None:
        """Start before the first message."""
        super().__init__()
        self.values, self.subsample = params, subsample
        self.seen: set[str] = set()  # parameters and plates
        self.running, self.place = "", ""  # the number of the loop or choice, and what tells its keys from those around
        self.numbers: Iterator[int] = itertools.count()  # of keys and of loops and choices, in the order of the program
        self.statement = ""  # the loop or choice that runs, and its line
        # Handlers around a loop or an arm, each with what it is around.
        self.around: tuple[tuple[Messenger, str], ...] = ()
        self.half: Statement | None = None  # the observed half of a site with obs_mask, until the other half is said
        self.whole: dict[str, Any] = {}  # values of the sites that were made of two halves
        if outer is not None:
            stack = primitives._PYRO_STACK
            own = [(handler, outer.statement) for handler in stack[stack.index(outer) + 1 :]]
            self.seen, self.place, self.around = outer.seen, f"{outer.running}_", (*outer.around, *own)

    def process_message(self, msg: dict[str, Any]) -> None:
        """Answer a message."""
        if msg["type"] not in KINDS + LEFT:
            raise _unsupported(msg)
        for handler, statement in self.around:
            refuse_around(handler, statement, msg)
        if msg.get("_control_flow_done"):  # by NumPyro itself, since `block` hid the loop or choice
            raise UnsupportedProgramError(
                f"site '{msg['name']}' ({caller()}) is shown by numpyro.handlers.block around a loop or choice that is "
                "hidden. Fix: put block inside the body.",
                site=msg["name"],
            )
        if msg["type"] in KINDS:
            getattr(self, f"_{msg['type']}")(msg)
        msg["stop"] = True

    def finish(self) -> None:
        """Say what was held back."""
        if self.half is not None:
            half, self.half = self.half, None
            say(half)

    def _sample(self, msg: dict[str, Any]) -> None:
        statement = read(msg)
        value = self._value(statement)
        if not statement.is_factor:
            msg["value"], msg["is_observed"] = value, statement.observed

    def _value(self, statement: Statement) -> Any:
        """Say a statement, the two halves of a site with obs_mask in one; gives the value of the site."""
        half, self.half = self.half, None
        if half is not None and _are_halves(half, statement):
            return self._halves(half, statement)
        if half is not None:
            say(half)
        if statement.observed and statement.masks and statement.present is None and statement.name.endswith(OBSERVED):
            self.half = statement
            return statement.value
        return say(statement)

    def _halves(self, half: Statement, other: Statement) -> Any:
        masks = list(half.masks)
        known = [complementary(*pair) for pair in zip(half.masks, other.masks, strict=True)]
        place = known.index(True) if True in known else len(masks) - 1  # else the innermost, the first that was put on
        present = masks.pop(place)
        name = half.name.removesuffix(OBSERVED)
        statement = replace(half, name=name, masks=tuple(masks), present=present)
        # A handler may have given values to the missing elements.
        with contextlib.nullcontext() if other.value is None else installed(Given(other.value)):
            self.whole[name] = say(statement)
        return self.whole[name]

    def _deterministic(self, msg: dict[str, Any]) -> None:
        if msg["name"] in self.whole:
            msg["value"] = self.whole[msg["name"]]
        else:
            self.finish()
            msg["value"] = say(read(msg))

    def _param(self, msg: dict[str, Any]) -> None:
        name = msg["name"]
        self.seen.add(name)
        if msg["value"] is not None:
            return
        if name in self.values:
            msg["value"] = self.values[name]
        elif msg["args"]:
            (msg["value"],) = msg["args"]
        else:
            raise LawfulError(
                f"parameter '{name}' ({caller()}) has no value, since its start is drawn at random. Fix: give "
                f"from_numpyro(model, params={{'{name}': value}}), or a prior by numpyro.handlers.lift.",
                param=name,
            )

    def _plate(self, msg: dict[str, Any]) -> None:
        name, (size, wanted) = msg["name"], msg["args"]
        self.seen.add(name)
        if name in self.subsample:
            msg["value"] = _indices(name, self.subsample[name], size, wanted)
        elif msg["value"] is None:
            raise UnsupportedProgramError(
                f"plate '{name}' ({caller()}) asks for {wanted} of {size} elements, drawn at random, which is no part "
                f"of a density. Fix: give from_numpyro(model, subsample={{'{name}': indices}}).",
                plate=name,
            )

    def _prng_key(self, msg: dict[str, Any]) -> None:
        if msg["kwargs"].get("rng_key") is None:
            msg["value"] = self.random_key()

    def _control_flow(self, msg: dict[str, Any]) -> None:
        self.finish()
        self.running = f"{self.place}{next(self.numbers)}"
        run = {"scan_wrapper": run_scan, "cond_wrapper": run_cond}.get(msg["fn"].__name__)
        if run is None:
            raise _unsupported(msg)
        self.statement = f"numpyro's {msg['fn'].__name__.removesuffix('_wrapper')} ({caller()})"
        msg["value"] = run(msg, self._inside)

    def _inside(self, body: Callable[..., Any], *args: Any) -> Any:
        """Run the body of a loop, or an arm, under an adapter of its own."""
        inner = Adapter(self.values, self.subsample, self)
        with inner:
            out = body(*args)
            inner.finish()
        return out

    def random_key(self) -> jax.Array:
        """Draw a key for a choice that no one sees; where nothing reads it, a traced program drops it."""
        place, source = surroundings(), caller()
        address = (*place.scopes, f"key{self.place}{next(self.numbers)}", *place.indices)
        law = SeedLaw(
            "random key",
            f"a random key is drawn in a NumPyro program ({source}), so what is made of it can be drawn but has no "
            "density. Fix: expose the site to the handlers outside, or seed it by numpyro.handlers.seed.",
        )
        message = SampleMessage(address, BoundLaw(law, ()), None, False, (), source, droppable=True)
        send(message)
        note_choice()
        if message.value is None:
            raise LawfulError(
                f"a random key ({source}) has no value: wrap the program in handlers.seed(program, key), or call an "
                "inference with a key.",
                site=address,
            )
        return key_of_seed(message.value)


def refuse_unknown(adapter: Adapter) -> None:
    """Refuse parameters and plates that the program does not have."""
    for what, given in (("params", adapter.values), ("subsample", adapter.subsample)):
        for name in given:
            if name not in adapter.seen:
                raise LawfulError(
                    f"from_numpyro, {what}: the program has no '{name}'. {close_names(name, adapter.seen)}", name=name
                )


def _are_halves(first: Statement, second: Statement) -> bool:
    """Tell whether two statements are one site with obs_mask: NumPyro masks its halves by a mask and its opposite."""
    name = first.name.removesuffix(OBSERVED)
    return second.name == name + UNOBSERVED and not second.observed and len(second.masks) == len(first.masks)


def _indices(name: str, given: Any, size: int, wanted: int | None) -> jax.Array:
    """Check the indices that were given for a plate."""
    indices = given if isinstance(given, jax.Array) else np.asarray(given)
    count = size if wanted is None else wanted
    if not np.issubdtype(indices.dtype, np.integer) or indices.shape != (count,):
        raise LawfulError(
            f"from_numpyro, subsample: plate '{name}' ({caller()}) takes {count} integer indices, got "
            f"{indices.dtype}{list(indices.shape)}.",
            plate=name,
        )
    if not isinstance(indices, jax.core.Tracer) and count:
        low, high = int(np.asarray(indices).min()), int(np.asarray(indices).max())
        if low < 0 or high >= size:
            raise IndexRangeError(
                f"from_numpyro, subsample: plate '{name}' ({caller()}) has elements 0 to {size - 1}, got indices from "
                f"{low} to {high}.",
                index=low if low < 0 else high, size=size,
            )  # fmt: skip
    return jnp.asarray(indices)


REASONS = {
    "mutable": "state that changes from run to run, which has no place in a density. Fix: pass it as an argument",
    "to_funsor": "NumPyro's own enumeration. Fix: leave it out; inference.enumerate and inference.bp sum over sites",
    "to_data": "NumPyro's own enumeration. Fix: leave it out; inference.enumerate and inference.bp sum over sites",
}


def _unsupported(msg: Mapping[str, Any]) -> UnsupportedProgramError:
    kind, name = msg["type"], msg.get("name")
    who = f"{kind} '{name}'" if name else kind
    reason = REASONS.get(kind, "no statement that is known here. Fix: say it by sample, factor, plate, scan or cond")
    return UnsupportedProgramError(f"from_numpyro: {who} ({caller()}) is {reason}.", site=name, kind=kind)
