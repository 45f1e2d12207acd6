"""What the arguments alone decide is computed by NumPy: the same values as compiled, without compiling."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lawful
from lawful.backends.pointwise import ask_at_prior
from lawful.errors import ObservationError
from lawful.form import Site
from lawful.form.operations.equation import identity
from lawful.form.operations.on_numpy import evaluate
from lawful.form.operations.stacks import Pick, Window, Windows
from lawful.inspection.lint.observed_data import checked_data
from lawful.inspection.lint.settled import settled
from lawful.passes.probe import Probe

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


def question(node):
    """Ask for the data of a site."""
    if isinstance(node, Site) and node.observed is not None:
        yield Probe("data", identity, (node.observed,))


def compiled_data(form, *inputs):
    """The data of all sites, by name, as a compiled run meets them."""
    asked, ask = ask_at_prior(form, question)
    return dict(zip((part.name for part in asked), jax.jit(ask)(jax.random.key(0), inputs), strict=True))


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(st.sampled_from(KINDS), max_size=5))
def test_data_that_are_read_anew_are_those_of_a_compiled_run(kinds):
    form = lawful.trace(reading(kinds), TABLE)
    found, expected = checked_data(form, [TABLE]), compiled_data(form, TABLE)
    assert found and found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def carried(steps):
    """Observe by a counter that a loop carries, beside a choice that it carries too."""

    def step(carry, _):
        t, total, x = carry
        x = lawful.sample("x", dist.Normal(x, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=jnp.asarray(TABLE).ravel()[t % 24])
        lawful.sample("total", dist.Normal(x, 1.0), obs=total)
        lawful.sample("moved", dist.Normal(0.0, 1.0), obs=x)
        return (t + 1, total + jnp.sqrt(1.0 * t), x), None

    return lambda: lawful.scan(step, (0, 0.0, 0.0), None, length=steps)[0][1]


@pytest.mark.parametrize("steps", [0, 3, 2000])
def test_data_that_a_loop_computes_beside_its_choices_are_those_of_a_compiled_run(steps):
    form = lawful.trace(carried(steps))
    found, expected = checked_data(form, []), compiled_data(form)
    assert found.keys() == {"y", "total"} and expected.keys() == {"y", "total", "moved"}
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-13)


@pytest.mark.parametrize("room", [0, 1 << 24])
def test_what_all_steps_share_is_computed_once(room, monkeypatch):
    monkeypatch.setattr("lawful.inspection.lint.settled.MOST", room)

    def model(root):
        def step(x, _):
            x = lawful.sample("x", dist.MultivariateNormal(x, root @ root.T))
            lawful.sample("y", dist.Normal(x[0], 1.0), obs=root[0, 0])
            return x, None

        lawful.scan(step, jnp.zeros(2), None, length=5)

    def ask(node):
        if isinstance(node, Site) and node.observed is None:
            yield Probe("scale", lambda root: root, node.parameters[1:])

    root = np.array([[1.0, 0.0], [0.5, 2.0]])
    form = lawful.trace(model, root)
    (_, scale, _), *_ = settled(form, ask, whole=False)[1]([root])
    np.testing.assert_allclose(scale, root[None], rtol=1e-12)
    np.testing.assert_array_equal(checked_data(form, [root])["y"], np.ones(5))


def arms(which, y):
    """Observe in the arms of a branch that the arguments decide, at each step of a loop."""

    def first(row):
        lawful.sample("a", dist.Normal(0.0, 1.0), obs=row[0])

    def second(row):
        lawful.sample("a", dist.Normal(0.0, 1.0), obs=2 * row[1])
        lawful.sample("b", dist.Poisson(1.0), obs=row[1].astype(int))

    def step(carry, xs):
        lawful.switch(xs[0], [first, second], xs[1])
        return carry, None

    lawful.scan(step, 0.0, (which, y))


def test_data_of_arms_are_those_of_the_arm_that_runs():
    which, y = np.array([0, 1, 1]), np.array([[1.0, -2.0], [3.0, 4.0], [5.0, 6.0]])
    data = checked_data(lawful.trace(arms, which, y), [which, y])
    np.testing.assert_array_equal(data["a"], [1.0, 8.0, 12.0])
    np.testing.assert_array_equal(data["b"], [np.nan, 4.0, 6.0])
    with pytest.raises(ObservationError, match="-2"):
        checked_data(lawful.trace(arms, which, y), [which[::-1].copy(), y])


def test_data_may_be_made_of_a_random_key_among_the_arguments():
    def model(key, y):
        lawful.sample("y", dist.Normal(0.0, 1.0), obs=y + jax.random.normal(key))

    key = jax.random.key(3)
    data = checked_data(lawful.trace(model, key, 1.0), [key, np.asarray(1.0)])
    np.testing.assert_allclose(data["y"], 1.0 + jax.random.normal(jax.random.key(3)), rtol=1e-12)


def test_answers_that_choices_move_are_left_out():
    def model(y):
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        lawful.sample("z", dist.Normal(0.0, 1.0), obs=y + x)

    asked, run = settled(lawful.trace(model, 1.0), question)
    assert [part.name for part in asked] == ["y"]
    assert [(float(value), runs) for _, value, runs in run([2.0])] == [(2.0, None)]


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
    np.testing.assert_array_equal(evaluate(windows, [table])[0], windows(jnp.asarray(table))[0])


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
