"""Moments: means and covariances of the normal sites of a chain, given all data, or those up to each step.

Law: they are those of the program's posterior. Given all data they are what `integrate_normals` draws from: from the
first step on, the covariance of a state and its noises follows from that of the state by the gains. Given the data up
to a step they go forward by roots of covariances, of which none has to be inverted.

Reference: Särkkä (2013), Bayesian Filtering and Smoothing, theorems 4.2 (filter) and 8.2 (smoother).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lawful.backends.xla import emit
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.builder import Block
from lawful.form.choices import Choice, choices_of
from lawful.form.liveness import dependents, without_dead_code
from lawful.form.pipeline import per_form
from lawful.passes.condition import conditioned
from lawful.passes.record import record
from lawful.tracing.trace import trace

from ..noncentred import is_normal
from .backward import FEW, Moments, Steps, over_rows, times, whitening
from .chain_integral import ChainIntegral, Shape
from .chains import Arrays, Chain, Point, along
from .groups import Joint
from .terms import refused


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NormalMoments:
    """Moments of normal sites, a pytree.

    Attributes:
        log_evidence: log density of the data and of the values that were given.
        mean: by name of each site, of its shape (steps, ...).
        covariance: the same of the variances of its elements; of a multivariate site covariances (steps, ..., n, n).
    """

    log_evidence: jax.Array
    mean: dict[str, jax.Array]
    covariance: dict[str, jax.Array]


def smoothed(program: Any, *args: Any, given: Mapping[str, Any] | None = None) -> NormalMoments:
    """Give the moments of the normal sites of a linear Gaussian program given all of its data: the Kalman smoother.

    Args:
        program: a program or a Form whose normal sites stand in a loop, perhaps with some before it.
        args: its arguments.
        given: values of its other sites, by name.

    Raises:
        LawfulError: a site that is not normal has no value.
        UnsupportedProgramError: the normal sites are not seen to be a chain of the steps of a loop.

    >>> import numpyro.distributions as dist, lawful
    >>> def level(y):
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, 1.0))
    ...         lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    ...         return x, None
    ...     lawful.scan(step, 0.0, y)
    >>> found = smoothed(level, jnp.array([1.0, 2.0]))
    >>> [[round(float(x), 6) for x in moment["x"]] for moment in (found.mean, found.covariance)]
    [[0.8, 1.4], [0.4, 0.6]]
    """
    return _moments(program, args, given or {}, _smoothed)


def filtered(program: Any, *args: Any, given: Mapping[str, Any] | None = None) -> NormalMoments:
    """Give the moments of the normal sites of each step given the data up to it: the Kalman filter.

    Args:
        program: as for `smoothed`.
        args: its arguments.
        given: values of its other sites, by name.

    Raises: as `smoothed`; also where all steps read a normal site that stands before the loop.

    >>> import numpyro.distributions as dist, lawful
    >>> def level(y):
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, 1.0))
    ...         lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    ...         return x, None
    ...     lawful.scan(step, 0.0, y)
    >>> found = filtered(level, jnp.array([1.0, 2.0]))
    >>> [[round(float(x), 6) for x in moment["x"]] for moment in (found.mean, found.covariance)]
    [[0.5, 1.4], [0.5, 0.6]]
    """
    return _moments(program, args, given or {}, _filtered)


type Numbers = Callable[[ChainIntegral, Shape, tuple[jax.Array, jax.Array], Sequence[Any]], tuple[Any, ...]]


def _moments(program: Any, args: tuple[Any, ...], given: Mapping[str, Any], numbers: Numbers) -> NormalMoments:
    form = trace(program, *args)
    choices = choices_of(form)
    known = tuple(c for c in choices if c.name in given)
    for name in given.keys() - {c.name for c in known}:
        raise LawfulError(
            f"given: no site is called {name!r}. Fix: give some of {', '.join(repr(c.name) for c in choices)}.",
            given=name,
        )
    names, run = _compiled(form, tuple(c.address for c in known), numbers)
    inputs, _, _ = split_arguments(args)
    values = [jnp.asarray(given[c.name], c.dtype) for c in known]
    evidence, *found = run(*inputs, *values)
    means, covariances = found[: len(names)], found[len(names) :]
    return NormalMoments(evidence, dict(zip(names, means, strict=True)), dict(zip(names, covariances, strict=True)))


@per_form
def _compiled(form: Form, known: tuple[Any, ...], numbers: Numbers) -> tuple[list[str], Callable[..., Arrays]]:
    """Compile the moments, once per form and what is given."""
    recorded = record(conditioned(form, known).form, ("sample",))
    group = recorded.choices
    for choice in group:
        if not is_normal(choice):
            raise LawfulError(
                f"site '{choice.name}' ({choice.source}) is not normal: its value must be given. Fix: "
                f"given={{'{choice.name}': ...}}.",
                site=choice.address,
            )
    source = replace(recorded.form, outputs=recorded.form.outputs[recorded.own :], out_tree=None)
    joint = Joint.of(source, group)
    if joint.chain is None:
        raise refused(
            group, "they are not seen to be the steps of a loop whose state is linear in them",
            "conditional_means(enumeration(form, integrate_normals()), {}) for means",
        )  # fmt: skip
    form, part = joint.form, joint.part
    moving = dependents(form, [site.out for site in part.noises])
    values = Chain.read(conditioned(part.form(form.outputs), (), ()).form, len(part.noises))
    assert values is not None and moving
    places = [part.operands.index(v) for v in joint.density.operands]
    function = _Moments(joint.chain, replace(values, lanes=joint.chain.lanes), group, places, numbers)
    block = Block()
    block.constants.extend(form.constants)
    block.nodes.extend(part.before)
    outs = block.det(jax.jit(function), *part.operands, label="moments")
    run = emit(without_dead_code(block.form(form.inputs, outs)))

    def moments(*inputs: Any) -> Arrays:
        (evidence, *rest), weight = run(jax.random.key(0), *inputs)
        return [evidence + weight, *rest]  # the second is of what no normal site enters

    return [c.name for c in group], jax.jit(moments)


@dataclass(frozen=True, eq=False)
class _Moments:
    """The log evidence, then the means of the sites, then their covariances, from the operands.

    Attributes:
        chain: of the log density.
        values: the same loop, as what gives the values of the sites.
        group: the sites.
        places: of the operands of the former among those of the latter.
        numbers: what is given: all data, or those up to each step.
    """

    chain: Chain
    values: Chain
    group: Sequence[Choice]
    places: Sequence[int]
    numbers: Numbers

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Compute."""
        integral, own = ChainIntegral(self.chain), [operands[i] for i in self.places]
        evidence, shape, given = integral.solved(own)
        path = integral.drawn(given, *map(jnp.zeros_like, (given.before, given.steps)))
        early, late = self.numbers(integral, shape, path, own)
        point, still = self.values.walk(*path, operands)
        outs = self.values.outputs(point, still, operands)[0]
        slopes = [self._slopes(point, still, operands, place) for place in (0, 3, 1)]
        means, covariances = [], []
        for i, (choice, value) in enumerate(zip(self.group, outs, strict=True)):
            by_state, by_early, by_noise = (slope[i] for slope in slopes)
            shared = by_early if self.chain.shared else by_early[..., :0]
            by = jnp.concatenate([by_state, shared, by_noise], -1) if choice.loops else by_early
            given = late if choice.loops else early
            lead = len(choice.loops[:1]) + len(self.chain.lanes)
            middle = (1,) * (value.ndim - lead)
            away = given.mean.reshape(*given.mean.shape[:-1], *middle, given.mean.shape[-1])
            spread = given.covariance.reshape(*given.mean.shape[:-1], *middle, *given.covariance.shape[-2:])
            means.append(value + jnp.sum(by * away, -1))
            half = (by[..., None, :] @ spread)[..., 0, :]
            if choice.law.label == "MultivariateNormal":
                covariances.append(half @ jnp.swapaxes(by, -1, -2))
            else:
                covariances.append(jnp.sum(half * by, -1))
        return evidence, *means, *covariances

    def _slopes(self, point: Point, still: Any, operands: Sequence[Any], place: int) -> Arrays:
        """Differentiate the values of the sites by numbers of each lane, along a last axis."""
        found: Arrays = along(lambda *at: self.values.outputs(Point(*at), still, operands)[0], point, place)
        return found


