"""Unchained loops give what the loops gave; a carry that comes back to itself stays a carry."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import sample, scan
from lawful.backends import unchain_loops as unchained
from lawful.backends.unchain_loops import unchained as rewritten
from lawful.backends.xla import emit
from lawful.form import Loop
from lawful.passes.thread_sites import score


def carries(form):
    return [len(node.init) for node in form.nodes if isinstance(node, Loop)]


def memory(delays, reverse=False):
    """Steps that read the values of several steps before."""

    def program(y):
        def step(past, y):
            x = sample("x", dist.Normal(0.5 * past[-1] + sum(past), jnp.exp(0.1 * y)))
            sample("y", dist.Normal(x * past[0], 1.0), obs=y)
            return (x, *past[:-1]), x * y

        return jax.lax.scan(step, (0.3,) * delays, y, reverse=reverse)

    return program


def walk(y):
    """A sum of choices: it comes back to itself."""

    def step(total, y):
        x = sample("x", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(total, 1.0), obs=y)
        return total + x, None

    return scan(step, 0.0, y)[0]


@pytest.mark.rest_slow
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("delays", [1, 2, 3])
@pytest.mark.parametrize("length", [2, 7])
def test_scores_and_outputs_are_those_of_the_loop(delays, reverse, length):
    y = jnp.linspace(-1.0, 1.0, length)
    form = score(lawful.trace(memory(delays, reverse), y)).form
    small = rewritten(form)
    assert carries(form) == [delays] and not any(carries(small))
    x = jax.random.normal(jax.random.key(2), (length,))
    results = [emit(f)(jax.random.key(i), y, x)[0] for i, f in enumerate((small, form))]
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("length", [1, 7])
def test_a_carry_that_comes_back_to_itself_stays_and_so_does_a_single_step(length):
    y = jnp.linspace(-1.0, 1.0, length)
    form = score(lawful.trace(walk if length > 1 else memory(1), y)).form
    assert [n for n in carries(rewritten(form)) if n] == carries(form) == [1]


def recursion(reverse):
    """A carry that comes back to itself, one that reads it, one that is the same at all steps, and a plain delay."""

    def program(y, scale):
        def step(carry, y):
            state, read, same, delayed = carry
            x = sample("x", dist.Normal(jnp.tanh(state), jnp.exp(scale)))
            sample("y", dist.Normal(read * delayed, jnp.log1p(scale**2) + jnp.sum(same)), obs=y)
            state = 0.5 * state + x * jnp.cos(scale) + jnp.sin(y)
            return (state, jnp.exp(0.1 * state), jnp.arange(2.0), x), state * y

        return jax.lax.scan(step, (0.3, 1.0, jnp.arange(2.0), 0.0), y, reverse=reverse)

    return program


@pytest.mark.rest_slow
@pytest.mark.parametrize("reverse", [False, True])
def test_of_a_recursion_nothing_else_stays_in_the_loop(reverse):
    y, x, scale = jnp.linspace(-1.0, 1.0, 7), jax.random.normal(jax.random.key(2), (7,)), jnp.array(0.4)
    form = score(lawful.trace(recursion(reverse), y, scale)).form
    small = rewritten(form)
    assert carries(form) == [4]
    (loop,) = (node for node in small.nodes if isinstance(node, Loop) and node.init)
    assert len(loop.init) == 1 and {n.label for n in loop.body.nodes} <= {"mul", "add"}

    def run(form):
        return jax.value_and_grad(lambda x, s: emit(form)(jax.random.key(0), y, s, x)[0][-2:][0].sum(), (0, 1))(
            x, scale
        )

    for ours, theirs in zip(*(emit(f)(jax.random.key(0), y, scale, x)[0] for f in (small, form)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    for ours, theirs in zip(*(jax.tree.leaves(run(f)) for f in (small, form)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_loop_of_many_numbers_stays_a_loop(monkeypatch):
    y = jnp.linspace(-1.0, 1.0, 7)
    form = score(lawful.trace(memory(1), y)).form
    monkeypatch.setattr(unchained, "MOST", 50)
    assert carries(rewritten(form)) == [1]


def test_a_loop_that_draws_stays_a_loop():
    form = lawful.trace(memory(1), jnp.zeros(7))
    assert carries(rewritten(form)) == [1]


def test_the_density_of_a_chain_has_no_loop_and_the_same_gradient():
    y = jnp.linspace(-1.0, 1.0, 20)
    density = lawful.density(memory(2), y)
    vector = jax.random.normal(jax.random.key(3), (20,))
    assert "scan" not in str(jax.make_jaxpr(jax.grad(density.logp_vector))(vector))
    direct = jax.grad(lambda x: density.form.log_density({"x": x}, y))(vector)
    np.testing.assert_allclose(jax.grad(density.logp_vector)(vector), direct, rtol=1e-10)
    np.testing.assert_allclose(jax.grad(density.logp)({"x": vector})["x"], direct, rtol=1e-10)


@pytest.mark.rest_slow
@pytest.mark.parametrize(("order", "at_once"), [([0, 1, 2, 3], True), ([1, 2], True), ([2, 1], False), ([0, 2], False)])
def test_elements_that_follow_each_other_are_read_at_once(order, at_once):
    """XLA reads at known places, and adds to them in a derivative, element by element."""

    def program():
        rows = sample("x", dist.Normal(jnp.zeros((4, 2)), 1.0).to_event(2))[jnp.asarray(order)]
        scan(
            lambda z, _: (sample("z", dist.Normal(z * rows.sum(1), 1.0).to_event(1)), None), rows[:, 0], None, length=3
        )

    form = score(lawful.trace(program)).form
    given = [jax.random.normal(jax.random.key(4), shape) for shape in ((4, 2), (3, len(order)))]

    def run(form):
        return lambda x: emit(form)(jax.random.key(0), x, given[1])[0][-2]

    ours, theirs = (jax.jit(jax.value_and_grad(run(f)))(given[0]) for f in (rewritten(form), form))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), ours, theirs)
    programs = [str(jax.make_jaxpr(run(f))(given[0])) for f in (form, rewritten(form))]
    assert ["gather" in program for program in programs] == [True, not at_once]


@jax.custom_jvp
def _plain(x):
    return jnp.sin(x)


@_plain.defjvp
def _plain_jvp(at, move):
    return jnp.sin(*at), 3.0 * move[0]


def test_a_function_inside_a_loop_keeps_its_own_derivative():
    def program(y):
        def step(total, y):
            x = sample("x", dist.Normal(0.0, 1.0))
            sample("y", dist.Normal(total, 1.0), obs=y)
            return _plain(total) + x, None

        scan(step, 0.2, y)

    y = jnp.array([0.4, -0.1, 0.9])

    def by_hand(x):
        total, weight = 0.2, jnp.sum(dist.Normal(0.0, 1.0).log_prob(x))
        for step in range(3):
            weight += dist.Normal(total, 1.0).log_prob(y[step])
            total = _plain(total) + x[step]
        return weight

    density = lawful.density(program, y)
    at = density.ravel()[0] + jnp.array([0.1, 0.5, -0.7])
    ours, theirs = (jax.value_and_grad(f)(at) for f in (density.logp_vector, by_hand))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-12, atol=1e-12)
