"""Builder: a form is written node by node; transformers append nodes to a block and close it into a form.

Law: what a block appends reads only values that exist, and shapes follow from the functions themselves. What a loop
carries and a branch takes and gives may be a bundle: records, which are made flat here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..addresses import Address
from ..messages import Source
from .bundles import filled, like, listed, rows
from .nodes import Branch, Det, Factor, Form, Loop, Node, Plate, Site, Var
from .operations.device import device_array
from .rewriting import with_operands, with_results


@dataclass(frozen=True)
class Tupled:
    """A function whose single result is given as a tuple of one, which is what a Det expects."""

    function: Callable[..., Any]

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """Call the function."""
        out = self.function(*values)
        return tuple(out) if isinstance(out, tuple | list) else (out,)


@dataclass(frozen=True)
class LogProb:
    """The log density of a law as a function of the value, then the parameters."""

    law: Any

    def __call__(self, value: Any, *parameters: Any) -> tuple[Any]:
        """Score the value."""
        return (self.law.log_prob(value, *parameters),)


class Block:
    """A growing list of nodes."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: list[tuple[Var, Any]] = []

    def constant(self, array: Any) -> Var:
        """Add a constant array."""
        array = device_array(array)
        value = Var(array.shape, array.dtype)
        self.constants.append((value, array))
        return value

    def det(
        self,
        function: Callable[..., Any],
        *ins: Var,
        label: str,
        plates: tuple[Plate, ...] = (),
        adds: tuple[Plate, ...] | list[tuple[Plate, ...]] = (),
    ) -> Any:
        """Append a pure function mapped over `plates`; leading axes of its results become the plates `adds`.

        `adds` is one tuple for all results, or a list with one tuple per result.

        Returns: one Var where the function returns an array, else a tuple of Vars.
        """
        shapes = [jax.ShapeDtypeStruct(unmapped_shape(v, plates), v.dtype) for v in ins]
        result = jax.eval_shape(function, *shapes)
        single = not isinstance(result, tuple | list)
        results = (result,) if single else tuple(result)
        axes = adds if isinstance(adds, list) else [adds] * len(results)
        outs = tuple(Var(tuple(s.shape[len(a) :]), s.dtype, (*plates, *a)) for s, a in zip(results, axes, strict=True))
        self.nodes.append(Det(Tupled(function), ins, outs, label, plates))
        return outs[0] if single else outs

    def site(
        self,
        address: Address,
        law: Any,
        parameters: Sequence[Var],
        plates: tuple[Plate, ...] = (),
        droppable: bool = False,
    ) -> Var:
        """Append a random choice."""
        out = Var(tuple(law.shape), law.dtype, plates)
        self.nodes.append(Site(address, law, tuple(parameters), out, plates=plates, droppable=droppable))
        return out

    def log_prob(
        self, law: Any, value: Var, parameters: Sequence[Var], *, label: str,
        source: Source = Source("<algorithm>", 0), plates: tuple[Plate, ...] = (),
    ) -> Var:  # fmt: skip
        """Append the log density of a value."""
        term = Var((), jnp.result_type(float), plates)
        self.nodes.append(Det(LogProb(law), (value, *parameters), (term,), label, plates, source=source))
        return term

    def factor(self, address: Address, term: Var) -> None:
        """Append a factor."""
        self.nodes.append(Factor(address, term))

    def loop(
        self,
        body: Form,
        length: int,
        constants: Sequence[Var],
        init: Sequence[Var],
        xs: Sequence[Var],
        reverse: bool = False,
        addresses: tuple[tuple[Address, tuple[Address, ...]], ...] | None = None,
    ) -> tuple[tuple[Var, ...], tuple[Var, ...]]:
        """Append a loop; returns the final carry and the stacked outputs."""
        n_const, n_carry = len(constants), len(init)
        carry_out = tuple(v.like() for v in body.inputs[n_const : n_const + n_carry])
        ys = tuple(Var((length, *v.shape), v.dtype, v.plates) for v in body.outputs[n_carry:])
        ins = tuple(constants), tuple(init), tuple(xs)
        self.nodes.append(Loop(body, length, *ins, carry_out, ys, reverse, addresses=addresses))
        return carry_out, ys

    def branch(
        self, index: Var, forms: Sequence[Form], operands: Sequence[Var], outs: Sequence[Var], label: str = "branch"
    ) -> tuple[Var, ...]:
        """Append a branch whose outputs are typed like `outs`."""
        fresh = tuple(v.like() for v in outs)
        self.nodes.append(Branch(index, tuple(forms), tuple(operands), fresh, label=label))
        return fresh

    def scan(
        self,
        write: Callable[[Block, Any, Any, Any], tuple[Any, Any]],
        length: int,
        constants: Any,
        init: Any,
        xs: Any,
        *,
        reverse: bool = False,
        carried: Any = None,
    ) -> tuple[Any, Any]:
        """Append a loop, whose step a function writes: bundles in, bundles out, as in `jax.lax.scan`.

        Args:
            write: (the block of the step, constants, state, one row of `xs`) -> (state after the step, what it gives).
            length: how many steps.
            constants: what all steps read.
            init: the state before the first step.
            xs: what the steps read one row each of.
            reverse: whether the last row comes first.
            carried: types of the state in a step, where those of `init` do not vary with a plate that it varies with.

        Returns: the last state, and what the steps give, stacked.
        """
        inner = Block()
        given, state, row = like(constants), like(init if carried is None else carried), rows(xs)
        after, out = write(inner, given, state, row)
        body = inner.form((given, state, row), (after, out))
        last, stacked = self.loop(body, length, listed(constants), listed(init), listed(xs), reverse)
        return filled(state, last), filled(out, stacked)

    def switch(self, index: Var, arms: Sequence[Callable[[Block, Any], Any]], operands: Any, *, label: str) -> Any:
        """Append a branch, whose arms functions write: (the block of the arm, operands) -> bundle, alike in all."""
        forms, results = [], []
        for arm in arms:
            inner, given = Block(), like(operands)
            results.append(arm(inner, given))
            forms.append(inner.form(given, results[-1]))
        return filled(results[0], self.branch(index, forms, listed(operands), forms[0].outputs, label))

    def splice(self, form: Form, inputs: Any) -> tuple[Var, ...]:
        """Append a copy of all nodes of a form; returns its outputs."""
        mapping = dict(zip(form.inputs, listed(inputs), strict=True))
        for variable, array in form.constants:
            mapping[variable] = variable.like()
            self.constants.append((mapping[variable], array))
        for node in form.nodes:
            self.nodes.append(renamed(node, mapping))
        return tuple(mapping[v] for v in form.outputs)

    def form(self, inputs: Any, outputs: Any, **fields: Any) -> Form:
        """Close the block; inputs and outputs may be bundles."""
        return Form(listed(inputs), tuple(self.nodes), listed(outputs), tuple(self.constants), **fields)


