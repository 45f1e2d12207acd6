"""Shortcuts of tracing: what is recorded is what JAX records."""

import contextlib
import itertools
import operator
import threading

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lawful
from lawful.backends.xla import emit
from lawful.form.fingerprint import Describer
from lawful.tracing import lower as lowering
from lawful.tracing import trace as tracing

OPERATORS = (operator.add, operator.sub, operator.mul, operator.truediv)
TYPES = (jnp.float32, jnp.float64, jnp.float16, jnp.bfloat16, jnp.int32, jnp.complex64, jnp.bool_)
OTHERS = (0.5, 2, True, 1j, np.float32(0.5), np.float64(0.5), np.arange(3.0), "scalar", "vector", "same")


@contextlib.contextmanager
def without_shortcuts(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(lowering, "shortcuts", lambda *ways: contextlib.nullcontext())
        yield


def recorded(program, *args):
    """The form of a program, described up to the names of its values, or the error that it raises."""
    tracing._forms.clear()
    try:
        return Describer().form(lawful.trace(program, *args))
    except (TypeError, ValueError, IndexError, UserWarning) as error:
        return type(error), str(error)


@pytest.mark.rest_slow
@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
def test_arithmetic_is_recorded_as_by_jax(dtype, shape, monkeypatch):
    for x64, apply, other in itertools.product((True, False), OPERATORS, OTHERS):
        with jax.enable_x64(x64):
            array = jnp.ones(shape, dtype if x64 or dtype is not jnp.float64 else jnp.float32)
            named = {"scalar": jnp.ones((), array.dtype), "vector": jnp.ones(3), "same": array}
            value = named.get(other, other) if isinstance(other, str) else other

            def program(x, y=value, apply=apply):
                return apply(x, y), apply(y, x), apply(x * 0.5, y) + 1.0

            arguments = (array, value) if isinstance(value, jax.Array) else (array,)
            ours = recorded(program, *arguments)
            with without_shortcuts(monkeypatch):
                assert recorded(program, *arguments) == ours, (x64, apply, other)


@given(st.integers(-6, 6), st.sampled_from([(), (1,), (4,), (4, 2), (0,)]))
def test_an_element_is_recorded_as_by_jax_and_refused_as_by_jax(index, shape):
    with pytest.MonkeyPatch.context() as patch:

        def program(y):
            x = lawful.sample("x", dist.Normal(jnp.zeros(shape), 1.0).to_event(len(shape)))
            return y[index] * 2.0, x[index]

        ours = recorded(program, jnp.ones(shape))
        with without_shortcuts(patch):
            assert recorded(program, jnp.ones(shape)) == ours


def test_elements_inside_other_transformations_are_those_of_jax():
    def program(y):
        rows = jax.vmap(lambda row: row[1] * y[0][0])(y)
        slope = jax.grad(lambda row: row[0] * row[2] + y[3][1])(y[1])
        total, _ = jax.lax.scan(lambda total, row: (total + row[0] + y[0][2], None), y[0][0], y)
        chosen = jax.lax.cond(y[0][1] > 0.0, lambda: y[0][0], lambda: y[2][1])
        return rows, slope, jax.jit(lambda row: row[1])(y[2]), total, chosen

    y = jnp.arange(1.0, 13.0).reshape(4, 3)
    form = lawful.trace(program, y)
    assert "lawful_entry" not in str([node.function.params for node in form.nodes])
    found, _ = emit(form)(jax.random.key(0), y)
    for value, expected in zip(found, program(y), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_other_threads_and_later_code_have_the_operators_of_jax():
    found = []

    def look():
        found.append(str(jax.make_jaxpr(lambda y: y[0] * 2.0)(jnp.ones(3))))

    def program(y):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return lawful.sample("x", dist.Normal(y[0], 1.0))

    before = jax.core.ShapedArray._getitem
    lawful.trace(program, jnp.ones(3))
    look()
    assert found[0] == found[1]
    assert "lawful" not in found[0]
    assert jax.core.ShapedArray._getitem is before


def test_operators_are_restored_after_an_error():
    before = jax.core.ShapedArray._mul

    def program(y):
        raise RuntimeError(y[0] * 2.0)

    with pytest.raises(RuntimeError):
        lawful.trace(program, jnp.ones(3))
    assert jax.core.ShapedArray._mul is before
