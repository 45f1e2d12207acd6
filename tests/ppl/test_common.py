"""Equal operations are done once, and every value stays; choices and what a result shows are never merged."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given
from jax.experimental import io_callback

import lawful
from lawful import cond, deterministic, factor, sample, scan
from lawful.backends.xla import emit
from lawful.distributions.law import law_of
from lawful.form import Branch, Det, Factor, Loop, Plate, Site, walk
from lawful.form.builder import LogProb
from lawful.inference.check.programs.doubled import doubled
from lawful.passes.add_plate import lift
from lawful.passes.simplify.common_subexpressions import common
from lawful.passes.simplify.symmetry import exchangeable
from lawful.passes.thread_sites import score
from tests.ppl.arithmetic import numbers, run, steps, straight
from tests.ppl.families import FAMILIES

NORMAL = dist.Normal(0.0, 1.0)


def density_of(form):
    return next(node for node in form.nodes if isinstance(node.function, LogProb))


def labels(form):
    return [node.label for node in walk(form) if isinstance(node, Det)]


@given(steps, numbers, numbers)
def test_every_value_is_the_same_bit_for_bit(steps, x, y):
    form = straight(steps)
    np.testing.assert_array_equal(run(common(form), x, y), run(form, x, y))


@given(steps)
def test_what_is_done_twice_is_done_once(steps):
    """Also where operands change places, and where twice is four times since the operands are done twice."""
    form = straight(steps)
    once = common(form)
    assert len(common(doubled(form)).nodes) == len(once.nodes) <= len(form.nodes)
    assert common(once) is once


def test_equal_choices_stay_two():
    def model():
        return sample("x", NORMAL), sample("y", NORMAL)

    form = lawful.trace(model)
    small = common(form)
    assert [node.address for node in small.nodes if isinstance(node, Site)] == [("x",), ("y",)]
    assert len(small.constants) == len({(float(a), v.dtype) for v, a in small.constants})
    (x, y), _ = emit(small)(jax.random.key(0))
    assert x != y
    np.testing.assert_array_equal((x, y), emit(form)(jax.random.key(0))[0])


def test_what_reads_two_equal_choices_stays_two():
    form = lawful.trace(lambda: (jnp.exp(sample("x", NORMAL)), jnp.exp(sample("y", NORMAL))))
    assert labels(common(form)) == ["exp", "exp"]


def test_named_values_and_factors_stay():
    def model(x):
        deterministic("a", jnp.sin(x))
        deterministic("b", jnp.sin(x))
        factor("f", jnp.sin(x))
        factor("g", jnp.sin(x))

    small = common(lawful.trace(model, 0.5))
    assert {node.address for node in small.nodes if getattr(node, "address", None)} == {("a",), ("b",), ("f",), ("g",)}
    assert labels(small).count("sin") == 1


def test_what_acts_is_not_merged():
    """A callback that may count its calls, alone and inside a function that is called."""

    def model(x):
        def doubling(x):
            return io_callback(lambda x: 2 * x, jax.ShapeDtypeStruct((), x.dtype), x)

        return doubling(x), doubling(x), jax.jit(doubling)(x), jax.jit(doubling)(x)

    form = lawful.trace(model, 0.5)
    assert len(common(form).nodes) == len(form.nodes) == 4


def test_numbers_are_told_apart_by_sign_and_type():
    def model(x):
        zeros = jnp.array([0.0]), jnp.array([-0.0]), jnp.array([0], jnp.int32), jnp.array([0.0], jnp.float32)
        return [jnp.arctan2(z.astype(x.dtype), x) for z in zeros]

    form = lawful.trace(model, -1.0)
    assert len(common(form).constants) == len(form.constants) == 4
    np.testing.assert_array_equal(run(common(form), -1.0), run(form, -1.0))


def equal_outputs(small, form, *inputs):
    new, old = (emit(f)(jax.random.key(0), *inputs) for f in (small, form))
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loop_reads_what_was_computed_around_it():
    def model(theta, y):
        scale = jnp.exp(theta)

        def step(x, y):
            x = sample("x", dist.Normal(x, jnp.exp(theta))) + jnp.exp(y)

            def jump(x):
                return sample("jump", dist.Normal(jnp.exp(theta), 1.0)) + jnp.exp(x)

            return x, cond(x > 0, jump, jnp.exp, x)

        return scale, scan(step, 0.0, y)

    y = jnp.linspace(-1.0, 1.0, 4)
    form = lawful.trace(model, 0.3, y)
    small = common(form)
    assert labels(form).count("exp") == 6
    assert labels(small).count("exp") == 4  # of theta, y, and x in each arm: neither arm sees the other
    equal_outputs(small, form, 0.3, y)


def test_what_only_starts_equal_is_not_merged():
    """Two carries with one start; rows of one array are equal, those of another are not."""

    def model(y, z):
        def step(carry, rows):
            a, b = carry
            p, q, r = rows
            factor("f", 0.1 * a)
            return (a + p, b + r), (jnp.sin(a), jnp.sin(b), jnp.sin(p), jnp.sin(q), jnp.sin(r))

        return scan(step, (0.0, 0.0), (y, y, z))

    y, z = jnp.arange(3.0), jnp.arange(3.0) ** 2
    form = lawful.trace(model, y, z)
    small = common(form)
    assert labels(form).count("sin") == 5 and labels(small).count("sin") == 4
    equal_outputs(small, form, y, z)


@pytest.mark.parametrize("length", [0, 3])
def test_loops_without_steps_and_branches_of_one_arm_are_read_too(length):
    def model(x):
        def step(c, _):
            factor("f", c)
            return c + jnp.sin(x), jnp.sin(x)

        def arm():
            factor("g", x)
            return jnp.sin(x)

        return scan(step, jnp.sin(x), length=length), lawful.switch(0, [arm])

    form = lawful.trace(model, 0.5)
    small = common(form)
    assert labels(form).count("sin") == 4 and labels(small).count("sin") == 1
    equal_outputs(small, form, 0.5)


def test_one_value_for_all_lanes_is_another_than_one_a_lane():
    """Under a plate an operation on what all particles share is not that on what each has."""
    form = lawful.trace(lambda x, y: (jnp.sin(x), jnp.sin(x), jnp.sin(y), jnp.sin(y)), 0.5, 0.5)
    lifted = lift(form, Plate("particle", 3), [False, True]).form
    small = common(lifted)
    assert len(small.nodes) == 2
    for new, old in zip(run(small, 0.5, np.arange(3.0)), run(lifted, 0.5, np.arange(3.0)), strict=True):
        np.testing.assert_array_equal(new, old)


def test_one_body_may_stand_in_two_loops():
    """With other constants: what one of them brings in is not the other's."""

    def model(a, b):
        def step(c, _):
            factor("f", c)
            return c * jnp.exp(a), None

        return jnp.exp(a), jnp.exp(b), scan(step, 1.0, length=2)[0]

    form = lawful.trace(model, 0.5, 1.0)
    (loop,) = (node for node in form.nodes if isinstance(node, Loop))
    other = replace(
        loop,
        body=replace(loop.body, nodes=tuple(node for node in loop.body.nodes if not isinstance(node, Factor))),
        constants=(form.inputs[1],),
        carry_out=tuple(v.like() for v in loop.carry_out),
    )
    both = replace(form, nodes=(*form.nodes, other), outputs=(*form.outputs, *other.carry_out))
    small = common(both)
    assert labels(both).count("exp") == 4 and labels(small).count("exp") == 2
    equal_outputs(small, both, 0.5, 1.0)


