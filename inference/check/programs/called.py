"""Called: an algorithm as a part of a program, which is traced like any other program.

Law: the traced program has the measure of the algorithm, on what it returns.
"""

from __future__ import annotations

import jax.numpy as jnp

from lawful.form import Form
from lawful.tracing.trace import trace

from ...contract import PRESERVES, Transformer


def called(form: Form) -> Form:
    """Call a form in a program, and trace that."""
    return trace(lambda *inputs: form(*inputs), *(jnp.zeros(v.full_shape, v.dtype) for v in form.inputs))


Called = Transformer("called", called, PRESERVES)
