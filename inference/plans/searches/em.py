"""EM: searches uphill by expectation maximisation, where each site has a closed step given the others.

Law: a step never lowers the log marginal beyond rounding. The shares of the states are those at the point before; then
each site in turn goes to the maximum of the expected log density Q given the others (expectation conditional
maximisation, which is EM itself where one pass over the sites is the maximum of Q). That is closed where Q has a known
form along the site: a parabola; a log x + b x^p of something positive; the same of a root of a covariance;
sum_k a_k log p_k of probabilities. Its numbers follow from derivatives of Q at the point, and whether it has the form
from the slope that is left after the step.

Reference: Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm, J. R. Stat.
Soc. B 39; Meng and Rubin (1993), Maximum likelihood estimation via the ECM algorithm, Biometrika 80.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from lawful.backends.xla import emit
from lawful.distributions.bijections import is_line, shown_supports, without_elements
from lawful.distributions.short_roots import root_of, solved
from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.choices import Choice

from ...summing.expected import expected
from .ascent import LITTLE, STALLED, Search, begun, converged
from .target import Target

type Slope = Callable[[jax.Array], jax.Array]


class Step(NamedTuple):
    """The maximum of Q along a site: where it is, the slope before, and what its square is small or large next to."""

    value: jax.Array
    slope: jax.Array
    scale: jax.Array


class Kind(NamedTuple):
    """Values of one kind of support: where a value is after a step, and where Q is largest, of its slope in steps."""

    moved: Callable[[jax.Array, jax.Array], jax.Array]
    best: Callable[[Slope, jax.Array], Step]


def _parabola(slope: Slope, value: jax.Array) -> Step:
    """Go to the top of a parabola of all elements together; elements that nothing weighs stay."""
    zero, size = jnp.zeros_like(value), value.size
    first, push = jax.linearize(slope, zero)
    second = jax.vmap(push)(jnp.eye(size, dtype=value.dtype).reshape(size, *value.shape)).reshape(size, size)
    bent = jnp.diagonal(second)
    units = jnp.where(bent < 0, jnp.sqrt(-bent), 1.0)
    scaled = jnp.where((bent < 0)[:, None], -second / (units[:, None] * units), jnp.eye(size, dtype=value.dtype))
    root = root_of(scaled)
    step = solved(root, solved(root, jnp.where(bent < 0, first.ravel(), 0.0) / units), transposed=True) / units
    return Step(value + step.reshape(value.shape), first, bent.reshape(value.shape))


def _power(slope: Slope, value: jax.Array) -> Step:
    """Go to the top of a log x + b x^p, element by element: in log x its slope is a + b p x^p, and so on."""
    (first, second), (_, third) = _moving(partial(_moving, slope), jnp.zeros_like(value))
    way = jnp.log1p(-first * third / second**2) * second / third
    return Step(value * jnp.exp(way), first, second)


def _odds(slope: Slope, value: jax.Array) -> Step:
    """Go to the top of a log p + b log(1 - p), element by element: in log odds its slope is a - (a + b) p."""
    first, second = _moving(slope, jnp.zeros_like(value))
    total = -second / (value * (1 - value))
    return Step(_inside(value, first, total), first, -total)


def _counts(slope: Slope, value: jax.Array) -> Step:
    """Go to the top of sum_k a_k log p_k, row by row: in logs, normalised, its slope is a_k - p_k sum_j a_j."""
    numbers = jnp.arange(value.shape[-1], dtype=value.dtype)
    mean = jnp.sum(value * numbers, axis=-1, keepdims=True)
    apart = jnp.broadcast_to(numbers - mean, value.shape)
    first, second = jax.jvp(slope, (jnp.zeros_like(value),), (apart,))
    spread = jnp.sum(value * apart**2, axis=-1, keepdims=True)
    total = -jnp.sum(apart * second, axis=-1, keepdims=True) / spread
    found = _inside(value, first, total)
    return Step(found / jnp.sum(found, axis=-1, keepdims=True), first, jnp.broadcast_to(-total, value.shape))


def _root(slope: Slope, value: jax.Array) -> Step:
    """Go to the top of -n log |L| - tr(S / (L L')) / 2, whose root is that of S / n, matrix by matrix.

    Where L goes to L (I + step), the slope is M - n I with M = S / (L L') seen from L, and the curvature along
    step = I is n d - 3 tr M.
    """
    eye = jnp.broadcast_to(jnp.eye(value.shape[-1], dtype=value.dtype), value.shape)
    first, second = jax.jvp(slope, (jnp.zeros_like(value),), (eye,))
    bent, rise = (jnp.trace(x, axis1=-2, axis2=-1)[..., None, None] for x in (second, first))
    count = -(bent + 3 * rise) / (2 * value.shape[-1])
    seen = first + jnp.swapaxes(jnp.tril(first, -1), -1, -2) + count * eye
    return Step(value @ root_of(seen / count), first, jnp.broadcast_to(-count, value.shape))


def _moving(function: Callable[[jax.Array], Any], at: jax.Array) -> Any:
    """Give a function and its derivative as all elements move; it is that of each where they do not meet."""
    return jax.jvp(function, (at,), (jnp.ones_like(at),))


def _inside(share: jax.Array, slope: jax.Array, total: jax.Array) -> jax.Array:
    """Give the share of a count, which stays off an edge: what is told of the end has still to see the way there."""
    little = jnp.finfo(share.dtype).eps ** 0.75
    return jnp.where(total > 0, jnp.clip(share + slope / total, little, 1 - little), jnp.nan)


def _tilted(value: jax.Array, step: jax.Array) -> jax.Array:
    weights = value * jnp.exp(step)
    return weights / jnp.sum(weights, axis=-1, keepdims=True)


LINE = Kind(lambda value, step: value + step, _parabola)
POSITIVE = Kind(lambda value, step: value * jnp.exp(step), _power)
UNIT = Kind(lambda value, step: value * jnp.exp(step) / (value * jnp.exp(step) + 1 - value), _odds)
SIMPLEX = Kind(_tilted, _counts)
ROOT = Kind(lambda value, step: value + value @ jnp.tril(step), _root)


@dataclass(frozen=True, eq=False)
class EM:
    """Searches by expectation maximisation.

    Attributes:
        target: the log marginal.
        form: the expected log density; see `expected`.
        kinds: of each site, in their order.
    """

    target: Target
    form: Form
    kinds: tuple[Kind, ...]
    refuses = True

    @cached_property
    def _run(self) -> Any:
        return emit(self.form)

    def expected(self, inputs: Sequence[Any], old: Sequence[jax.Array], new: Sequence[jax.Array]) -> jax.Array:
        """Give Q(new | old)."""
        both = (jnp.stack(pair) for pair in zip(old, new, strict=True))
        found: jax.Array = self._run(jax.random.key(0), *inputs, *both)[0][0][1]
        return found

    def step(self, inputs: Sequence[Any], vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Give the point after a step of each site, those on the line first, and which sites had none that is closed.

        What is left of a slope is small next to its standard deviation, a curvature or a count, and the slope before.
        """
        old = self.target.sites(inputs, vector)
        new, refused = list(old), [jnp.array(False)] * len(old)
        for place in sorted(range(len(old)), key=lambda place: self.kinds[place] is not LINE):
            kind, before = self.kinds[place], new[place]

            def along(value: jax.Array, place: int = place, kind: Kind = kind) -> Slope:
                def at(step: jax.Array) -> jax.Array:
                    return self.expected(inputs, old, [*new[:place], kind.moved(value, step), *new[place + 1 :]])

                return jax.grad(at)

            found = kind.best(along(before), before)
            value = jnp.where(jnp.isfinite(found.value), found.value, before)
            small = jnp.finfo(value.dtype).eps ** 0.5 * (jnp.sqrt(jnp.abs(found.scale)) + jnp.abs(found.slope))
            refused[place] = ~jnp.all(jnp.abs(along(value)(jnp.zeros_like(value))) <= small)
            new[place] = value
        return self.target.coordinates(inputs, new), jnp.stack(refused)

    def begin(self, vectors: jax.Array) -> Search:
        """Begin with no site refused."""
        return begun(vectors, jnp.zeros((len(vectors), len(self.kinds)), bool), ())

    def round(self, inputs: Sequence[Any], last: jax.Array, now: Search) -> Search:
        """Take a step of one search; one that a site refuses stays where it is."""
        vector, refused = self.step(inputs, now.vector)
        first = now.steps == 0
        vector, refused = jnp.where(first | refused.any(), now.vector, vector), refused & ~first
        value, gradient = self.target.value_and_grad(inputs, vector)
        gain = (value - now.value) / (1 + jnp.abs(value))
        stalled = jnp.where(gain > jnp.finfo(value.dtype).eps ** LITTLE, 0, now.stalled + 1)
        rests = converged(value, gradient) | (stalled >= STALLED) | ~jnp.isfinite(value) | refused.any()
        new = Search(vector, value, gradient, refused, now.line, now.steps + 1, now.evaluations + 1, stalled, rests)
        stays = now.rests | (now.steps >= last)
        return jax.tree.map(lambda a, b: jnp.where(stays, a, b), now, new)

    def refuse(self, ends: Search) -> None:
        """Refuse a program where all searches met a site without a closed step at once; later rounding may refuse one.

        Raises: UnsupportedProgramError.
        """
        met = np.asarray(ends.learnt)[np.isfinite(np.asarray(ends.value))]
        if len(met) and met.any(axis=1).all() and np.max(np.asarray(ends.steps)) == 2:
            choice = self.target.frame.choices[int(met.sum(axis=0).argmax())]
            raise _refused(choice, "given the other sites the expected log density is not of the form that it needs")


def em_of(form: Form, target: Target) -> EM:
    """Write searches by expectation maximisation for a program some of whose sites are summed.

    Raises: UnsupportedProgramError where no site is summed, or one has a support of another kind.
    """
    written = expected(form)
    if written is None:
        raise UnsupportedProgramError(
            "maximise: method='em' averages over sites that are summed inside the program, and here none is. Fix: name "
            "finite sites in enumerate=[...], or leave method='lbfgs'."
        )
    supports = shown_supports(form)
    return EM(target, written, tuple(_kind(choice, supports.get(choice.address)) for choice in target.frame.choices))


def _kind(choice: Choice, support: Any) -> Kind:
    """Find the kind of a support.

    Raises: UnsupportedProgramError.
    """
    if is_line(support):
        return LINE
    base = without_elements(support)
    bounds = (getattr(base, name, np.nan) for name in ("lower_bound", "upper_bound"))
    if all(np.all(np.asarray(bound) == end) for bound, end in zip(bounds, (0, 1), strict=True)):  # a uniform prior
        return UNIT
    for kinds, kind in (
        ((constraints.positive, constraints.nonnegative), POSITIVE),
        ((constraints.unit_interval,), UNIT),
        ((constraints.simplex,), SIMPLEX),
        ((constraints.lower_cholesky,), ROOT),
    ):
        if base in kinds:
            return kind
    raise _refused(choice, f"its support is {support}")


def _refused(choice: Choice, why: str) -> UnsupportedProgramError:
    return UnsupportedProgramError(
        f"maximise: method='em': site '{choice.name}' ({choice.source}) has no closed step: {why}. Closed are a normal "
        "mean under a normal prior (a parabola), a scale or rate (a log x + b x^p), a root of a covariance, and "
        "probabilities (sum a log p). Fix: method='lbfgs', or another prior.",
        site=choice.address,
    )
