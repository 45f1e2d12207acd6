"""Messages of NumPyro, read as statements of our language.

Law: the density of a statement is scale * mask * log density of its distribution, element by element of its batch, and
reading changes none of the three: masks are taken off the distribution and kept beside it, in their order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions.distribution import Unit

from ...distributions.families import core_of
from ...language import plates
from ...language import statements as language
from ...language.data.check_observations import of_its_shape
from ...language.data.observed import both
from ...messages import Handler, Message, PlateFrame, SampleMessage, installed

PRESENT = "_lawful_present"  # ours: which elements of an observation there are


@dataclass(frozen=True)
class Statement:
    """What one message says.

    Attributes:
        name: with the prefixes of scopes, divided by "/".
        distribution: without masks; None of a named value.
        masks: those of the handlers, outermost first; truth values of Python or arrays.
        scale: a factor of the log density, or None.
        frames: the plates, outermost first.
        observed: whether the value is data.
        value: data or a value that a handler gave; None where it is to be chosen.
        present: which elements of the data there are; None for all.
        event_dims: names of the axes of one value, where `infer` has one for each.
    """

    name: str
    distribution: Any = None
    masks: tuple[Any, ...] = ()
    scale: Any = None
    frames: tuple[PlateFrame, ...] = ()
    observed: bool = False
    value: Any = None
    present: Any = None
    event_dims: tuple[str, ...] = ()

    @property
    def is_factor(self) -> bool:
        """Whether it is a factor, which NumPyro writes as an observation that holds nothing."""
        return isinstance(core_of(self.distribution), Unit)

    @property
    def mask(self) -> Any:
        """All masks in one; None where nothing is masked."""
        found: Any = None
        for mask in self.masks:
            if mask is not True:
                found = both(found, np.asarray(mask) if isinstance(mask, bool) else mask)
        return found


def read(message: Mapping[str, Any]) -> Statement:
    """Read a message that is a sample, a factor or a named value; its keys differ by type."""
    if message["type"] == "deterministic":
        named = message["value"]
        frames = _frames(message, np.shape(named)) if hasattr(named, "shape") else ()
        return Statement(message["name"], value=named, frames=frames)
    masks, distribution = unmasked(message["fn"])
    value, lead = message["value"], tuple(message.get("kwargs", {}).get("sample_shape", ()))
    distribution = distribution.expand((*lead, *distribution.batch_shape)) if lead else distribution
    distribution = distribution if value is None else _repeated(distribution, value)
    axes = tuple((message.get("infer") or {}).get("event_dims", ()))
    axes = axes if len(axes) == distribution.event_dim else ()
    frames = _frames(message, tuple(distribution.batch_shape))
    scale = message.get("scale")
    scale = None if isinstance(scale, int | float) and scale == 1 else scale
    return Statement(
        message["name"], distribution, masks, scale, frames, bool(message.get("is_observed")),
        value, message.get(PRESENT), axes,
    )  # fmt: skip


def unmasked(distribution: Any) -> tuple[tuple[Any, ...], Any]:
    """Take the masks off a distribution, outermost first; a mask of elements of one event stays where it is.

    >>> masks, base = unmasked(dist.Normal(0.0, 1.0).mask(False).expand([2]))
    >>> masks, base.batch_shape
    ((False,), (2,))
    """
    if isinstance(distribution, dist.MaskedDistribution):
        masks, base = unmasked(distribution.base_dist)
        return (distribution._mask, *masks), base
    if isinstance(distribution, dist.ExpandedDistribution):
        masks, base = unmasked(distribution.base_dist)
        if masks:
            shape = distribution.batch_shape
            return tuple(m if isinstance(m, bool) else jnp.broadcast_to(m, shape) for m in masks), base.expand(shape)
    return (), distribution


def _repeated(distribution: Any, value: Any) -> Any:
    """Expand a distribution to data of several draws, as NumPyro reads them; other shapes are judged by the site."""
    given, own, event = tuple(jnp.shape(value)), tuple(distribution.shape()), distribution.event_dim
    if given == own or given[len(given) - event :] != own[len(own) - event :]:
        return distribution
    try:
        fits = np.broadcast_shapes(given, own) == given
    except ValueError:
        fits = False
    return distribution.expand(given[: len(given) - event]) if fits else distribution


def _frames(message: Mapping[str, Any], batch: tuple[int, ...]) -> tuple[PlateFrame, ...]:
    """Read the plates; those that have no axis, as around a parameter that became a choice, do not count."""
    frames = [PlateFrame(f.name.replace("/", "."), int(f.size), f.dim) for f in message.get("cond_indep_stack", ())]
    return tuple(
        frame
        for frame in reversed(list(dict.fromkeys(frames)))  # `do` sends a message twice through its plates
        if len(batch) >= -frame.dim and batch[frame.dim] == frame.size
    )


@contextlib.contextmanager
def around(statement: Statement) -> Iterator[str]:
    """Stand where a statement stands: in its scopes and plates, under its mask and scale; gives its own name."""
    *scopes, own = [part for part in statement.name.split("/") if part] or [statement.name]
    with contextlib.ExitStack() as stack:
        for prefix in scopes:
            stack.enter_context(language.scope(prefix))
        for frame in statement.frames:
            stack.enter_context(plates.plate(frame.name, frame.size, dim=frame.dim))
        if statement.mask is not None:
            stack.enter_context(language.mask(statement.mask))
        if statement.scale is not None:
            stack.enter_context(language.scale(statement.scale))
        yield own


def say(statement: Statement) -> Any:
    """Make a statement in our language; gives the value of its site."""
    if statement.distribution is None:
        with around(statement) as name:
            return language.deterministic(name, statement.value)
    if statement.is_factor:
        law, value = statement.distribution, statement.value
        if value is None:  # taken off by `uncondition`: NumPyro draws it, and it is empty
            value = jnp.zeros((*law.batch_shape, 0))
        with around(replace(statement, frames=())) as name:
            language.factor(name, law.log_prob(value))
        return statement.value
    notes: dict[str, Any] = {"infer": {"event_dims": statement.event_dims}} if statement.event_dims else {}
    if statement.observed:
        notes |= {"obs": statement.value, "obs_mask": statement.present}
    given = statement.value is not None and not statement.observed
    with around(statement) as name, installed(Given(statement.value)) if given else contextlib.nullcontext():
        return language.sample(name, statement.distribution, **notes)


@dataclass
class Given(Handler):
    """Gives a value to the choice of one statement, which stays a choice: its density counts."""

    value: Any

    def process(self, message: Message) -> None:
        """Give the value where there is none."""
        if isinstance(message, SampleMessage) and message.value is None:
            message.value = of_its_shape(message, self.value)


def complementary(first: Any, second: Any) -> bool | None:
    """Tell whether two masks are each other's opposite; None where that is not known before the program runs."""
    if isinstance(first, jax.core.Tracer) or isinstance(second, jax.core.Tracer):
        return None
    return bool(np.array_equal(np.asarray(first), ~np.asarray(second)))
