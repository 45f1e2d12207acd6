"""Fitted proposals: the choices of a step are drawn from the normal that fits what the step has to explain.

Law: [[local_proposals()(p)]] = [[p]]: each site has the weight p / q of its draw, and q, a normal in coordinates
without bounds, reaches every value. Where a step is Gaussian, q is the law of its choices given its data, so the weight
of a particle does not depend on what it draws: the filter is fully adapted.

Reference: Doucet, Godsill and Andrieu (2000), On sequential Monte Carlo sampling methods for Bayesian filtering, II.D:
the optimal importance function and its local linearisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions.transforms import ReshapeTransform

import lawful
from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form, Loop, Site, Var
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.ratio import log_ratio
from lawful.passes.fill_absent import unguarded
from lawful.passes.thread_sites import score
from lawful.tracing.trace import trace

from ...contract import PRESERVES, Transformer
from ...laws.invalid_weights import cleaned
from ...representations.coordinates import Map, map_of
from .propose import PROPOSAL

STEPS = (1.0, 0.3, 0.1, 0.01)  # how much of a Newton step is tried
FLAT = 1e-8  # the least curvature: where a density is flat, the normal stays a normal


def local_proposals(iterations: int = 6, scale: float = 1.0) -> Transformer:
    """Draw the choices of every step of a scan from a normal that is fitted to the step, particle by particle.

    The normal has the mode and the curvature of the step's density given where the particle stands: of its choices,
    observations and factors together. It is found by Newton's method, in coordinates without bounds.

    Args:
        iterations: Newton steps; one is enough where the step is Gaussian.
        scale: the normal's standard deviations are so many times those of the fit; more than 1 guards against tails
            that are heavier than a normal's.

    Returns: a transformer of programs and Forms, for `smc(local_proposals()(model), ...)`.

    Raises, when the program is traced:
        UnsupportedProgramError: a choice of a step is discrete, is made in a branch or in a loop inside the step; or
            no loop has a choice.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def walk(y):
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, 1.0))
    ...         lawful.sample("y", dist.Normal(x, 0.1), obs=y)
    ...         return x, x
    ...     return lawful.scan(step, 0.0, y)[1]
    >>> y = jnp.array([3.0, -2.0, 4.0])
    >>> plans = [inference.smc(program, particles=100) for program in (walk, local_proposals()(walk))]
    >>> plain, local = (float(plan(jax.random.key(0), y).stats["ess"].min()) for plan in plans)
    >>> local > 10 * plain
    True
    """
    if iterations < 1 or scale <= 0:
        raise LawfulError(f"local_proposals: expected iterations >= 1 and scale > 0, got {iterations} and {scale}.")
    rewrite = partial(_rewritten, iterations=iterations, scale=scale)
    return Transformer(f"local_proposals({iterations}, {scale:g})", rewrite, PRESERVES)


def _rewritten(form: Form, iterations: int, scale: float) -> Form:
    """Rewrite the bodies of the loops that choose."""
    form = unguarded(form)
    chooses = [isinstance(node, Loop) and bool(choices_of(node.body)) for node in form.nodes]
    if not any(chooses):
        raise UnsupportedProgramError("local_proposals: no loop of the program has a choice. Fix: use lawful.scan.")
    nodes = tuple(
        replace(node, body=_local(node.body, iterations, scale)) if chosen and isinstance(node, Loop) else node
        for node, chosen in zip(form.nodes, chooses, strict=True)
    )
    return replace(form, nodes=nodes)


def _local(body: Form, iterations: int, scale: float) -> Form:
    """Draw the choices of a step from the normal that fits it, one after the other, each given those before."""
    step = _Step(body, choices_of(body))
    sites = {node.address: node for node in body.nodes if isinstance(node, Site) and node.observed is None}
    for choice in step.choices:
        _refuse(choice, choice.address in sites)
    block = Block()
    block.constants.extend(body.constants)
    mean, root = block.det(partial(step.fit, iterations, scale), *body.inputs, label="local normal")
    noise: list[Var] = []
    for node in body.nodes:
        if isinstance(node, Site) and node.observed is None:
            _draw(block, node, step, (mean, root), noise)
        else:
            block.nodes.append(node)
    return block.form(body.inputs, body.outputs, in_tree=body.in_tree, out_tree=body.out_tree)


def _refuse(choice: Choice, stands_here: bool) -> None:
    what = "is discrete" if not jnp.issubdtype(choice.dtype, jnp.floating) else None
    what = what or (None if stands_here else "is made in a branch or a loop inside the step")
    if what:
        raise UnsupportedProgramError(
            f"local_proposals: site '{choice.name}' ({choice.source}) {what}, so no normal fits it. Fix: give a "
            "proposal program, smc(model, proposal=...), or sum the site out, enumerate=[...].",
            site=choice.address,
        )


def _draw(block: Block, node: Site, step: _Step, normal: tuple[Var, Var], noise: list[Var]) -> None:
    """Append the draw of a site, and the factor that weighs it."""
    number = len(noise)
    place, choice = step.maps[number], step.choices[number]
    given = block.det(partial(step.conditional, number), *normal, *noise, label="given those before")
    drawn = trace(partial(_sample, place, choice.full_shape), *(jnp.zeros(v.shape, v.dtype) for v in given))
    *parts, site = drawn.nodes
    assert isinstance(site, Site)
    inner = Form(drawn.inputs, tuple(parts), site.parameters, drawn.constants)
    parameters = block.splice(inner, given)
    block.nodes.append(replace(node, law=site.law, parameters=parameters))
    terms = [
        block.log_prob(law, node.out, operands, label=f"log {name}({node.address[-1]})", source=node.source)
        for name, law, operands in (("p", node.law, node.parameters), ("q", site.law, parameters))
    ]
    block.factor((*node.address, PROPOSAL), block.det(log_ratio, *terms, label="log p / q"))
    noise.append(block.det(partial(_standard, place), node.out, *given, label="noise"))


def _sample(place: Map, shape: tuple[int, ...], mean: jax.Array, root: jax.Array) -> Any:
    """Sample a value whose coordinates are normal."""
    if shape == () and place.size == 1:
        base: Any = dist.Normal(mean[0], root[0, 0])
    else:
        base = dist.TransformedDistribution(
            dist.MultivariateNormal(mean, scale_tril=root), ReshapeTransform(place.shape, (place.size,))
        )
    return lawful.sample("x", dist.TransformedDistribution(base, place.bijector))


def _standard(place: Map, value: jax.Array, mean: jax.Array, root: jax.Array) -> jax.Array:
    """Give the noise that a value was made of."""
    return jax.scipy.linalg.solve_triangular(root, place.coordinates(value) - mean, lower=True)


@dataclass(frozen=True, eq=False)
class _Step:
    """A step as a density of the coordinates of its choices."""

    body: Form
    choices: tuple[Choice, ...]

    @cached_property
    def maps(self) -> tuple[Map, ...]:
        """The coordinates of each choice."""
        return tuple(map_of(choice) for choice in self.choices)

    @cached_property
    def _scored(self) -> tuple[Callable[..., Any], int]:
        scoring = score(self.body)
        return emit(scoring.form), scoring.own

    def log_density(self, inputs: Sequence[jax.Array], vector: jax.Array) -> jax.Array:
        """Score coordinates, Jacobian included."""
        run, own = self._scored
        values, jacobian, start = [], jnp.zeros((), vector.dtype), 0
        for place, choice in zip(self.maps, self.choices, strict=True):
            part = vector[start : start + place.size].astype(choice.dtype)
            values.append(place.value(part))
            jacobian += place.log_jacobian(part, values[-1])
            start += place.size
        outputs, _ = run(jax.random.key(0), *inputs, *values)
        return outputs[own] + outputs[own + 1] + jacobian

    def fit(self, iterations: int, scale: float, *inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Find the mode, and the root of the covariance there."""
        density = partial(self.log_density, inputs)

        def curvature(at: jax.Array) -> tuple[jax.Array, jax.Array]:
            values, vectors = jnp.linalg.eigh(-jax.hessian(density)(at))
            return jnp.maximum(jnp.abs(values), FLAT), vectors

        def newton(at: jax.Array, _: None) -> tuple[jax.Array, None]:
            values, vectors = curvature(at)
            step = vectors @ (vectors.T @ jax.grad(density)(at) / values)
            tried = jnp.stack([at, *(at + share * step for share in STEPS)])
            reached = jax.vmap(density)(tried)
            return tried[jnp.argmax(cleaned(reached)[0])], None

        start = jnp.zeros(sum(place.size for place in self.maps))
        mode, _ = jax.lax.scan(newton, start, None, length=iterations)
        values, vectors = curvature(mode)
        root = scale * jnp.linalg.cholesky((vectors / values) @ vectors.T)
        found = jnp.isfinite(root).all()
        return mode, jnp.where(found, root, jnp.eye(len(start)))

    def conditional(
        self, number: int, mean: jax.Array, root: jax.Array, *noise: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Give the normal of one choice, given the noise of those before."""
        start = sum(place.size for place in self.maps[:number])
        here = slice(start, start + self.maps[number].size)
        before = jnp.concatenate([jnp.zeros(0), *noise])
        return mean[here] + root[here, :start] @ before, root[here, here]
