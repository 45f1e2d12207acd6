"""Lower: from a program to a form.

Law: the form denotes the measure of the program. Its statements are operations of JAX while it is traced, and become
sites, factors and named values; loops and branches are kept where they hold statements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..addresses import show_address
from ..backends.while_loop import ForwardLoop, seed_law
from ..distributions.batched import LanesLaw
from ..errors import LawfulError, UnsupportedProgramError
from ..form import Det, Factor, Form, Site, Var
from ..form.operations.equation import equation_of, identity, inside, is_call, operations_of
from ..form.operations.from_jaxpr import Frame, Reader
from ..form.operations.jax_extension import statement_of
from .primitives import factor_p, first_mark, site_p, weighs

type Values = tuple[Var, ...]


def lower(program: Callable[..., Any], *args: Any) -> Form:
    """Trace a program on the shapes of its arguments and return its Form."""

    def checked(*leaves: Any) -> Any:  # errors of JAX name an argument by this name
        return jax.tree.map(_output, program(*leaves))

    closed, out = jax.make_jaxpr(checked, return_shape=True)(*args)
    return _Lowering().form(closed, out_tree=jax.tree.structure(out))


def holds_statements(function: Callable[..., Any], *args: Any) -> bool:
    """Tell whether a function announces sites, factors or named values when it is traced on the given arguments."""
    return first_mark(operations_of(function, *args)) is not None


def _output(leaf: Any) -> Any:
    if callable(leaf) and not hasattr(leaf, "dtype"):
        name = getattr(leaf, "__name__", repr(leaf))
        raise UnsupportedProgramError(
            f"the program returns the function '{name}', which is no value of a traced program. Fix: call it inside "
            "the program that receives it, or run the program eagerly, by handlers.seed."
        )
    return jnp.asarray(leaf)


class _Lowering(Reader):
    """The walk over a traced program; calls, scans and choices that hold statements are opened."""

    def __init__(self) -> None:
        super().__init__(is_call, loops=True)
        self.arms = 0  # around what is read now

    def equation(self, eqn: Any, frame: Frame) -> None:
        said = statement_of(eqn)
        if said is not None:
            self.statement(*said, frame.operands(eqn), frame.results(eqn), frame)
        elif (mark := first_mark(inside(eqn))) is None:
            self.det(eqn, frame)
        elif not self.open(eqn, frame) and (weighs(eqn) or not self.forward(eqn, mark, frame)):
            name = equation_of(eqn).name
            raise UnsupportedProgramError(
                f"site '{show_address(mark.address)}' ({mark.source}) stands inside jax '{name}', which has no density "
                "there. Fix: use lawful.scan, lawful.cond or lawful.bounded_loop, or run the program eagerly.",
                site=mark.address, construct=name,
            )  # fmt: skip

    def statement(self, primitive: Any, carried: Any, operands: Values, outs: Values, frame: Frame) -> None:
        mark = carried["mark"]
        if mark.arms > self.arms:
            raise UnsupportedProgramError(
                f"'{show_address(mark.address)}' ({mark.source}) stands in an arm that jax.vmap would choose lane by "
                "lane, so it would count in every lane. Fix: put the lanes into a plate, and choose among them by "
                "jnp.where and lawful.mask; of a padded scan, put the plate into the body, with a mask (steps, lanes).",
                site=mark.address, construct="vmap",
            )  # fmt: skip
        if primitive is site_p:
            self.site(mark, carried["lanes"], carried["laned"], operands, outs[0], frame)
            return
        if primitive is factor_p:
            (term,) = operands
            frame.nodes.append(Factor(term=term, role=mark.role, **mark.told()))
            return
        frame.nodes.append(Det(identity, operands, outs, mark.address[-1], **mark.told()))

    def branch(self, eqn: Any, frame: Frame) -> None:
        self.arms += 1
        super().branch(eqn, frame)
        self.arms -= 1

    def site(self, mark: Any, lanes: Any, laned: Any, operands: Values, out: Var, frame: Frame) -> None:
        parameters = operands[:-1] if mark.observed else operands
        law = LanesLaw(mark.law, lanes, laned[: len(parameters)]) if lanes else mark.law
        observed = operands[-1] if mark.observed else None
        if observed is not None and observed.shape != law.shape:
            raise LawfulError(
                f"site '{show_address(mark.address)}' ({mark.source}) is observed under jax.vmap with one value "
                "for all lanes: use plate(name, size) and observe an array.",
                site=mark.address,
            )
        frame.nodes.append(Site(law=law, parameters=parameters, out=out, observed=observed, **mark.told()))

    def forward(self, eqn: Any, mark: Any, frame: Frame) -> bool:
        """Draw a loop without a bound as a whole, from one seed; no other operation is one."""
        read = self.while_loop(eqn)
        if read is None:
            return False
        seed = Var((2,), jnp.dtype(jnp.uint32))
        law = seed_law(mark.address, mark.source)
        frame.nodes.append(Site((*mark.address, "while"), law, (), seed, source=mark.source))
        frame.nodes.append(Det(ForwardLoop(*read), (seed, *frame.operands(eqn)), frame.results(eqn), "while"))
        return True
