"""Primitives: the statements of the language as operations of JAX, while a program is traced.

Law: scan, cond, jit, checkpoint and grad around statements work; a plain vmap over a site gives independent draws,
because the batching rule of a site fires whether or not its parameters are batched. A drawn value is a constant of any
derivative taken inside a program.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import Address, names_of, show_address
from ..distributions.constraints import harmless
from ..distributions.law import split
from ..errors import UnsupportedProgramError
from ..form.operations.equation import inside
from ..form.operations.jax_extension import StatementPrimitive, ad, batching, get_opaque_trace_state, statement_of
from ..messages import (
    DecisionMessage,
    DeterministicMessage,
    FactorMessage,
    Handler,
    Message,
    SampleMessage,
    surroundings,
)
from ..sources import Source, Statement

site_p = StatementPrimitive("lawful_site")
factor_p = StatementPrimitive("lawful_factor")
label_p = StatementPrimitive("lawful_deterministic")


@dataclass(frozen=True, eq=False, slots=True)
class Mark(Statement):
    """What a primitive carries beside its operands.

    Marks of one law are equal: JAX remembers the type of an operation by its parameters, and so finds it for all sites.
    """

    address: Address
    law: Any = None
    observed: bool = False
    role: str = "likelihood"
    arms: int = 0  # in which the statement stands

    def __hash__(self) -> int:
        """By the law."""
        return hash(self.law)

    def __eq__(self, other: object) -> bool:
        """By the law."""
        return isinstance(other, Mark) and (self.law is other.law or self.law == other.law)


class Stage(Handler):
    """The handler that records a program: each message becomes an equation of the traced JAX program.

    An observed site gives back a value of its own, which is the observation wherever the site is observed, so that it
    can be told from the argument that was observed: where the site is drawn instead, what reads the argument stays.

    Args:
        known: whether an observation whose numbers are known is given back as these, for a program that uses them as
            Python values.
    """

    staged = True

    def __init__(self, known: bool = False) -> None:
        """Start before the first statement."""
        self.known = known
        self.last: tuple[Address, Source] | None = None
        self.unseen = []
        self.drawn_values: list[tuple[Any, Mark]] = []  # weak references: a trace that is over must be free to go

    def returns(self, observation: Any) -> bool:
        """Tell whether a site gives back a value of its own in the place of an observation."""
        return not self.known or isinstance(observation, jax.core.Tracer)

    def process(self, message: Message) -> None:
        """Bind the primitive of a message."""
        if isinstance(message, DecisionMessage):
            return
        names, place = names_of(message.address), surroundings()
        told: dict[str, Any] = {"source": message.source, "loop_names": place.loop_names, "arms": place.arms}
        self.last = names, message.source
        if isinstance(message, SampleMessage):
            if message.value is None and message.mask is not None:
                message.distribution = harmless(message.distribution, message.mask)
            law, leaves = split(message.distribution)
            # A number becomes a literal as it is; to make it an array first takes longer.
            parameters = [x if type(x) is float or isinstance(x, jax.Array) else jnp.asarray(x) for x in leaves]
            observed = message.value is not None
            told |= {"droppable": message.droppable and not observed, "event_dims": message.event_dims}
            mark = Mark(names, law, observed, frames=message.plates, **told)
            operands = (*parameters, message.value) if observed else parameters
            lanes: tuple[tuple[bool, ...], ...] = ((),) * len(operands)
            value = site_p.bind(*operands, mark=mark, lanes=(), laned=lanes)
            if not observed:
                message.value = value
                self.drawn_values.append((weakref.ref(value), mark))
            elif self.returns(message.value):
                dtype = message.value.dtype
                message.value = value if value.dtype == dtype else value.astype(dtype)
        elif isinstance(message, FactorMessage):
            factor_p.bind(message.log_weight, mark=Mark(names, role=message.role, **told))
        elif isinstance(message, DeterministicMessage):
            leaves, tree = jax.tree.flatten(message.value)
            parts = [(*names, str(i)) for i in range(len(leaves))] if len(leaves) > 1 else [names]
            marks = [Mark(part, frames=message.plates, **told) for part in parts]
            bound = [label_p.bind(jnp.asarray(x), mark=mark) for x, mark in zip(leaves, marks, strict=False)]
            message.value = jax.tree.unflatten(tree, bound)


def _site_type(*operands: Any, mark: Mark, lanes: tuple[int, ...], laned: Any) -> Any:
    return jax.core.ShapedArray((*lanes, *mark.law.shape), mark.law.dtype)


def _operand_type(value: Any, *, mark: Mark) -> Any:
    return jax.core.ShapedArray(value.shape, value.dtype)


def _outside(*operands: Any, mark: Mark, **params: Any) -> Any:
    raise UnsupportedProgramError(
        f"site '{show_address(mark.address)}' ({mark.source}) ran outside a traced program: call lawful.trace(program, "
        "*args), an inference, or an eager handler such as handlers.seed.",
        site=mark.address,
    )


def _batch_site(axis: Any, operands: Any, dims: Any, *, mark: Mark, lanes: tuple[int, ...], laned: Any) -> Any:
    moved = [x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(operands, dims, strict=True)]
    flags = tuple((d is not None, *old) for d, old in zip(dims, laned, strict=True))
    return site_p.bind(*moved, mark=mark, lanes=(axis.size, *lanes), laned=flags), 0


def _batch_factor(axis: Any, operands: Any, dims: Any, *, mark: Mark) -> Any:
    (term,), (dim,) = operands, dims
    total = term * axis.size if dim is None else jnp.sum(term, axis=dim)
    return factor_p.bind(total, mark=mark), None


def _no_derivative(primitive: Any, primals: Any, tangents: Any, **params: Any) -> Any:
    out = primitive.bind(*primals, **params)
    inexact = jnp.issubdtype(out.dtype, jnp.inexact)
    return out, jnp.zeros_like(out) if inexact else np.zeros(out.shape, jax.dtypes.float0)


for _primitive, _kind, _batched, _derivative in (
    (site_p, _site_type, _batch_site, functools.partial(_no_derivative, site_p)),
    (factor_p, _operand_type, _batch_factor, functools.partial(_no_derivative, factor_p)),
    (
        label_p,
        _operand_type,
        lambda axis, operands, dims, *, mark: (label_p.bind(*operands, mark=mark), dims[0]),
        lambda primals, tangents, *, mark: (label_p.bind(*primals, mark=mark), tangents[0]),
    ),
):
    _primitive.def_impl(_outside)
    _primitive.def_abstract_eval(_kind)
    batching.fancy_primitive_batchers[_primitive] = _batched
    ad.primitive_jvps[_primitive] = _derivative


current_trace = get_opaque_trace_state  # a token of the JAX transformation that is running

with jax.core.eval_context():  # this module may be imported inside a transformation
    _NONE = current_trace()


def in_a_trace() -> bool:
    """Tell whether any JAX transformation is running.

    >>> in_a_trace(), jax.jit(lambda: in_a_trace())().item()
    (False, True)
    """
    return bool(current_trace() != _NONE)


def first_mark(operations: Iterable[Any]) -> Any:
    """Find the first statement among operations; None where there is none."""
    for operation in operations:
        said = statement_of(operation)
        if said is not None:
            return said[1]["mark"]
    return None


def weighs(operation: Any) -> bool:
    """Tell whether factors, observations or named values stand inside an operation."""
    said = filter(None, map(statement_of, inside(operation)))
    return any(primitive is not site_p or carried["mark"].observed for primitive, carried in said)
