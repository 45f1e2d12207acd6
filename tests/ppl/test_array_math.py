"""Operations on concrete arrays by NumPy: each means what JAX means by it, and none of these is left to JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.form.operations.equation import Equation
from lawful.form.operations.on_numpy import STEPS, evaluate

RNG = np.random.default_rng(20261)
CUBE = RNG.normal(size=(3, 4, 5))
ROWS = np.array([[2, 0], [1, 1], [0, 2]])


@jax.custom_batching.custom_vmap
def doubled(x):
    return 2 * x


@doubled.def_vmap
def _(axis_size, batched, x):
    return 2 * x, batched[0]


def looped(x):
    return jax.lax.while_loop(lambda s: s[0] < 7, lambda s: (s[0] + 1, s[1] * x), (0, x))


def chosen(k, x):
    return jax.lax.switch(k, [jnp.exp, lambda x: x + 1, lambda x: jax.lax.cond(x[0] > 0, jnp.negative, jnp.abs, x)], x)


def scanned(x, reverse):
    return jax.lax.scan(lambda c, row: (c + row.sum(), (c * row, c)), 0.5, x, reverse=reverse)


CASES = {
    "row": (lambda x, i: x[i], CUBE, np.array([2, 0, 1])),
    "elements": (lambda x, i, j: x[i, :, j], CUBE, np.array([2, 0]), np.array([4, 1])),
    "middle axis": (lambda x, i: x[:, i], CUBE, ROWS),
    "window": (lambda x, i: jax.lax.dynamic_slice(x, (i, 1, 0), (2, 2, 5)), CUBE, np.array(1)),
    "along an axis": (lambda x, i: jnp.take_along_axis(x, i[:, :, None], axis=1), CUBE, ROWS),
    "rows of lanes": (jax.vmap(lambda x, i: x[i, 1:3]), CUBE, ROWS),
    "clipped": (lambda x, i: jnp.take(x, i, axis=1, mode="clip"), CUBE, np.array([9, 2])),
    "clipped windows": (jax.vmap(lambda x, i: jax.lax.dynamic_slice(x, (i, 1), (2, 3))), CUBE, np.array([3, 9, 0])),
    "set": (lambda x, i: x.at[i].set(1.5), CUBE, np.array([2, 0])),
    "add twice": (lambda x, i, u: x.at[:, i].add(u), CUBE, np.array([1, 1, 0]), RNG.normal(size=(3, 3, 5))),
    "add in lanes": (jax.vmap(lambda x, i: x.at[i, 2].add(0.25)), CUBE, ROWS),
    "transpose": (lambda x: jnp.transpose(x, (2, 0, 1)), CUBE),
    "stack": (lambda x: jnp.stack([x, -x], axis=1), CUBE),
    "split": (lambda x: jnp.split(x, [1, 3], axis=1), CUBE),
    "numbers spread": (lambda x: jnp.broadcast_to(x, (2, 3)), np.array(0.5)),
    "product of matrices": (lambda x, y: x @ y, CUBE[0], CUBE[1].T),
    "products of rows": (lambda x, y: jnp.einsum("abc,cda->abd", x, y), CUBE, RNG.normal(size=(5, 2, 3))),
    "sum over two axes": (lambda x, y: jnp.tensordot(x, y, [[0, 2], [2, 1]]), CUBE, RNG.normal(size=(2, 5, 3))),
    "all products": (jnp.outer, CUBE[0, 0], ROWS[:, 0]),
    "a slope of several uses": (jax.grad(lambda x: (jnp.sin(x) * jnp.cos(x) + jnp.square(x)).sum()), CUBE),
    "pad": (lambda x: jnp.pad(x, ((1, 0), (0, 2), (0, 0)), constant_values=0.5), CUBE),
    "sort": (lambda x: jnp.sort(x, axis=1), CUBE),
    "argsort of ties": (lambda x: jnp.argsort(x, axis=0), ROWS),
    "median": (jnp.median, CUBE),
    "quotients": (jax.lax.div, np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])),
    "one of three": (lambda k, x: jax.lax.select_n(k, x, -x, 2 * x), np.array([2, 0, 1], np.int32), CUBE[:, 0, 0]),
    "barrier": (lambda x: jax.lax.optimization_barrier((x, 2 * x)), CUBE),
    "a rule of vmap": (doubled, CUBE),
    "while": (looped, np.array(1.1)),
    "while in lanes": (jax.vmap(lambda n: jax.lax.while_loop(lambda k: k < n, lambda k: k + 2, 0)), np.array([3, 8])),
    "first arm": (chosen, np.array(-3), CUBE[0, 0]),
    "arm of an arm": (chosen, np.array(2), CUBE[0, 0]),
    "scan": (lambda x: scanned(x, False), CUBE),
    "scan backwards": (lambda x: scanned(x, True), CUBE),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("case", CASES)
def test_an_operation_means_what_it_means_compiled(case, monkeypatch):
    function, *operands = CASES[case]
    wanted = jax.tree.leaves(jax.jit(function)(*operands))
    monkeypatch.setattr(Equation, "__call__", lambda *args: pytest.fail(f"left to JAX: {args[0].primitive}"))
    found = evaluate(function, operands)
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)


def test_what_leaves_an_array_is_left_to_jax():
    def read(x, i):
        return x.at[i].get(mode="fill", fill_value=-1.0), x.at[i].add(1.0, mode="drop")

    x, index = np.arange(3.0), np.array([1, 7])
    for ours, theirs in zip(evaluate(read, [x, index]), jax.jit(read)(x, index), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_long_loop_goes_on_compiled_from_where_it_is():
    def long(start):
        return jax.lax.while_loop(lambda s: s[0] < 3 * STEPS, lambda s: (s[0] + 1, s[1] + 1.0 / (s[0] + 1)), start)

    steps, total = evaluate(lambda x: long((0, x)), [np.array(0.5)])
    assert int(steps) == 3 * STEPS
    np.testing.assert_allclose(total, 0.5 + (1.0 / np.arange(1, 3 * STEPS + 1)).sum(), rtol=1e-13)
