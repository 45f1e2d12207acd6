"""Analyses: liveness keeps the measure, dependence finds every path, supports hold every draw."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints

import lawful
from lawful import cond, deterministic, factor, handlers, plate, sample, scan
from lawful.backends.xla import emit
from lawful.distributions.bijections import supports
from lawful.form import Det, Form, Loop, Site, walk
from lawful.form.choices import choices_of, dims_of
from lawful.form.dependence import dependence
from lawful.form.liveness import dependents, has_weight, is_random, random_values, without_dead_code

from .families import FAMILIES
from .programs import PROGRAMS

NORMAL = dist.Normal(0.0, 1.0)


def names(pairs):
    return {tuple(".".join(a) for a in pair) for pair in pairs}


def edges(model, *args):
    return names(dependence(lawful.trace(model, *args)).edges)


def test_dead_operations_go_and_sites_stay():
    def model():
        x = sample("x", NORMAL)
        jnp.exp(x) + 1
        sample("y", NORMAL)
        return x

    form = lawful.trace(model)
    assert [type(node) for node in form.nodes] == [Site, Site]
    assert [node.address for node in without_dead_code(form).nodes] == [("x",)]


def test_observations_and_factors_are_never_dead():
    def model():
        x, y = sample("x", NORMAL), sample("y", NORMAL)
        sample("z", dist.Normal(x, 1.0), obs=0.0)
        factor("f", y)

    live = without_dead_code(lawful.trace(model))
    assert {node.address for node in walk(live) if not isinstance(node, Det)} == {("x",), ("y",), ("z",), ("f",)}


def test_a_carry_that_nothing_reads_leaves_its_loop():
    def model():
        def step(carry, x):
            a, b, c = carry
            return (a + sample("x", NORMAL), b * 2, c + b), (a, b)

        (a, _, _), (first, _) = scan(step, (0.0, 1.0, 2.0), jnp.zeros(3))
        return a, first

    (loop,) = (node for node in lawful.trace(model).nodes if isinstance(node, Loop))
    assert (len(loop.init), len(loop.ys), len(loop.xs)) == (1, 1, 0)


def test_two_carries_that_read_each_other_stay_together():
    def model():
        return scan(lambda c, _: ((c[1], c[0] + sample("x", NORMAL)), None), (0.0, 1.0), length=3)[0][0]

    (loop,) = (node for node in lawful.trace(model).nodes if isinstance(node, Loop))
    assert len(loop.init) == 2


def test_operands_that_no_arm_reads_leave_their_branch():
    def model(a, b):
        return cond(a > 0, lambda a, b: (a + sample("x", NORMAL), b), lambda a, b: (a, b), a, b)[0]

    (branch,) = (node for node in lawful.trace(model, 1.0, 2.0).nodes if hasattr(node, "forms"))
    assert (len(branch.operands), len(branch.outs)) == (1, 1)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["chain", "loop in branch", "scopes"])
def test_removing_dead_code_keeps_outputs_and_weight(name):
    program, args = PROGRAMS[name]
    form = lawful.trace(program, *args)
    with_dead = Form(
        form.inputs, (*form.nodes, Det(lambda: (jnp.zeros(()),), (), (_fresh(),), "dead")), form.outputs, form.constants
    )
    key, args = jax.random.key(3), [jnp.asarray(a) for a in args]
    (ours, weight), (small, small_weight) = emit(with_dead)(key, *args), emit(without_dead_code(with_dead))(key, *args)
    assert len(without_dead_code(with_dead).nodes) < len(with_dead.nodes)
    for one, other in zip(ours, small, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(weight, small_weight)


def _fresh():
    return lawful.form.Var((), jnp.dtype(float))


def test_what_is_random_and_what_weighs():
    form = lawful.trace(PROGRAMS["branch in loop"][0], *PROGRAMS["branch in loop"][1])
    (loop,) = (node for node in form.nodes if isinstance(node, Loop))
    assert is_random(loop) and has_weight(form)
    assert not has_weight(lawful.trace(lambda: sample("x", NORMAL)))


def test_dependents_and_random_values_follow_the_operations():
    def model(a):
        x = sample("x", dist.Normal(a, 1.0))
        return a + 1, 2 * x

    form = lawful.trace(model, 0.0)
    shifted, doubled = form.outputs
    assert {shifted, doubled} <= dependents(form, form.inputs)
    assert doubled in random_values(form) and shifted not in random_values(form)
    assert shifted in random_values(form, form.inputs)


def test_dependence_looks_through_operations_but_not_through_sites():
    def model():
        x = sample("x", NORMAL)
        y = sample("y", dist.Normal(jnp.exp(x) + 1, 1.0))
        sample("z", dist.Normal(y, 1.0))
        sample("w", NORMAL)

    assert edges(model) == {("x", "y"), ("y", "z")}


def test_an_observed_value_hands_on_what_it_was_computed_from():
    def model():
        x, y = sample("x", NORMAL), sample("y", NORMAL)
        seen = sample("seen", dist.Normal(x, 1.0), obs=2 * y)
        factor("f", seen)

    assert edges(model) == {("x", "seen"), ("y", "seen"), ("y", "f")}


def test_a_loop_has_one_vertex_per_site_and_marks_what_is_carried():
    def model():
        m = sample("m", NORMAL)

        def step(x, _):
            x = sample("x", dist.Normal(x, 1.0))
            sample("y", dist.Normal(x, 1.0), obs=0.0)
            return x, x

        last, xs = scan(step, m, length=3)
        sample("after", dist.Normal(last, 1.0))
        sample("sum", dist.Normal(xs.sum(), 1.0))

    found = dependence(lawful.trace(model)).edges
    carried = names(pair for pair, later in found.items() if later)
    assert carried == {("x", "x")}
    assert names(found) - carried == {("m", "x"), ("x", "y"), ("m", "after"), ("x", "after"), ("x", "sum")}


def test_a_value_carried_through_two_steps_is_found():
    def model():
        def step(c, _):
            a, b, d = c
            sample("y", dist.Normal(d, 1.0))
            return (sample("x", NORMAL), a, b), None

        scan(step, (0.0, 0.0, 0.0), length=5)

    assert dependence(lawful.trace(model)).edges == {(("x",), ("y",)): True}


def test_what_decides_a_branch_reaches_its_sites_and_its_value():
    def model():
        b, x = sample("b", dist.Bernoulli(0.5)), sample("x", NORMAL)
        z = cond(b == 1, lambda x: sample("z", NORMAL), lambda x: x, x)
        sample("y", dist.Normal(z, 1.0))

    assert edges(model) == {("b", "z"), ("b", "y"), ("x", "y"), ("z", "y")}


def test_named_values_are_vertices_where_asked_for():
    def model():
        x = sample("x", NORMAL)
        sample("y", dist.Normal(deterministic("d", 2 * x), 1.0))

    form = lawful.trace(model)
    assert names(dependence(form).edges) == {("x", "y")}
    assert names(dependence(form, named=True).edges) == {("x", "d"), ("d", "y")}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["straight", "plates", "scopes", "moving support"])
def test_no_path_means_no_influence(name):
    """Moving one site changes the score of its children alone."""
    program, args = PROGRAMS[name]
    graph = dependence(lawful.trace(program, *args))
    first = handlers.trace(handlers.seed(program, jax.random.key(0)))(*args)
    second = handlers.trace(handlers.seed(program, jax.random.key(1)))(*args)
    for address in first.choices:
        moved = handlers.trace(handlers.replay(program, first.choices | {address: second.choices[address]}))(*args)
        changed = {a for a in first.log_probs if moved.log_probs[a] != first.log_probs[a]}
        children = {head for tail, head in graph.edges if tail == address}
        assert changed <= children | {address}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_draw_lies_in_the_support_that_is_found(name):
    family = FAMILIES[name]
    form = lawful.trace(lambda: sample("x", family.make()))
    (support,) = supports(form).values()
    drawn = handlers.seed(form, jax.random.key(0))()
    assert bool(support(jnp.asarray(drawn))) and bool(support(jnp.asarray(family.inside)))
    assert not any(bool(support(jnp.asarray(value))) for value in family.outside)
    assert support.is_discrete == family.discrete


def test_a_support_with_bounds_from_elsewhere_is_dependent():
    found = supports(lawful.trace(*[PROGRAMS["moving support"][0], *PROGRAMS["moving support"][1]]))
    assert found[("high",)] is constraints.positive
    assert type(found[("x",)]) is type(constraints.dependent)
    assert (found[("x",)].is_discrete, found[("x",)].event_dim) == (False, 0)
    assert found[("p",)] is constraints.simplex
    assert set(found) == {("high",), ("x",), ("p",)}


def test_supports_are_found_in_loops_arms_and_lanes():
    def model():
        scan(lambda c, _: (c, sample("a", dist.Exponential(1.0))), 0.0, length=2)
        cond(sample("b", dist.Bernoulli(0.5)) == 1, lambda: sample("c", dist.Beta(1.0, 1.0)), lambda: 0.5)
        jax.vmap(lambda _: sample("d", dist.Gamma(1.0, 1.0)))(jnp.zeros(3))

    found = supports(lawful.trace(model))
    wanted = {
        "a": constraints.positive,
        "b": constraints.boolean,
        "c": constraints.unit_interval,
        "d": constraints.positive,
    }
    assert found == {(name,): value for name, value in wanted.items()}


def test_the_axes_of_a_choice_have_the_names_of_its_loops_and_plates():
    def model():
        with plate("row", 2, dim=-2), plate("column", 3):
            sample("x", dist.Dirichlet(jnp.ones(4)))
        scan(lambda c, _: (c, sample("z", dist.Normal(jnp.zeros(2), 1.0))), 0.0, length=5)
        with plate("lane", 2):
            jax.vmap(lambda _: sample("v", NORMAL))(jnp.zeros(3))

    assert dims_of(choices_of(lawful.trace(model))) == {
        "x": ("row", "column", "x_dim_2"),
        "z": ("time", "z_dim_0"),
        "v": ("v_dim_0", "lane"),
    }