def _smoothed(integral: ChainIntegral, shape: Shape, path: Any, operands: Sequence[Any]) -> tuple[Moments, Moments]:
    """Give the noises before the loop, and state and noises of each step, given all data."""
    early, late, _ = integral.moments(shape, path, operands)
    return early, Moments(*map(integral.ordered, late))


class _Root(NamedTuple):
    """Means of numbers (d,), and a root of their covariance, C = R'R (r, d)."""

    mean: jax.Array
    root: jax.Array

    def moments(self) -> Moments:
        """Give mean and covariance."""
        return Moments(self.mean, times(self.root.T, self.root))


def _filtered(integral: ChainIntegral, shape: Shape, path: Any, operands: Sequence[Any]) -> tuple[Moments, Moments]:
    """Give the noises before the loop given the data there, and state and noises of each step given those up to it."""
    chain, (before, steps) = integral.chain, path
    if chain.shared:
        raise UnsupportedProgramError(
            "filtered: all steps read a normal site that stands before the loop, so that the data up to a step are not "
            "apart. Fix: carry the site in the state of the loop; or take smoothed()."
        )
    point, still = chain.walk(before, steps, operands)
    slope = jax.grad(lambda point: chain.apart(point, still, operands)[0])(point)
    slopes = integral.ordered(jnp.concatenate([slope.states, slope.noises], -1))

    def seen(prior: _Root, curvature: jax.Array, slope: jax.Array) -> _Root:
        by = prior.root
        precision = jnp.eye(len(by), dtype=by.dtype) + times(by, times(curvature, by.T))
        root = times(whitening(precision), by)
        towards = times(root, slope - times(curvature, prior.mean))
        return _Root(prior.mean + times(root.T, towards), root)

    def forward(state: _Root, step: Steps, own: Sequence[jax.Array]) -> tuple[_Root, Moments]:
        (moves, curvature), (slope, noises) = step, own
        both = _Root(jnp.concatenate([state.mean, -noises]), _diagonal(state.root, len(noises)))
        found = seen(both, curvature, slope)
        return _Root(times(moves, found.mean), _reduced(times(found.root, moves.T))), found.moments()

    def through(
        before: jax.Array, curvature: jax.Array, slope: jax.Array, start: jax.Array, steps: Steps, *rows: jax.Array
    ) -> Any:
        early = seen(_Root(-before, jnp.eye(len(before), dtype=before.dtype)), curvature, slope)
        first = _Root(start @ early.mean, _reduced(early.root @ start.T))
        return early.moments(), over_rows(forward, first, steps, rows, len(rows[0]))[1]

    function = integral.each(through, (0, 0, 0, 0, 1, 1, 1), (0, 1))
    rows = (slopes, integral.ordered(steps))
    early, late = function(before, shape.curvature, slope.before, shape.start, shape.steps, *rows)
    return early, Moments(*map(integral.ordered, late))


