"""Start from: a program draws the elements of a plate from another law, as one around optima, and is weighed for it.

Law: [[start_from(q)(p)]] = [[p]], whatever q, where it reaches all values that p gives a positive density: one site
has the coordinates of all elements from q, their sites are functions of it, and the weight is the density of these
sites, Jacobian included, over that of q. On a path of tempering the first measure is then q, and the way to p is
q^(1 - beta) p^beta.

Why: the posterior of a mixture has modes that differ in what the elements are. On the way from the prior, while the
likelihood counts little, broad elements outnumber narrow ones, and particles leave the modes that matter at the end.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lawful.addresses import names_of, show_address
from lawful.distributions.absent import without_guard
from lawful.distributions.bijections import from_support, to_support
from lawful.distributions.law import law_of
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form
from lawful.messages import (
    DeterministicMessage,
    FactorMessage,
    Message,
    SampleMessage,
    Source,
    Surroundings,
    placed,
    refused,
    send,
    surroundings,
)
from lawful.tracing.trace import trace

from ...contract import PRESERVES, Transformer
from ...laws.symmetric_mixture import START, SymmetricMixture
from .guide import Guide, Guided
from .propose import Proposer, rewriting

WEIGHT = "started"  # ends the addresses of the factors that weigh what is drawn


def start_from(law: Any) -> Transformer:
    """Draw choices of a program from another law than their prior: all of them, or the elements of a plate.

    Tempering of the program then begins at this law, and not at the prior: `tempered_smc`, `parallel_tempering` and
    `importance` take it as any program. Of a guide, all choices are named values of results, functions of what is
    drawn. Of a mixture, those of the plate are, functions of the site `<plate>.start` of their coordinates; other
    sites stay.

    Args:
        law: a guide, for all choices; or a mixture of `laplace_mixture`, for an exchangeable plate, as the classes of a
            mixture. Either is an array or an argument of the program: a program that takes it is
            `lambda y, start: start_from(start)(model)(y)`.

    Returns: a transformer of programs and Forms.

    Raises, when the program runs or is traced:
        LawfulError: the program has other sites, in the plate or at all, or other sizes.
        UnsupportedProgramError: a site of the plate stands in a loop or a branch; of a guide, in a branch.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model():
    ...     with lawful.plate("class", 2):
    ...         lawful.sample("level", dist.Normal(0.0, 2.0))
    >>> near = inference.laplace_mixture(model, "class")({"level": jnp.array([[-1.0, 1.0]])})
    >>> [choice.address for choice in lawful.trace(start_from(near)(model)).sites()]
    [('class', 'start')]
    """
    if isinstance(law, Guide):
        return from_guide(law, "start_from")
    if not isinstance(law, SymmetricMixture):
        raise LawfulError(
            f"start_from: expected a guide or a mixture of laplace_mixture, got {type(law).__name__}. Fix: give "
            "inference.laplace_mixture(model, plate)(optima, *args), or inference.guide(model)(key, *args).guide."
        )
    return rewriting(f"start_from({law.plate!r})", lambda *call: _Starting(law))


def from_guide(guide: Guide, asker: str) -> Transformer:
    """Draw all choices of a program from a guide; `asker` is what was called, which errors name."""
    return Transformer(f"start_from({guide!r})", partial(_guided, guide, asker), PRESERVES, programs=True)


def _guided(guide: Guide, asker: str, model: Any) -> Any:
    """Give the program that draws from a guide; of a Form, its Form."""
    program = Guided(model, guide, asker=asker)
    if not isinstance(model, Form):
        return program
    return trace(program, *(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in model.inputs))


class _Starting(Proposer):
    """Answers the sites of the plate by the elements of one draw."""

    def __init__(self, mixture: SymmetricMixture) -> None:
        self.mixture, self.drawing = mixture, False
        self.point: jax.Array | None = None
        self.left, start = dict[str, tuple[int, int]](), 0
        for name, size in mixture.sites:
            self.left[name] = start, start + size
            start += size

    def process(self, message: Message) -> None:
        """Answer a choice of the plate."""
        if self.drawing or not isinstance(message, SampleMessage) or message.observed or message.value is not None:
            return
        name = show_address(names_of(message.address))
        frame = next((each for each in message.plates if each.name == self.mixture.plate), None)
        if frame is None or name not in self.left:
            return
        if surroundings().indices or surroundings().arms:
            words = " stands in a loop or a branch, and start_from draws all elements at once. Fix: draw it outside."
            raise refused(message, words, UnsupportedProgramError)
        if self.point is None:
            self.point = self._drawn(message.source)
        start, stop = self.left.pop(name)
        law, parameters = law_of(without_guard(message.distribution))
        axis = len(law.units) + frame.dim
        value, term = _placed(law, parameters, self.point, start, stop, axis, message)
        message.value, message.stop = value, True
        send(FactorMessage((*names_of(message.address), WEIGHT), or_none(term), message.source, role="prior"))
        send(DeterministicMessage(message.address, value, message.source, plates=message.plates))

    def finish(self) -> None:
        """Refuse a mixture of sites that the program does not have."""
        if self.left:
            raise LawfulError(
                f"start_from: the program has no site {', '.join(map(repr, self.left))} in a plate "
                f"{self.mixture.plate!r}. Fix: make the mixture for this program, laplace_mixture(model, plate)."
            )

    def _drawn(self, source: Source) -> jax.Array:
        """Draw the coordinates of all elements, and divide by their density."""
        address = (self.mixture.plate, START)
        drawn = SampleMessage(address, self.mixture, None, False, (), source)
        self.drawing = True
        try:
            with placed(Surroundings()):
                send(drawn)
        finally:
            self.drawing = False
        point = jnp.asarray(drawn.value)
        send(FactorMessage((*address, WEIGHT), -self.mixture.log_prob(point), source, role="prior"))
        return point


def _placed(
    law: Any, parameters: Any, point: jax.Array, start: int, stop: int, axis: int, message: SampleMessage
) -> tuple[jax.Array, jax.Array]:
    """Give the value of a site at the coordinates of its elements, and the log density of these."""
    discrete = not jnp.issubdtype(law.dtype, jnp.floating)
    value = jax.ShapeDtypeStruct(law.shape, law.dtype)
    shape = law.shape if discrete else jax.eval_shape(from_support(law), value, *parameters).shape
    own = (point if point.ndim > 1 else point[:, None])[:, start:stop]
    rest = (*shape[:axis], *shape[axis + 1 :])
    if (shape[axis], jnp.zeros(rest).size) != own.shape:
        raise refused(
            message,
            f" has {shape[axis]} elements of {jnp.zeros(rest).size} coordinates, and the mixture of start_from "
            f"{own.shape[0]} of {own.shape[1]}. Fix: make the mixture for this program.",
        )
    free = jnp.moveaxis(own.reshape(own.shape[0], *rest), 0, axis).astype(law.dtype)
    return (free, law.log_prob(free, *parameters)) if discrete else to_support(law)(free, *parameters)


def or_none(log_density: jax.Array) -> jax.Array:
    """Give no density where it is no number, so far out that it overflows: the tails of a start reach there.

    >>> or_none(jnp.array([1.0, jnp.nan])).tolist()
    [1.0, -inf]
    """
    return jnp.where(jnp.isnan(log_density), -jnp.inf, log_density)
