"""Retained: an algorithm on particles whose first particle is a path that is given.

Law: from a path that has the program's posterior, the run draws u, all its random choices, from psi(u) Z-hat(u) / Z,
where psi is the law of the algorithm itself. Hence E[1 / Z-hat] = P(Z-hat > 0) / Z, and E[log Z-hat] >= log Z.

Reference: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from lawful.addresses import Address, show_address
from lawful.analysis import without_dead_code
from lawful.block import Tupled
from lawful.errors import UnsupportedProgramError
from lawful.form import Branch, Det, Form, Loop, Node, Plate, Site, Var
from lawful.laws import DerivedLaw
from lawful.record import Choice

from .laws import PickLaw, ResampleLaw
from .numerics.picks import multinomial


@dataclass(frozen=True)
class RetainedLaw(DerivedLaw):
    """Ancestors of which the first is the first particle; the others are independent, as multinomial ancestors are."""

    base: ResampleLaw

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{self.base.label}, first retained"

    def draw(self, key: jax.Array, weights: jax.Array) -> jax.Array:
        """Draw all ancestors, and put the first back."""
        return self.base.draw(key, weights).at[0].set(0)

    def enumerate(self, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the ancestors with their log masses."""
        ancestors, masses = self.base.enumerate(weights)
        return ancestors.at[:, 0].set(0), masses

    def log_prob(self, value: jax.Array, weights: jax.Array) -> jax.Array:
        """Sum the masses of the cells that give these ancestors."""
        ancestors, masses = self.enumerate(weights)
        same = jnp.all(ancestors == value, axis=1)
        return jax.scipy.special.logsumexp(jnp.where(same, masses, -jnp.inf))


def retained(algorithm: Form, choices: Sequence[Choice]) -> Form:
    """Keep the first particle on a given path.

    Args:
        algorithm: importance sampling or a particle filter, as Form.
        choices: the choices of the program; their values on the path become further inputs, in this order.

    Returns: a form without outputs, whose weight is Z-hat.

    Raises: UnsupportedProgramError where the algorithm draws in another way than by choices of the program and
        multinomial ancestors.
    """
    given = {c.address: Var(c.full_shape, c.dtype) for c in choices}
    kept = _retained(without_dead_code(replace(algorithm, outputs=(), out_tree=None)), given)
    return without_dead_code(replace(kept, inputs=(*algorithm.inputs, *given.values()), in_tree=None))


def _retained(form: Form, given: Mapping[Address, Var]) -> Form:
    return replace(form, nodes=tuple(new for node in form.nodes for new in _node(node, given)))


def _node(node: Node, given: Mapping[Address, Var]) -> tuple[Node, ...]:
    if isinstance(node, Loop):
        own = {a: v for a, v in given.items() if a in _addresses(node.body)}
        rows = {a: Var(v.shape[1:], v.dtype) for a, v in own.items()}
        body = _retained(node.body, rows)
        body = replace(body, inputs=(*body.inputs, *rows.values()))
        return (replace(node, body=body, xs=(*node.xs, *own.values())),)
    if isinstance(node, Branch):
        own = {a: v for a, v in given.items() if any(a in _addresses(arm) for arm in node.forms)}
        arms = []
        for arm in node.forms:
            inner = {a: v.like() for a, v in own.items()}
            kept = _retained(arm, inner)
            arms.append(replace(kept, inputs=(*kept.inputs, *inner.values())))
        return (replace(node, forms=tuple(arms), operands=(*node.operands, *own.values())),)
    if not isinstance(node, Site) or node.observed is not None or isinstance(node.law, PickLaw):
        return (node,)
    if isinstance(node.law, ResampleLaw):
        if node.law.scheme != multinomial:
            raise UnsupportedProgramError(
                f"a retained path needs multinomial ancestors, but '{show_address(node.address)}' draws them by "
                f"{node.law.scheme}. Fix: resampling='multinomial'.",
                site=node.address,
            )
        return (replace(node, law=RetainedLaw(node.law)),)
    if node.address not in given or len(node.out.plates) != 1:
        raise UnsupportedProgramError(
            f"a path cannot be retained: '{show_address(node.address)}' is a draw of the algorithm that is neither a "
            "choice of the program nor an ancestor, as that of a move. Fix: importance sampling, or smc without move=.",
            site=node.address,
        )
    plate: Plate = node.out.plates[0]
    drawn = node.out.like()
    keep = Det(Tupled(_first), (drawn, given[node.address]), (node.out,), f"path at the first {plate.name}")
    return (replace(node, out=drawn), keep)


def _addresses(form: Form) -> set[Address]:
    return {site.address for site in form.sites() if site.observed is None}


def _first(drawn: jax.Array, path: jax.Array) -> jax.Array:
    return drawn.at[0].set(path)
