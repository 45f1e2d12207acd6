"""What a rule brings to sites and takes out of them, through loops in arms in loops."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.backends.xla import emit
from lawful.form import Var
from lawful.form.choices import kind_of
from lawful.passes.record import record
from lawful.passes.thread_sites import Rule, score, threaded

UNIT = dist.Normal(0.0, 1.0)
GOES = np.array([1, 0, 1])


def nested(goes):
    """Three steps; each has two inner steps of u and w in one arm, or v and w in the other."""

    def step(total, goes):
        def twice():
            inner = lawful.scan(lambda c, _: (c + lawful.sample("u", UNIT), None), total, None, length=2)[0]
            return inner + lawful.sample("w", UNIT)

        def once():
            lawful.factor("f", total)
            return total - lawful.sample("v", UNIT) + lawful.sample("w", dist.Normal(1.0, 1.0))

        total = lawful.cond(goes == 1, twice, once)
        return total, total

    return lawful.scan(step, 0.0, goes)[1]


@dataclass(frozen=True)
class Scaled(Rule):
    """A choice is a given number times one that all share."""

    shared: tuple[Var, ...]

    def inputs(self, place):
        return [Var(place.shape, place.dtype)]

    outputs = inputs

    def node(self, walk, node):
        if kind_of(node) != "sample":
            walk.block.nodes.append(node)
            return
        value = walk.block.det(jnp.multiply, *walk.given[node.address], *walk.shared, label="scaled")
        walk.names[node.out], walk.taken[node.address] = value, (value,)


@pytest.fixture
def given():
    shapes = {"u": (3, 2), "w": (3,), "v": (3,)}
    return {name: np.arange(1.0, 1 + np.prod(s)).reshape(s) for name, s in shapes.items()}


def run(found, *inputs):
    return found.split(map(np.asarray, emit(found.form)(jax.random.key(0), *map(jnp.asarray, inputs))[0]))


def test_every_site_gets_its_number_and_the_shared_one_and_gives_its_value_where_its_arm_runs(given):
    found = threaded(lawful.trace(nested, GOES), Scaled((Var((), jnp.dtype(float)),)))
    names = [c.name for c in found.choices]
    parts = run(found, GOES, 10.0, *(given[name] for name in names))
    steps, total = [], 0.0
    for k, goes in enumerate(GOES):
        u, v, w = (10 * given[name][k] for name in "uvw")
        total = total + u.sum() + w if goes else total - v + w
        steps.append(total)
    np.testing.assert_array_equal(parts.own[0], steps)
    went = {"u": GOES[:, None] == [1, 1], "w": np.array([True, True, True]), "v": GOES == 0}
    for name, value, flag in zip(names, parts.values, parts.flags, strict=True):
        np.testing.assert_array_equal(flag, went[name])
        np.testing.assert_array_equal(value, np.where(went[name], 10 * given[name], 0.0))


def test_sums_are_over_the_steps_and_the_arms_that_run(given):
    found = score(lawful.trace(nested, GOES))
    parts = run(found, GOES, *(given[c.name] for c in found.choices))
    means = {"u": 0.0, "v": 0.0, "w": np.where(GOES, 0.0, 1.0)}
    scores = {name: UNIT.log_prob(given[name] - means[name]) for name in means}
    prior = scores["u"][GOES == 1].sum() + scores["v"][GOES == 0].sum() + scores["w"].sum()
    np.testing.assert_allclose(parts.sums, [prior, parts.own[0][0]], rtol=1e-12)


def test_what_a_rule_leaves_alone_stays_the_same_node():
    form = lawful.trace(nested, GOES)
    assert [*map(id, record(form).form.sites())] == [*map(id, form.sites())]


def test_a_site_that_is_chosen_in_one_arm_and_observed_in_the_other_is_a_choice_of_the_first():
    def model(k):
        return lawful.cond(k == 1, lambda: lawful.sample("x", UNIT), lambda: lawful.sample("x", UNIT, obs=2.0))

    found = record(lawful.trace(model, np.array(1)))
    chosen, observed = run(found, 1), run(found, 0)
    assert (chosen.values[0], chosen.flags[0]) == (chosen.own[0], True)
    assert (observed.own[0], observed.values[0], observed.flags[0]) == (2.0, 0.0, False)
