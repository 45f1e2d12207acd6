"""Written integrals: the log integral over a few noises in each lane, from coefficients that are written out.

Law: as for `quadratic_forms`. In each lane the log density is `c + sum_a b_a v_a + sum_{a <= b} A_ab v_a v_b` of the
differences v of the noises from a point; the coefficients are found operation by operation (`polynomials`). The
integral does not depend on the point, which is near the mean, so the derivative of the point is left out.

Why: derivatives of derivatives visit all data once for each number, beside arrays of zeros; the coefficients are as
many sums over the data as there are pairs of numbers, and so is what is derived of them. Value and gradient of a
mixture of trajectories, three numbers for each of 500 persons, take 0.61 ms where they took 2.5.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.xla import emit
from lawful.distributions.short_roots import SHORT, as_matrix, rows_of_root, solved_rows
from lawful.form import Det, Form, Var
from lawful.form.liveness import without_dead_code
from lawful.form.operations.from_jaxpr import unfold

from ...summing.axes import Mixed, flow
from ...summing.elementwise import terms_apart
from .polynomials import Key, NotWritten, Parts, Poly, Polynomials, total
from .quadratic_forms import Noises


class Quadratic(NamedTuple):
    """Coefficients of each lane, arrays (*lanes); what no noise enters is `rest`."""

    value: Any
    slopes: list[Any]
    curvature: list[list[Any]]
    rest: Any


@dataclass(frozen=True, eq=False)
class Written:
    """A quadratic form as its operations, lane by lane.

    Attributes:
        form: from values and operands to the terms of the lanes, and to what no noise enters.
        noises: their shapes and lanes.
        density: the form that was read.
        values: for each noise what makes a value of it which all else reads in its place; None for the noise itself.
            Sums over data are of these values, and how they move with the noises is a matter of each lane.
    """

    form: Form
    noises: Noises
    density: Form
    values: tuple[Det | None, ...]

    @classmethod
    def of(cls, density: Form, noises: Noises) -> Written | None:
        """Read a log density, a form of noises and operands; None where it is not written out.

        Args:
            density: its first output is a sum over the lanes of quadratic forms of the noises.
            noises: their shapes and lanes; more numbers in a lane than a few are not written out.
        """
        if noises.block > SHORT:
            return None
        count = len(noises.shapes)
        values = tuple(_value_of(density, v, noises) for v in density.inputs[:count])
        read = [v if made is None else made.outs[0] for v, made in zip(density.inputs, values, strict=False)]
        nodes = tuple(node for node in density.nodes if node not in values)
        inputs = (*read, *density.inputs[count:])
        run = emit(replace(density, inputs=inputs, nodes=nodes, outputs=density.outputs[:1]), ())
        every = [jax.ShapeDtypeStruct(v.full_shape, v.dtype) for v in inputs]

        def parts(*given: jax.Array) -> list[jax.Array]:
            return [run(jax.random.key(0), *given)[0][0], jnp.zeros(())]

        try:
            for axis in reversed(range(len(noises.lanes))):
                parts = _terms(parts, every, [axis] * count + [None] * (len(every) - count))
            form = without_dead_code(unfold(parts, *every, opened=False, loops=True))
            found = cls(form, noises, density, values)
            jax.eval_shape(lambda *operands: tuple(found.seen_from(None, operands)), *every[count:])
        except (Mixed, NotWritten):
            return None
        return found

    def seen_from(self, point: Sequence[Any] | None, operands: Sequence[Any]) -> Quadratic:
        """Give the coefficients as seen from a point, an array (*lanes) for each number; None for zero."""
        lanes, size = self.noises.lanes, range(self.noises.block)
        zero = jnp.zeros(lanes, jnp.result_type(float))
        known = dict(zip(self.density.inputs[len(self.values) :], operands, strict=True)) | dict(self.density.constants)
        by, at = dict[Key, Any](), list[Any]()
        for noise, made in zip(_numbered(self.noises, point), self.values, strict=True):
            value = noise if made is None else Polynomials().det(made, [noise, *(known[v] for v in made.ins[1:])])[0]
            for index in np.ndindex(*value.shape[len(lanes) :]):
                numbers = value.numbers(index, len(lanes))
                by |= {(len(at), *key): x for key, x in numbers.items() if key}
                at.append(numbers.get(()))
        if any(len(key) > 2 for key in by):
            raise NotWritten("a value that is quadratic in its noise")
        start = _numbered(self.noises, at)
        terms, rest = Polynomials()(self.form, [*start, *operands])
        if isinstance(rest, Poly):
            raise NotWritten("what is the same for all lanes depends on them")

        keys = [(), *((c,) for c in size), *((c, d) for c in size for d in size if c <= d)]
        sums = {key: terms.dense(key) for key in keys} if isinstance(terms, Poly) else {(): terms}
        # What follows is of each lane alone; joined with the sums over data it would be computed again for each datum.
        held = {key: jax.lax.optimization_barrier(x) for key, x in sums.items() if x is not None}

        def through(a: int, values: Sequence[Any]) -> Any:
            return total([by[c, a] * x for c, x in enumerate(values) if x is not None and (c, a) in by])

        def twice(c: int, d: int) -> Any:
            x = held.get((min(c, d), max(c, d)))
            return 2.0 * x if c == d and x is not None else x

        half = [[through(b, [twice(c, d) for d in size]) for c in size] for b in size]
        curvature = [[through(a, half[b]) for b in size] for a in size]
        slopes = [through(a, [held.get((c,)) for c in size]) for a in size]

        def there(x: Any) -> Any:
            return zero if x is None else x

        return Quadratic(there(held.get(())), [*map(there, slopes)], [[*map(there, row)] for row in curvature], rest)

    def __call__(self, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Give log integrals of the lanes, what no noise enters, means (*lanes, b) and roots of precisions.

        The integral does not depend on the point that it is seen from, whose derivative is therefore left out.
        """
        zero = self.seen_from(None, jax.lax.stop_gradient(operands))
        root = _root(zero)
        mean = solved_rows(root, solved_rows(root, zero.slopes), transposed=True)
        point = [jnp.where(jnp.isnan(x), 0.0, x) for x in mean]  # where the integral is infinite there is no mean
        found = self.seen_from(point, operands)
        root = _root(found)
        half = solved_rows(root, [slope - x for slope, x in zip(found.slopes, point, strict=True)])
        mean = [x + away for x, away in zip(point, solved_rows(root, half, transposed=True), strict=True)]
        volume = -sum(jnp.log(row[-1]) for row in root)
        finite = functools.reduce(jnp.logical_and, [jnp.isfinite(x) for row in found.curvature for x in row])
        squares = sum(0.5 * (h * h - x * x) for h, x in zip(half, point, strict=True))
        log_mass = jnp.where(jnp.isnan(volume) & finite, jnp.inf, found.value + squares + volume)
        return log_mass, found.rest, jnp.stack(mean, axis=-1), as_matrix(root)


