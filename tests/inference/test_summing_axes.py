"""Axes of elements: where a rule gives a place, a change of one element changes that place alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.form.builder import Tupled
from lawful.inference.summing.axes import SUM, Mixed, flow

X = np.random.default_rng(0).uniform(0.5, 1.5, size=(3, 2, 2))  # three elements, a matrix each


def matrices(x):
    """Small positive matrices made of an element."""
    return x @ jnp.swapaxes(x, 1, 2) + jnp.eye(2)[None]


def left_behind(x):
    """A gradient and what it moves by: the value, where all elements meet, is not read."""

    def total(x):
        return jnp.sum(jnp.sin(x) ** 2) * 2.0

    return jax.jvp(jax.grad(total), (x,), (jnp.ones_like(x),))[1]


APART = {
    "stack": (lambda x: jnp.stack([x, 2 * x], axis=1), (0,)),
    "unstack": (lambda x: jnp.unstack(x, axis=1)[1], (0,)),
    "spread over other axes": (lambda x: x[:, :1] * jnp.ones((3, 4, 2)), (0,)),
    "cholesky": (lambda x: jnp.linalg.cholesky(matrices(x)), (0,)),
    "triangular solve": (
        lambda x: jax.lax.linalg.triangular_solve(jnp.linalg.cholesky(matrices(x)), x, left_side=True, lower=True),
        (0,),
    ),
    "what a gradient leaves behind": (left_behind, (0,)),
}


def places(function):
    return flow(Tupled(function), [X.shape], [(0,)], [jax.ShapeDtypeStruct(X.shape, X.dtype)])[0]


@pytest.mark.parametrize("name", APART)
def test_an_element_stands_where_its_change_is_seen_and_nowhere_else(name):
    function, expected = APART[name]
    assert places(function) == expected
    before = np.asarray(function(jnp.asarray(X)))
    for i in range(3):
        after = np.asarray(function(jnp.asarray(X).at[i].add(0.1)))
        changed = np.moveaxis(np.abs(after - before), expected[0], 0).reshape(3, -1).max(axis=1) > 1e-9
        assert changed.tolist() == [j == i for j in range(3)]


def test_a_sum_over_all_elements_is_told():
    assert places(lambda x: jnp.sum(matrices(x))) == SUM


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[:1] * jnp.ones((3, 2, 2)) + x,
        lambda x: jnp.linalg.cholesky(jnp.swapaxes(x, 0, 2) @ jnp.swapaxes(jnp.swapaxes(x, 0, 2), 1, 2)),
        lambda x: jnp.unstack(x, axis=0)[0],
        lambda x: jnp.stack([x, jnp.flip(x, axis=0)]),
        lambda x: jnp.sum(x).astype(int),
    ],
    ids=["spread over elements", "matrices of several elements", "unstacked elements", "turned round", "cut to whole"],
)
def test_where_elements_meet_it_is_refused(function):
    with pytest.raises(Mixed):
        places(function)
