"""Simplify: algebra on a form before it is compiled: common subexpressions, densities that cancel, log(exp(x)).

Law: each file is one rule, an identity, so the simplified form has the same measure; the rules change rounding only.
May import: form, distributions.
"""

from __future__ import annotations

from ...form import Form
from ...form.liveness import without_dead_code
from ...form.pipeline import Pass, keeps
from .cancel import cancelled
from .common_subexpressions import common
from .log_exp import by_log_scales, without_inverses


@keeps("the measure; what is rounded may differ")
def simplified(form: Form) -> Form:
    """Apply the rules everywhere in a form; it is returned itself where none applies.

    >>> import jax.numpy as jnp, lawful
    >>> from lawful.form.liveness import without_dead_code
    >>> form = lawful.trace(lambda x: jnp.sin(x) * jnp.cos(jnp.log(jnp.exp(jnp.sin(x)))), 0.5)
    >>> [node.label for node in without_dead_code(simplified(form)).nodes]
    ['sin', 'cos', 'mul']
    """
    shared = common(without_inverses(form))
    rest = cancelled(shared)
    return by_log_scales(rest if rest is shared else common(rest))


SIMPLIFIED: tuple[Pass, ...] = (without_dead_code, simplified, without_dead_code)
