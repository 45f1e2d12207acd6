"""A single-site move scores what the moved part reaches: that is the difference of the scores of the whole states.

Every accepted move of many chains is an edit: the change of the log density that the kernel carries is compared with
the scores of the two states by the whole program. Over 1,000 edits are compared, many of which flip branches.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, factor, plate, sample, scan
from lawful.backends.log_density import scored
from lawful.backends.xla import emit
from lawful.form import Plate
from lawful.form.arguments.arrays import split_arguments
from lawful.inference import kernels
from lawful.inference.check import key_of
from lawful.inference.kernels.base.base import initial_state
from lawful.inference.plans.chains.chain_loop import chain_loop
from lawful.passes.add_plate import lift

CHAINS, STEPS = 24, 80
Y = jnp.linspace(-1.0, 1.5, 7)


def switching(y):
    """A scan whose steps draw different sites in two arms; its path and its last value are read after it."""

    def step(x, y):
        b = sample("b", dist.Bernoulli(0.2 + 0.5 * (x > 0)))
        x = cond(
            b == 1,
            lambda x: sample("jump", dist.Normal(0.5 * x, 2.0)),
            lambda x: x + 0.1 * sample("walk", dist.Normal(0.3, 1.0)) * sample("size", dist.Gamma(2.0, 1.0)),
            x,
        )
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, 2 * x

    last, path = scan(step, 0.3, y)
    sample("smooth", dist.Normal(path, 3.0).expand(y.shape), obs=y)
    sample("end", dist.Normal(last, 1.0), obs=0.4)
    factor("total", -0.1 * jnp.sum(path**2) - 0.05 * last)


def plates(y):
    """Plates in a plate and in a scan, labels that index a vector, a joint draw, and factors that are sums."""
    mu = sample("mu", dist.Normal(jnp.array([-1.0, 0.0, 1.0]), 1.0))
    pair = sample("pair", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    with plate("item", 7):
        z = sample("z", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
        sample("y", dist.Normal(mu[z] + pair[0], jnp.exp(0.1 * z)), obs=y)
        with plate("pairs", 2, dim=-2):
            w = sample("w", dist.Normal(z - 1.0, 1.0))
    factor("sum", -0.2 * jnp.sum(w**2) + 0.1 * jnp.sum(jnp.where(z == 2, pair[1], 0.0)))

    def step(level, x):
        with plate("lane", 3):
            level = sample("level", dist.Normal(0.5 * level + pair[1], 1.0))
            sample("seen", dist.Poisson(jnp.exp(0.2 * level)), obs=x)
        return level, None

    scan(step, jnp.zeros(3), jnp.array([[1, 0, 2], [0, 1, 1], [3, 0, 0]]))


def nested(y):
    """Branches in branches, one site name in both arms, and a site that decides whether others exist."""
    a = sample("a", dist.Bernoulli(0.5))

    def left():
        c = sample("c", dist.Categorical(jnp.array([0.4, 0.4, 0.2])))
        v = cond(c == 1, lambda: sample("d", dist.Normal(1.0, 1.0)), lambda: sample("shared", dist.Normal(0.0, 2.0)))
        sample("inside", dist.Normal(v, 1.0), obs=0.3)
        return v

    def right():
        v = sample("shared", dist.Normal(0.5, 1.0))
        factor("weight", -0.3 * v**2)
        return v

    v = cond(a == 1, left, right)
    b = sample("b", dist.Normal(v, 1.0))
    sample("y", dist.Normal(b + v, 1.0), obs=y[0])


def carries(y):
    """Two steps back, a running sum that every later step reads, a counter, a reversed scan, a start that moves."""
    start = sample("start", dist.Normal(0.0, 1.0))
    scale = sample("scale", dist.Gamma(3.0, 2.0))

    def second_order(carry, y):
        one, two, count = carry
        x = sample("x", dist.Normal(0.6 * one - 0.2 * two, scale))
        sample("y", dist.Normal(x + 0.01 * count, 1.0), obs=y)
        return (x, one, count + 1), None

    scan(second_order, (start, 0.0, 0), y)

    def running(total, y):
        total = total + 0.3 * sample("u", dist.Normal(0.0, 1.0))
        sample("v", dist.Normal(total, 1.0), obs=y)
        return total, None

    scan(running, 0.0, y)

    def back(x, y):
        x = sample("r", dist.Normal(0.8 * x, 1.0))
        sample("s", dist.Normal(x, 0.7), obs=y)
        return x, None

    last, _ = jax.lax.scan(back, 0.0, y, reverse=True)
    factor("first", -0.5 * (last - 0.2) ** 2)


@functools.cache
def run(program):
    """States (step, chain, ...) of chains of single-site moves, the start among them, and the scores of all of them."""
    form = lawful.trace(program, Y)
    inputs, _, _ = split_arguments((Y,))
    kernel = kernels.mh().build(form)
    start = emit(lift(initial_state(form), Plate("chain", CHAINS), [False] * len(form.inputs)).form)
    k_start, k_run = jax.random.split(key_of(f"incremental/{program.__name__}"))
    first = jax.jit(start)(k_start, *inputs)[0]
    loop = chain_loop(kernels.mh(), form, CHAINS, 0, STEPS, 1)
    out = jax.jit(loop)(k_run, inputs, first)
    _, drawn = loop.parts(out["kept"])
    states = [np.concatenate([np.asarray(a)[None], np.asarray(b)]) for a, b in zip(first, drawn, strict=True)]
    values = states[: len(kernel.choices)]
    score = jax.jit(jax.vmap(jax.vmap(lambda *v: sum(scored(form)[1](inputs, list(v))[:2]))))
    accepted = np.asarray(out["numbers"][1])
    return form, kernel, states, np.asarray(score(*values)), accepted


@pytest.mark.regression("15.2a")
@pytest.mark.tier0b
@pytest.mark.parametrize(
    ("programs", "least"),
    [
        pytest.param([switching, nested], (1000, 100), id="branches"),
        pytest.param([plates, carries], (1000, 0), id="plates and carries", marks=pytest.mark.slow),
    ],
)
def test_the_change_that_a_move_carries_is_the_difference_of_the_scores(programs, least):
    edits, flips = 0, 0
    for program in programs:
        _, kernel, states, scores, accepted = run(program)
        carried, whole = np.diff(states[-1], axis=0), np.diff(scores, axis=0)
        assert np.all(np.abs(carried - whole)[accepted] <= 1e-12 * np.maximum(1, np.abs(scores[:-1][accepted])))
        assert (carried[~accepted] == 0).all()
        edits += int(accepted.sum())
        flags = states[len(kernel.choices) : -1]
        changed = [np.any((f[1:] != f[:-1]).reshape(STEPS, CHAINS, -1), axis=-1) for f in flags]
        flips += int(np.sum(np.any(changed, axis=0))) if changed else 0
    assert edits >= least[0]
    assert flips >= least[1]


@pytest.mark.tier0b
@pytest.mark.parametrize("program", [switching, nested], ids=lambda p: p.__name__)
def test_the_flags_that_a_move_carries_are_those_of_the_program(program):
    form, kernel, states, _, _ = run(program)
    inputs, _, _ = split_arguments((Y,))
    flags = jax.vmap(jax.vmap(lambda *v: list(scored(form)[1](inputs, list(v))[2])))(*states[: len(kernel.choices)])
    for carried, whole in zip(states[len(kernel.choices) : -1], flags, strict=True):
        np.testing.assert_array_equal(carried, whole)
