"""A form that runs in portions gives what the whole gives, bit for bit, wherever it is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.backends.xla import emit
from lawful.inference.running.resumable_form import Portions

pytestmark = pytest.mark.reuses_keys  # a loop that reads the key of its step from a row of keys is taken for reuse

KEY = jax.random.key(7)
Y = jnp.array([0.3, -1.2, 0.8, 2.0, 0.1, -0.4, 1.0])


def kept_path(y):
    """Stacked values that the outputs alone show; a weight before the loop, in it and after it."""
    lawful.factor("before", -0.5 * y[0] ** 2)
    scale = lawful.sample("scale", dist.Gamma(2.0, 1.0))

    def step(x, y):
        x = lawful.sample("x", dist.Normal(0.9 * x, scale))
        lawful.sample("y", dist.StudentT(4.0, x, 1.0), obs=y)
        return x, (x, jnp.exp(x))

    last, (path, powers) = lawful.scan(step, 0.0, y)
    lawful.factor("after", jnp.sin(last))
    return path, powers, last * scale


def held_path(y):
    """A second loop, in reverse, reads what the first one stacked."""

    def forward(x, y):
        x = lawful.sample("x", dist.Normal(x, 1.0))
        return x, (x, jnp.cos(x) + y)

    def backward(z, x):
        z = lawful.sample("z", dist.Normal(0.5 * z + x, 1.0))
        lawful.factor("f", -jnp.abs(z))
        return z, z * x

    _, (path, other) = lawful.scan(forward, 0.0, y)
    end, back = jax.lax.scan(backward, jnp.sum(other), path, reverse=True)
    return path, back, end


def unrolled(y):
    """Steps that a Python loop wrote."""
    x, total = 0.0, 0.0
    for i in range(10):
        x = lawful.sample(f"x_{i}", dist.Normal(0.7 * x, 1.0))
        lawful.sample(f"y_{i}", dist.Normal(x, 1.0), obs=y[i % 7])
        total = total + jnp.sin(x)
    return x, total


def no_loop(y):
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    lawful.factor("f", x * y[0])
    return x


PROGRAMS = [kept_path, held_path, unrolled, no_loop]


def in_portions(portions, inputs, lengths):
    """Run a form in portions of the given lengths, again and again."""
    pause, kept, place = portions.begin(KEY, inputs), [], 0
    for part in range(len(portions.parts)):
        taken = []
        while sum(taken, start=0) < portions.total(part):
            pause, rows = portions.advance(pause, lengths[place % len(lengths)])
            taken.append(int(pause.step) - sum(taken, start=0))
            place += 1
            kept = kept if len(kept) > part else [*kept, [[] for _ in rows]]
            for own, new in zip(kept[part], rows, strict=True):
                own.append(new)
    return portions.outputs(pause, [[np.concatenate(own) for own in part] for part in kept])


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_portions_give_outputs_and_weight_of_the_whole(program):
    form = lawful.trace(program, Y)
    whole, log_weight = jax.jit(emit(form))(KEY, Y)
    portions = Portions(form)
    assert len(portions.parts) == {"held_path": 2, "no_loop": 0}.get(program.__name__, 1)
    for lengths in [(100,), (1, 2, 4), (3,)]:
        outputs, weight = in_portions(portions, [Y], lengths)
        assert len(outputs) == len(whole)
        for one, other in zip(outputs, whole, strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        assert float(weight) == float(log_weight)
    assert sum(len(program.ready) for program in portions.programs.values()) == 2 * len(portions.parts) + 1


def test_the_room_of_a_call_changes_nothing():
    form = lawful.trace(held_path, Y)
    whole, log_weight = jax.jit(emit(form))(KEY, Y)
    outputs, weight = in_portions(Portions(form, longest=2), [Y], (5,))
    for one, other in zip(outputs, whole, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert float(weight) == float(log_weight)


@pytest.mark.slow
def test_portions_without_the_compiler_give_the_whole_too():
    form = lawful.trace(kept_path, Y[:3])
    with jax.disable_jit():
        whole, log_weight = emit(form)(KEY, Y[:3])
        outputs, weight = in_portions(Portions(form), [Y[:3]], (2,))
    for one, other in zip(outputs, whole, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert float(weight) == float(log_weight)


def test_a_pause_is_described_without_running():
    portions = Portions(lawful.trace(held_path, Y))
    pause = portions.begin(KEY, [Y])
    for part in range(2):
        expected = portions.expected(part, KEY, [Y])
        assert jax.tree.structure(expected) == jax.tree.structure(pause)
        shapes = [(x.shape, x.dtype) for x in jax.tree.leaves(expected)]
        assert shapes == [(x.shape, x.dtype) for x in jax.tree.leaves(pause)]
        for _ in range(0 if part else 3):
            pause, _ = portions.advance(pause, 4)
