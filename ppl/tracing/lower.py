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
from ..form.from_jaxpr import Frame, Reader
from ..form.operations.equation import CALLS, identity
from .primitives import OURS, factor_p, first_mark, site_p, weighs


def lower(program: Callable[..., Any], *args: Any) -> tuple[Form, Any]:
    """Trace a program on the shapes of its arguments and return its Form and the structure of its output."""
    trees: list[Any] = []

    def flat(*leaves: Any) -> list[Any]:
        out = program(*jax.tree.unflatten(in_tree, leaves))
        flat_out, tree = jax.tree.flatten(out)
        trees.append(tree)
        return [_output(leaf) for leaf in flat_out]

    leaves, in_tree = jax.tree.flatten(args)
    closed = jax.make_jaxpr(flat)(*leaves)
    form = _Lowering().form(closed, in_tree=in_tree, out_tree=trees[-1])
    return form, trees[-1]


def holds_statements(function: Callable[..., Any], *args: Any) -> bool:
    """Tell whether a function announces sites, factors or named values when it is traced on the given arguments."""
    return first_mark({"jaxpr": jax.make_jaxpr(function)(*args)}) is not None


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
        super().__init__((*CALLS, "scan", "cond"))
        self.arms = 0  # around what is read now

    def equation(self, eqn: Any, frame: Frame) -> None:
        name = eqn.primitive.name
        if eqn.primitive in OURS:
            self.statement(eqn, frame)
        elif (mark := first_mark(eqn.params)) is None:
            self.det(eqn, frame)
        elif name in self.opened:
            super().equation(eqn, frame)
        elif name == "while" and not weighs(eqn.params):
            self.forward(eqn, frame)
        else:
            raise UnsupportedProgramError(
                f"site '{show_address(mark.address)}' ({mark.source}) stands inside jax '{name}', which has no density "
                "there. Fix: use lawful.scan, lawful.cond or lawful.bounded_loop, or run the program eagerly.",
                site=mark.address, construct=name,
            )  # fmt: skip

    def statement(self, eqn: Any, frame: Frame) -> None:
        mark = eqn.params["mark"]
        if mark.arms > self.arms:
            raise UnsupportedProgramError(
                f"'{show_address(mark.address)}' ({mark.source}) stands in an arm that jax.vmap would choose lane by "
                "lane, so it would count in every lane. Fix: put the lanes into a plate, and choose among them by "
                "jnp.where and lawful.mask; of a padded scan, put the plate into the body, with a mask (steps, lanes).",
                site=mark.address, construct="vmap",
            )  # fmt: skip
        if eqn.primitive is site_p:
            self.site(eqn, frame)
            return
        (value,) = (frame.read(v) for v in eqn.invars)
        if eqn.primitive is factor_p:
            frame.nodes.append(Factor(term=value, role=mark.role, **mark.told()))
            return
        outs = (frame.new(eqn.outvars[0]),)
        frame.nodes.append(Det(identity, (value,), outs, mark.address[-1], **mark.told()))

    def branch(self, eqn: Any, frame: Frame) -> None:
        self.arms += 1
        super().branch(eqn, frame)
        self.arms -= 1

    def site(self, eqn: Any, frame: Frame) -> None:
        mark, lanes, laned = (eqn.params[k] for k in ("mark", "lanes", "laned"))
        operands = tuple([frame.read(v) for v in eqn.invars])
        parameters = operands[:-1] if mark.observed else operands
        law = LanesLaw(mark.law, lanes, laned[: len(parameters)]) if lanes else mark.law
        observed = operands[-1] if mark.observed else None
        if observed is not None and observed.shape != law.shape:
            raise LawfulError(
                f"site '{show_address(mark.address)}' ({mark.source}) is observed under jax.vmap with one value "
                "for all lanes: use plate(name, size) and observe an array.",
                site=mark.address,
            )
        out = frame.new(eqn.outvars[0])
        frame.nodes.append(Site(law=law, parameters=parameters, out=out, observed=observed, **mark.told()))

    def forward(self, eqn: Any, frame: Frame) -> None:
        """Draw a loop without a bound as a whole, from one seed."""
        params, mark = eqn.params, first_mark(eqn.params)
        seed = Var((2,), jnp.dtype(jnp.uint32))
        law = seed_law(mark.address, mark.source)
        frame.nodes.append(Site((*mark.address, "while"), law, (), seed, source=mark.source))
        counts = int(params["cond_nconsts"]), int(params["body_nconsts"])
        function = ForwardLoop(self.form(params["cond_jaxpr"]), self.form(params["body_jaxpr"]), counts)
        operands = tuple(frame.read(v) for v in eqn.invars)
        outs = tuple(frame.new(v) for v in eqn.outvars)
        frame.nodes.append(Det(function, (seed, *operands), outs, "while"))
