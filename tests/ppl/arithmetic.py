"""Random straight-line programs for Hypothesis, and how forms are run on given numbers."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import lawful
from lawful.backends.xla import run_nodes

UNARY = {"exp": jnp.exp, "log": jnp.log, "negative": jnp.negative, "sin": jnp.sin, "softplus": jax.nn.softplus}
BINARY = {"add": jnp.add, "subtract": jnp.subtract, "multiply": jnp.multiply, "maximum": jnp.maximum}
EDGES = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 800.0, -800.0]

numbers = st.sampled_from(EDGES) | st.floats(-3.0, 3.0)
steps = st.lists(
    st.tuples(st.sampled_from([*UNARY, *BINARY]), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=12
)


def straight(steps):
    """The form of a program of two numbers whose steps read earlier values; it gives all of them."""

    def program(x, y):
        values = [x, y]
        for name, first, second in steps:
            a, b = (values[i % len(values)] for i in (first, second))
            values.append(UNARY[name](a) if name in UNARY else BINARY[name](a, b))
        return values

    return lawful.trace(program, 0.0, 0.0)


def run(form, *inputs):
    """The outputs, operation by operation."""
    return [np.asarray(x) for x in run_nodes(form, [jnp.asarray(x) for x in inputs], {})[0]]
