"""Log of exp: log(exp(x)) is x, and the density of a normal whose scale is exp(s) is computed by s itself.

Law: log(exp(x)) = x to rounding wherever the left side is finite; where exp(x) overflows, or is rounded to zero, the
right side alone is right. The reverse stays: exp(log(x)) is NaN where x is negative, which has to be told. The density
is the log density, to rounding, wherever that is finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...distributions.densities import HALF_LOG_2PI
from ...distributions.law import position_of
from ...form import Det, Form, Var
from ...form.builder import LogProb
from ...form.operations.equation import Equation
from ...form.operations.sums import SAME
from ...form.rewriting import with_operations


@dataclass(frozen=True)
class NormalOfLogScale:
    """Log density of a normal whose scale is exp(s): one exponential, no division and no logarithm."""

    def __call__(self, value: jax.Array, loc: jax.Array, log_scale: jax.Array) -> tuple[jax.Array]:
        """Score the value.

        >>> score = NormalOfLogScale()(jnp.array(1.0), jnp.array(0.0), jnp.log(2.0))[0]
        >>> abs(float(score - dist.Normal(0.0, 2.0).log_prob(1.0))) < 1e-6
        True
        """
        z = (value - loc) * jnp.exp(-log_scale)
        return (jnp.sum(-0.5 * (z * z) - log_scale - HALF_LOG_2PI),)


def by_log_scales(form: Form) -> Form:
    """Score normals by their log scales, also inside loops and branches."""
    return with_operations(form, _log_scale)


def _log_scale(node: Det, made: Mapping[Var, Det]) -> Det:
    """Score a normal with scale exp(s) by s itself."""
    if not isinstance(node.function, LogProb) or type(node.function.law.numbered) is not dist.Normal:
        return node
    loc, scale = (node.ins[1 + (position_of(node.function.law, name) or 0)] for name in ("loc", "scale"))
    log_scale = _exponent(scale, made)
    if log_scale is None or log_scale.plates != scale.plates:
        return node
    return replace(node, function=NormalOfLogScale(), ins=(node.ins[0], loc, log_scale))


def without_inverses(form: Form) -> Form:
    """Read x in place of log(exp(x)), also inside loops and branches.

    >>> import lawful
    >>> form = lawful.trace(lambda x: jnp.log(jnp.exp(x)) + 1.0, 2.0)
    >>> [node.function == SAME for node in without_inverses(form).nodes]
    [False, True, False]
    """
    return with_operations(form, _undone)


def _undone(node: Det, made: Mapping[Var, Det]) -> Det:
    if not isinstance(node.function, Equation) or not node.function.is_log or not node.ins:  # as the log of a literal
        return node
    value, (out,) = _exponent(node.ins[0], made), node.outs
    if value is None or node.ins[0].plates != node.plates or not jnp.issubdtype(value.dtype, jnp.floating):
        return node
    return replace(node, function=SAME, ins=(value,)) if value.type == out.type else node


def _exponent(value: Var, made: Mapping[Var, Det]) -> Var | None:
    """Return x of a value exp(x); None for others."""
    source = made.get(value)
    if source is None or not isinstance(source.function, Equation) or not source.function.is_exp:
        return None
    return source.ins[0] if source.ins else None