def _reduced(root: jax.Array) -> jax.Array:
    """Give a square root of the same covariance: for a few numbers its Cholesky factor, written out, else by a QR."""
    rows, size = root.shape
    if size > FEW:
        padded = jnp.concatenate([root, jnp.zeros((max(size - rows, 0), size), root.dtype)])
        return jnp.linalg.qr(padded, mode="r")
    covariance, least = times(root.T, root), 4.0 * jnp.finfo(root.dtype).eps
    found: list[list[jax.Array]] = [[jnp.zeros((), root.dtype)] * size for _ in range(size)]
    for j in range(size):
        pivot = covariance[j, j] - sum(found[k][j] ** 2 for k in range(j))
        varies = pivot > least * covariance[j, j]  # else those before tell all of it
        scale = jnp.where(varies, 1.0 / jnp.sqrt(jnp.where(varies, pivot, 1.0)), 0.0)
        for i in range(j, size):
            found[j][i] = (covariance[j, i] - sum(found[k][j] * found[k][i] for k in range(j))) * scale
    return jnp.stack([jnp.stack(row) for row in found])


def _diagonal(root: jax.Array, noises: int) -> jax.Array:
    """Put standard normals beside what has a root."""
    rows, size = root.shape
    above = jnp.concatenate([root, jnp.zeros((rows, noises), root.dtype)], -1)
    below = jnp.concatenate([jnp.zeros((noises, size), root.dtype), jnp.eye(noises, dtype=root.dtype)], -1)
    return jnp.concatenate([above, below])