@pytest.mark.parametrize("name", FAMILIES)
def test_operands_change_places_only_where_the_density_is_symmetric(name):
    family = FAMILIES[name]
    node = density_of(score(lawful.trace(lambda: sample("x", family.make()))).form)
    pair = exchangeable(node)
    assert (pair is not None) == (name in ("Normal", "StudentT", "Laplace", "Cauchy", "Logistic", "MultivariateNormal"))
    if pair is None:
        return
    values = [jnp.asarray(family.inside, float), *law_of(family.make())[1]]
    swapped = list(values)
    swapped[pair[0]], swapped[pair[1]] = swapped[pair[1]], swapped[pair[0]]
    assert values[pair[0]].tolist() != swapped[pair[0]].tolist()
    np.testing.assert_allclose(node.function(*swapped)[0], node.function(*values)[0], rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "symmetric"),
    [
        (lambda: dist.Normal(jnp.zeros(3), 1.0).to_event(1), True),
        (lambda: dist.StudentT(jnp.full(3, 4.0), jnp.zeros(3), 1.0), True),
        (lambda: dist.Normal(0.0, 1.0).expand([3]), False),  # one location for all elements
        (lambda: dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.ExpTransform()), False),
        (lambda: dist.TruncatedNormal(0.0, 1.0, low=-1.0), False),
    ],
    ids=["event", "batch", "expanded", "transformed", "truncated"],
)
def test_the_location_must_have_the_shape_of_the_value(make, symmetric):
    node = density_of(score(lawful.trace(lambda: sample("x", make()))).form)
    assert (exchangeable(node) is not None) == symmetric


def test_a_density_and_its_reverse_are_one():
    form = score(lawful.trace(lambda x: sample("y", dist.Normal(x, 2.0)), jnp.zeros(3))).form
    there, (x, y) = density_of(form), form.inputs
    back = replace(there, ins=tuple({x: y, y: x}.get(v, v) for v in there.ins), outs=(there.outs[0].like(),))
    both = replace(form, nodes=(*form.nodes, back), outputs=(*there.outs, *back.outs))
    small = common(both)
    assert len(small.nodes) == len(form.nodes) and len(set(small.outputs)) == 1
    values = np.array([0.3, -1.0, 2.0]), np.array([1.0, 0.5, np.inf])
    np.testing.assert_array_equal(run(small, *values), run(both, *values))


def test_branches_bring_in_the_same_values():
    """One arm reads two values from around, the other none: both have the same operands after."""

    def model(x):
        outside = jnp.sin(x), jnp.cos(x)
        return outside, cond(x > 0, lambda: sample("x", dist.Normal(jnp.sin(x), 1.0)) * jnp.cos(x), lambda: x)

    form = lawful.trace(model, 0.5)
    small = common(form)
    (branch,) = (node for node in small.nodes if isinstance(node, Branch))
    assert {len(arm.inputs) for arm in branch.forms} == {len(branch.operands)}
    for x in (0.5, -0.5):
        equal_outputs(small, form, x)