def _root(found: Quadratic) -> list[list[jax.Array]]:
    """Give the root of the precision, the identity less the curvature, by rows."""
    return rows_of_root([[(i == j) - row[j] for j in range(i + 1)] for i, row in enumerate(found.curvature)])


def _value_of(density: Form, noise: Var, noises: Noises) -> Det | None:
    """Find what makes of a noise alone a value of its shape, which all else reads in its place."""
    readers = [node for node in density.nodes if noise in node.ins]
    known = {*density.inputs[len(noises.shapes) :], *(v for v, _ in density.constants)}
    if len(readers) != 1 or noise in density.outputs:
        return None
    (node,) = readers
    if not isinstance(node, Det):
        return None
    shapes = [v.shape for v in node.ins]
    if node.ins[0] is not noise or not known.issuperset(node.ins[1:]) or [v.shape for v in node.outs] != shapes[:1]:
        return None
    lanes = tuple(range(len(noises.lanes)))
    abstract = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in node.ins]
    try:
        kept = flow(node.function, shapes, [lanes, *[None] * (len(shapes) - 1)], abstract) == [lanes]
    except Mixed:
        return None
    return node if kept else None


def _numbered(noises: Noises, point: Sequence[Any] | None) -> list[Poly]:
    """Give values whose numbers are the variables, as seen from a point; a number that is None is zero there."""
    found, numbers = [], iter(range(noises.block))
    for shape in noises.shapes:
        own = shape[len(noises.lanes) :]
        parts: Parts = {}
        for index in np.ndindex(*own):
            a = next(numbers)
            place = tuple((len(noises.lanes) + d, i) for d, i in enumerate(index) if own[d] > 1)
            small = (*noises.lanes, *(1 for _ in own))
            parts[a,] = {place: jnp.ones(small, jnp.result_type(float))}
            if point is not None and point[a] is not None:
                parts.setdefault((), {})[place] = point[a].reshape(small)
        found.append(Poly(shape, parts))
    return found


def _terms(
    parts: Callable[..., list[jax.Array]], every: Sequence[Any], axes: Sequence[int | None]
) -> Callable[..., list[jax.Array]]:
    """Take the sum over the elements of an axis apart; of what no noise enters, add up what is left."""
    run = emit(terms_apart(lambda *xs: parts(*xs)[:1], every, axes))

    def apart(*values: jax.Array) -> list[jax.Array]:
        terms, rest = run(jax.random.key(0), *values)[0]
        return [terms, parts(*values)[1] + jnp.sum(rest)]

    return apart
