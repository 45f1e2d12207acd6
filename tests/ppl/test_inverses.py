"""The logarithm of an exponential is its argument, wherever it was finite; exp(log(x)) is left alone."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given

import lawful
from lawful import factor, sample, scan
from lawful.backends.xla import emit
from lawful.form import Det, Plate, walk
from lawful.form.liveness import without_dead_code
from lawful.inference import kernels
from lawful.passes.add_plate import lift
from lawful.passes.simplify import simplified
from lawful.passes.simplify.log_exp import without_inverses
from tests.ppl.arithmetic import EDGES, numbers, run, steps, straight


def labels(form):
    return [node.label for node in walk(without_dead_code(form)) if isinstance(node, Det)]


@given(steps, numbers, numbers)
def test_what_was_finite_stays(steps, x, y):
    """To rounding: log(exp(x)) itself is off by one unit in the last place of 1 at least."""
    form = straight(steps)
    first_log = next((i for i, (name, *_) in enumerate(steps) if name == "log"), len(steps))
    for new, old in zip(run(without_inverses(form), x, y)[: first_log + 3], run(form, x, y), strict=False):
        if np.isfinite(old):
            np.testing.assert_allclose(new, old, rtol=1e-12, atol=1e-12)
        elif np.isnan(old):
            assert np.isnan(new)


@pytest.mark.parametrize("x", EDGES)
def test_infinite_values_and_values_that_are_none(x):
    """Only where exp(x) overflowed, or was rounded to zero, is there another value, and it is the right one."""
    form = lawful.trace(lambda x: jnp.log(jnp.exp(x)), 0.5)
    np.testing.assert_array_equal(run(without_inverses(form), x), [x])
    (old,) = run(form, x)
    assert abs(x) == 800.0 or np.isclose(old, x, rtol=1e-15, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.exp(jnp.log(x)),  # is no number where x < 0
        lambda x: jnp.log(1.0 + jnp.exp(x)),
        lambda x: jnp.log(jnp.exp(1j * x)).imag,  # the argument lies in (-pi, pi]
    ],
    ids=["exp of log", "another operation between", "complex"],
)
def test_what_is_no_identity_stays(function):
    form = lawful.trace(function, 0.5)
    assert without_inverses(form) is form
    assert np.isnan(run(simplified(lawful.trace(lambda x: jnp.exp(jnp.log(x)), 0.5)), -1.0)[0])


def test_an_exponential_that_others_read_stays():
    form = lawful.trace(lambda x: (jnp.log(jnp.exp(x)), jnp.exp(x)), 0.5)
    assert labels(simplified(form)) == ["exp"]


def test_inside_loops_and_under_plates():
    def model(x, y):
        def step(c, y):
            factor("f", jnp.log(jnp.exp(c + y)))
            return c + y, None

        return scan(step, x, y)[0]

    form = lawful.trace(model, 0.5, jnp.zeros(3))
    lifted = lift(form, Plate("particle", 4), [True, False], consume_all=True).form
    values = jnp.arange(4.0), jnp.array([0.1, 0.2, 0.3])
    for each, operands in ((form, (0.5, values[1])), (lifted, values)):
        small = simplified(each)
        assert "log" in labels(each) and "log" not in labels(small)
        new, old = (jax.tree.leaves(emit(f)(jax.random.key(0), *operands)) for f in (small, each))
        for a, b in zip(new, old, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


def test_a_move_does_not_take_the_logarithm_of_a_scale_that_is_an_exponential():
    """Single-site moves open densities: log(exp(s)) of a log scale stands among their operations."""

    def model(y):
        s = sample("s", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(0.0, jnp.exp(s)), obs=y)

    form = kernels.mh().build(lawful.trace(model, 0.3)).step
    scale = {v for node in walk(form) if isinstance(node, Det) and node.label == "exp" for v in node.outs}
    assert len(scale) == 2  # of the state and of what is proposed
    assert not [node for node in walk(form) if isinstance(node, Det) and node.label == "log" and node.ins[0] in scale]
