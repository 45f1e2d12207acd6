"""NumPyro models that compute Python numbers from their data: traced for these data, and refused for others."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form.choices import choices_of

GROUP, Y = np.array([0, 2, 1, 2]), np.array([0.5, -1.0, 0.25, 2.0])


def groups(group, y):
    effects = numpyro.sample("effect", dist.Normal(0.0, 1.0).expand([int(np.max(group)) + 1]).to_event(1))
    if (y > 1.5).any():
        numpyro.factor("high", -0.5)
    with numpyro.plate("i", len(np.unique(group)) + 1):
        numpyro.sample("y", dist.Normal(effects[group], 1.0), obs=y)


def by_hand(effect, group, y):
    prior = dist.Normal(0.0, 1.0).log_prob(effect).sum()
    return float(prior + dist.Normal(effect[group], 1.0).log_prob(y).sum()) - 0.5 * (y > 1.5).any()


PROGRAM, EFFECT = lawful.from_numpyro(groups), np.array([0.1, -0.2, 0.3])


@pytest.mark.parametrize(
    "program",
    [
        PROGRAM,
        lawful.handlers.scale(PROGRAM, 1.0),
        functools.partial(PROGRAM, y=Y),
        lawful.from_numpyro(numpyro.handlers.seed(groups, 0)),
    ],
    ids=["alone", "in a handler", "with some arguments", "in a handler of NumPyro's"],
)
def test_static_arithmetic_on_data_has_numpyros_density(program):
    args = (GROUP,) if isinstance(program, functools.partial) else (GROUP, Y)
    form = lawful.trace(program, *args)
    assert float(form.log_density({"effect": EFFECT}, *args)) == pytest.approx(by_hand(EFFECT, GROUP, Y), rel=1e-12)
    assert lawful.trace(program, *(arg.copy() for arg in args)) is form


def test_other_data_are_traced_anew_and_refused_by_the_form_of_the_first():
    low, more = np.minimum(Y, 1.0), np.array([0, 3, 1, 2])
    first, other = lawful.trace(PROGRAM, GROUP, Y), lawful.trace(PROGRAM, GROUP, low)
    assert first is not other
    assert float(other.log_density({"effect": EFFECT}, GROUP, low)) == pytest.approx(by_hand(EFFECT, GROUP, low))
    for form_call in (
        lambda: first.log_density({"effect": EFFECT}, GROUP, low),
        lambda: lawful.handlers.seed(first, jax.random.key(0))(GROUP, low),
        lambda: inference.importance(first, particles=2)(0, more, Y),
        lambda: inference.importance(PROGRAM, particles=2).sampler(GROUP, Y)(jax.random.key(0), GROUP, low),
        lambda: jax.jit(lambda y: first.log_density({"effect": EFFECT}, GROUP, y))(Y),
    ):
        with pytest.raises(UnsupportedProgramError, match="holds the data that it was traced with"):
            form_call()


def test_a_transformed_program_is_traced_for_its_data_too():
    def hierarchy(group):
        with numpyro.plate("group", int(np.max(group)) + 1):
            numpyro.sample("effect", dist.Normal(numpyro.sample("mean", dist.Normal(0.0, 1.0)), 2.0))

    program = inference.noncentred(["effect"])(lawful.from_numpyro(hierarchy))
    first, more = lawful.trace(program, GROUP), lawful.trace(program, GROUP + 1)
    assert [c.name for c in choices_of(first)] == [c.name for c in choices_of(more)]
    assert lawful.trace(program, GROUP.copy()) is first is not more
    with pytest.raises(UnsupportedProgramError, match="holds the data that it was traced with"):
        inference.importance(first, particles=2)(0, GROUP + 1)


def test_results_know_the_data_that_are_constants():
    result = inference.importance(PROGRAM, particles=3)(0, GROUP, y=Y)
    np.testing.assert_array_equal(result.groups["observed_data"]["y"], Y)
    np.testing.assert_array_equal(inference.predictive(result, PROGRAM, GROUP, Y, key=1)["y"].shape, (1, 3, 4))


def test_programs_that_need_no_numbers_share_one_form_for_all_data():
    def plain(y):
        numpyro.sample("y", dist.Normal(numpyro.sample("x", dist.Normal(0.0, 1.0)), 1.0).expand([4]), obs=y)

    program = lawful.from_numpyro(plain)
    assert lawful.trace(program, Y) is lawful.trace(program, 2 * Y)


def test_what_depends_on_a_draw_or_on_data_without_values_is_still_refused():
    def branches(y):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(1.0 if x > 0 else -1.0, 1.0).expand([4]).to_event(1), obs=y)

    for program, args in ((lawful.from_numpyro(branches), (Y,)), (PROGRAM, (jax.ShapeDtypeStruct((4,), int), Y))):
        with pytest.raises(UnsupportedProgramError, match="traced value as a Python value"):
            lawful.trace(program, *args)

    def native(y):
        lawful.sample("x", dist.Normal(0.0, 1.0).expand([int(np.max(y)) + 1]).to_event(1))

    with pytest.raises(LawfulError, match="traced value as a Python value"):
        lawful.trace(native, jnp.arange(3))