def unmapped_shape(value: Var, plates: tuple[Plate, ...]) -> tuple[int, ...]:
    """Shape that a function mapped over `plates` sees: the other plates of the value, then its own shape."""
    return (*(p.size for p in value.plates if p not in plates), *value.shape)


def renamed(node: Node, mapping: dict[Var, Var]) -> Node:
    """Copy a node with new operands and fresh results; `mapping` learns the results."""
    moved = with_operands(node, tuple([mapping[v] for v in node.ins]))
    mapping.update((v, v.like()) for v in node.outs)
    return with_results(moved, tuple([mapping[v] for v in node.outs]))


def add(*terms: Any) -> Any:
    """Sum scalars."""
    return sum(terms[1:], terms[0])


def total(block: Block, terms: Sequence[Var], plates: tuple[Plate, ...] = ()) -> Var:
    """Append the sum of scalar terms; no term is zero."""
    if not terms:
        return block.constant(np.zeros((), jnp.result_type(float)))
    if len(terms) == 1 and terms[0].plates == plates:
        return terms[0]
    if all(v.shape == () and v.dtype == terms[0].dtype and set(v.plates) <= set(plates) for v in terms):
        out = Var((), terms[0].dtype, plates)  # the type is known, so a long sum need not be traced
        block.nodes.append(Det(Tupled(add), tuple(terms), (out,), "sum", plates))
        return out
    return block.det(add, *terms, label="sum", plates=plates)
