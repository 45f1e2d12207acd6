"""Data that are only read anew are read on the host: the same values as compiled, without compiling."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lawful
from lawful.errors import ObservationError
from lawful.form.operations.stacks import Pick, Window, Windows
from lawful.inspection.lint import observed_data as observed
from lawful.inspection.lint.observed_data import checked_data
from lawful.inspection.lint.views import is_view

KINDS = ("element", "slice", "strided", "transpose", "reshape", "scan", "reversed scan")
TABLE = np.arange(24.0).reshape(2, 3, 4)


def reading(kinds):
    """Write a program that observes what it reads from a table by some steps, those after a scan inside it."""

    def observe(kinds, x, table, depth):
        for k, kind in enumerate(kinds):
            if x.ndim == 0:
                break
            if "scan" in kind:

                def inside(carry, row, rest=kinds[k + 1 :]):
                    observe(rest, row, table, depth + 1)
                    with lawful.scope(f"whole{depth}"):
                        observe(rest, table, table, depth + 1)  # the same at every step
                    return carry, None

                jax.lax.scan(inside, 0.0, x, reverse="reversed" in kind)
                return
            x = step(kind, x)
        lawful.sample(f"y{depth}", dist.Normal(jnp.zeros(x.shape), 1.0), obs=x)

    return lambda table: observe(kinds, table, table, 0)


def step(kind, x):
    """Read an array anew in one of the ways that a program writes."""
    if kind == "element":
        return x[len(x) // 2]
    if kind == "slice":
        return x[1:] if len(x) > 1 else x
    if kind == "strided":
        return x[::2]
    return x.T if kind == "transpose" else x.reshape(-1, *x.shape[2:])


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(st.sampled_from(KINDS), max_size=5))
def test_data_on_the_host_are_those_of_the_compiled_reading(kinds):
    with mock.patch.object(observed, "_compiled", None):
        on_host = checked_data(lawful.trace(reading(kinds), TABLE), [TABLE])
    with mock.patch.object(observed, "is_view", lambda form: False):
        compiled = checked_data(lawful.trace(reading(kinds), TABLE), [TABLE])
    assert on_host and on_host.keys() == compiled.keys()
    for name, value in compiled.items():
        np.testing.assert_array_equal(on_host[name], value)


def test_what_is_computed_is_no_view():
    assert not is_view(lawful.trace(lambda y: -y, 1.0))
    assert not is_view(lawful.trace(lambda y: jnp.concatenate([y, y]), TABLE))


@pytest.mark.parametrize(
    "windows",
    [
        Windows(Pick(), (2, 0, 2)),
        Windows(Window((1, 4), (4,)), ((0, 0), (2, 0), (1, 0))),
        Windows(Window((2, 2), (2, 2)), ((0, 0), (1, 2))),
        Windows(Window((1, 1), ()), ((2, 3), (0, 1))),
    ],
    ids=["rows", "rows by windows", "blocks", "elements"],
)
def test_windows_are_cut_alike(windows):
    table = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(windows.on_host(table), windows(jnp.asarray(table))[0])


def chain(y):
    """Observe elements of a vector, one by one."""
    for i in range(12):
        x = lawful.sample(f"x{i}", dist.Normal(0.0, 1.0))
        lawful.sample(f"y{i}", dist.Gamma(2.0, 1.0 + x**2), obs=y[i])


def whole(y):
    """Observe a vector."""
    lawful.sample("y", dist.Gamma(2.0, jnp.ones(12)), obs=y)


def rows(y):
    """Observe the elements of a vector in a loop."""

    def one(x, row):
        x = lawful.sample("x", dist.Normal(x, 1.0))
        lawful.sample("y", dist.Gamma(2.0, 1.0 + x**2), obs=row)
        return x, None

    lawful.scan(one, 0.0, y)


@pytest.mark.parametrize("program", [chain, whole, rows])
def test_data_that_are_read_anew_are_checked_without_compiling(program, monkeypatch):
    y = np.linspace(1.0, 2.0, 12)
    form = lawful.trace(program, y)
    monkeypatch.setattr(jax, "jit", None)
    data = checked_data(form, [y])
    np.testing.assert_array_equal(np.concatenate([np.ravel(v) for v in data.values()]), y)
    y[5] = -1.0
    with pytest.raises(ObservationError, match=r"-1.0"):
        checked_data(form, [y])
