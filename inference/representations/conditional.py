"""Conditional: an algorithm on particles whose first particle is a path that is given, the reference.

Law: from a path that has the program's posterior, the run draws u, all its random choices, from psi(u) Z-hat(u) / Z,
where psi is the law of the algorithm itself. So a path picked at its end has the posterior again, E[1 / Z-hat] =
P(Z-hat > 0) / Z, and E[log Z-hat] >= log Z.

Reference: Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import show_address
from lawful.distributions.observed_law import DerivedLaw
from lawful.errors import UnsupportedProgramError
from lawful.form import Det, Factor, Form, Node, Plate, Site, Var
from lawful.form.builder import Block, Tupled
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import without_dead_code
from lawful.form.rewriting import with_nodes, with_subforms
from lawful.passes.add_plate import lift
from lawful.passes.condition import fed

from ..laws.conditional_resampling import ConditionalLaw
from ..laws.picks import PickLaw
from ..laws.resampling_schemes import ResampleLaw


@dataclass(frozen=True)
class ReferenceLaw(DerivedLaw):
    """The law of a choice that knows its value on the reference: parameters are (that value, *those of the prior)."""

    base: Any

    def draw(self, key: jax.Array, reference: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw from the prior."""
        return self.base.draw(key, *parameters)

    def enumerate(self, reference: jax.Array, *parameters: jax.Array) -> Any:
        """List the values of the prior."""
        return self.base.enumerate(*parameters)

    def log_prob(self, value: jax.Array, reference: jax.Array, *parameters: jax.Array) -> Any:
        """Score by the prior."""
        return self.base.log_prob(value, *parameters)


@dataclass(frozen=True)
class Reference:
    """A program whose choices know a path: inputs are the program's, then the path, one value for each choice."""

    form: Form
    choices: tuple[Choice, ...]


def reference(program: Form) -> Reference:
    """Bring a path to the choices of a program; it has no effect before `retained`.

    >>> import numpyro.distributions as dist, lawful
    >>> reference(lawful.trace(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)))).form
    Form(1 inputs, 1 latent sites, 0 observed, 1 nodes)
    """
    choices = choices_of(program)

    def know(node: Site | Factor, path: Var | None) -> tuple[Node, ...]:
        if path is None or not isinstance(node, Site):
            return (node,)
        return (replace(node, law=ReferenceLaw(node.law), parameters=(path, *node.parameters)),)

    return Reference(replace(fed(program, {c.address for c in choices}, know).form, in_tree=None), choices)


def on_reference(form: Form) -> Form:
    """Observe the choices of a part of such a program at the reference."""

    def observe(node: Node) -> Node:
        if isinstance(node, Site) and isinstance(node.law, ReferenceLaw):
            path, *parameters = node.parameters
            return replace(node, law=node.law.base, parameters=tuple(parameters), observed=path)
        return with_subforms(node, on_reference)

    return with_nodes(form, [observe(node) for node in form.nodes])


def retained(algorithm: Form) -> Form:
    """Keep the first particle of an algorithm on the reference that the choices of its program know.

    Args:
        algorithm: importance sampling or a particle filter of a program made by `reference`, as Form.

    Raises: UnsupportedProgramError where the algorithm draws in another way than by choices of the program and
        ancestors.
    """
    return without_dead_code(_retained(algorithm))


def _retained(form: Form) -> Form:
    block = Block()
    block.constants.extend(form.constants)
    for node in form.nodes:
        block.nodes.extend(_kept(block, node))
    return replace(form, nodes=tuple(block.nodes), constants=tuple(block.constants))


def _kept(block: Block, node: Node) -> tuple[Node, ...]:
    if not isinstance(node, Site):
        return (with_subforms(node, _retained),)
    if node.observed is not None or isinstance(node.law, PickLaw | ConditionalLaw):
        return (node,)
    if isinstance(node.law, ResampleLaw):
        first = block.constant(np.zeros((), jnp.int32))
        return (replace(node, law=ConditionalLaw(node.law), parameters=(*node.parameters, first)),)
    if not isinstance(node.law, ReferenceLaw) or len(node.plates) != 1:
        raise UnsupportedProgramError(
            f"a path cannot be retained: '{show_address(node.address)}' is a draw of the algorithm that is neither a "
            "choice of the program nor an ancestor, as that of a move. Fix: importance sampling, or smc without move=.",
            site=node.address,
        )
    plate: Plate = node.plates[0]
    path, *parameters = node.parameters
    drawn = node.out.like()
    keep = Det(Tupled(_first), (drawn, path), (node.out,), f"reference at the first {plate.name}")
    return replace(node, law=node.law.base, parameters=tuple(parameters), out=drawn), keep


def without_factors(form: Form) -> Form:
    """Drop the weight of a form: what is left runs the algorithm, for a kernel that needs only what it draws."""
    rule: Callable[[Form], Form] = without_factors
    kept = [with_subforms(node, rule) for node in form.nodes if not isinstance(node, Factor)]
    return with_nodes(form, kept)


def _first(drawn: jax.Array, path: jax.Array) -> jax.Array:
    return drawn.at[0].set(path)


def ahead(block: Block, form: Form, plate: Plate, reads: Sequence[Var]) -> Var:
    """Append the log density of a part of the program whose choices are all observed, for each particle.

    Raises: UnsupportedProgramError where the particles still differ after the part: what comes later would weigh them,
        too.
    """
    lifted = lift(form, plate, [plate in v.plates for v in reads], consume_all=True)
    *after, density = block.splice(lifted.form, reads)
    if any(plate in v.plates for v in after):
        raise UnsupportedProgramError(
            "particle Gibbs: after a step whose choices are given, the state of the loop still depends on the state "
            "before it, so a path cannot get other ancestors by one step alone. Fix: carry choices only, as in "
            "`return x, None` for x = sample(...), or use ancestors='retained'."
        )
    return density
