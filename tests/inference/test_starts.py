"""Starts by name: what is given is kept, everything else is drawn given it, and names without a site are told."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, NoFiniteStartError
from lawful.inference import kernels

Y = np.array([1.0, 2.0, 3.0])
MOVES = kernels.mh()


def nested(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    with lawful.scope("group"):
        b = lawful.sample("b", dist.Uniform(mu - 0.5, mu + 0.5))
    with lawful.plate("i", 3):
        lawful.sample("y", dist.Normal(b, 1.0), obs=y)


def chain(y):
    def step(x, obs):
        x = lawful.sample("x", dist.Normal(x, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=obs)
        return x, x

    scale = lawful.sample("scale", dist.HalfNormal(1.0))
    lawful.scan(step, 100.0 * scale, y)


def started(model, init, kernel=MOVES):
    plan = inference.mcmc(model, kernel, chains=3, warmup=0, draws=1, init=init)
    return plan.prepare((Y,)), plan


def first_values(model, init, kernel):
    prepared, plan = started(model, init, kernel)
    state, _ = prepared.built._state(jax.random.key(5), prepared.inputs)
    return dict(zip((c.name for c in prepared.built.kernel.choices), map(np.asarray, state), strict=False))


@pytest.mark.rest_slow
@pytest.mark.parametrize("kernel", [MOVES, kernels.nuts(), kernels.random_walk(0.1)], ids=repr)
def test_a_site_that_is_not_given_is_drawn_given_those_that_are(kernel):
    found = first_values(nested, {"mu": np.array([-70.0, 0.0, 70.0])}, kernel)
    assert found["mu"].tolist() == [-70.0, 0.0, 70.0]
    assert (abs(found["group.b"] - found["mu"]) <= 0.5).all() and len(set(found["group.b"] - found["mu"])) == 3


@pytest.mark.parametrize("name", ["group.b", ("group", "b")])
def test_a_site_is_given_by_its_name_in_results_or_by_its_address(name):
    found = first_values(nested, {"mu": 3.0, name: 3.25}, MOVES)
    assert found["mu"].tolist() == [3.0] * 3 and found["group.b"].tolist() == [3.25] * 3


def test_what_is_drawn_around_given_values_is_drawn_until_the_density_is_finite():
    found = first_values(nested, {name: 0.0 for name in ["group.b"]}, MOVES)
    assert (abs(found["mu"]) <= 0.5).all() and len(set(found["mu"].tolist())) == 3


def test_steps_of_a_loop_are_drawn_around_a_given_site_and_given_as_a_whole_or_one_by_one():
    found = first_values(chain, {"scale": 1.0}, MOVES)
    assert (found["x"].shape, (found["x"] > 80.0).all()) == ((3, 3), True)
    whole = first_values(chain, {"x": jnp.array([1.0, 2.0, 3.0])}, MOVES)
    cells = first_values(chain, {("x", i): i + 1.0 for i in range(3)}, MOVES)
    assert whole["x"].tolist() == cells["x"].tolist() == [[1.0, 2.0, 3.0]] * 3
    np.testing.assert_array_equal(whole["scale"], cells["scale"])


def test_an_empty_start_is_the_default_one():
    assert len(set(first_values(nested, {}, MOVES)["mu"].tolist())) == 3


@pytest.mark.parametrize("init", [{"mv": 1.0}, {"mu": 1.0, "mv": 0.0}, {"mu": 0.0, "group.b": 0.0, "mv": 0.0}])
def test_a_name_that_no_site_has_is_told_with_those_that_there_are(init):
    with pytest.raises(LawfulError, match="has the name mv; those that can are: mu, group.b"):
        started(nested, init)
    with pytest.raises(LawfulError, match="made the choice mv; they made: mu, group.b"):
        inference.mcmc(nested, chains=1, warmup=0, draws=1, init={"mv": 1.0}, mode="eager")(0, Y)


def test_a_start_that_is_no_mapping_is_refused_when_the_plan_is_built():
    with pytest.raises(LawfulError, match="init: expected values by site name"):
        inference.mcmc(nested, init=[1.0])


def test_a_start_in_plain_python_has_all_that_is_given():
    def model():
        k = lawful.sample("k", dist.Bernoulli(0.5))
        lawful.sample("a" if k else "b", dist.Normal(0.0, 1.0))

    plan = inference.mcmc(model, chains=6, warmup=0, draws=1, init={"a": 40.0}, mode="eager")
    traces = [run for runs in plan(0).traces for run in runs]
    assert any(np.isclose(run.choices[("a",)], 40.0) for run in traces if ("a",) in run.choices)


def test_an_impossible_given_value_is_told_after_the_tries():
    with pytest.raises(NoFiniteStartError, match="in the given start"):
        inference.mcmc(nested, init={"group.b": np.inf})(0, Y)


@pytest.mark.slow
def test_parameters_of_a_filter_are_given_in_part():
    def model(y):
        sd = lawful.sample("sd", dist.HalfNormal(1.0))
        rho = lawful.sample("rho", dist.Uniform(0.0, 1.0))

        def step(x, obs):
            x = lawful.sample("x", dist.Normal(rho * x, 1.0))
            lawful.sample("y", dist.Normal(x, sd), obs=obs)
            return x, None

        lawful.scan(step, 0.0, y)

    walk = kernels.random_walk(1e-9)
    plan = inference.pmmh(model, walk, ["sd", "rho"], particles=8, chains=2, warmup=0, draws=1, init={"sd": 0.75})
    prepared = plan.prepare((Y,))
    state, _ = prepared.built._state(jax.random.key(0), prepared.inputs)
    assert state[0].tolist() == [0.75, 0.75] and len(set(state[1].tolist())) == 2
    for sites, can in (["sd", "rho"], "sd, rho"), (["sd"], "sd"), ((), "none"):
        with pytest.raises(LawfulError, match=f"name x; those that can are: {can}. Fix"):
            inference.pmmh(model, walk if sites else None, sites, particles=8, chains=2, init={"x": 0.75})(0, Y)


@pytest.mark.slow
def test_the_first_call_compiles_two_programs_and_a_few_small_ones():
    """The search of starts and the chains; what a kernel knows beforehand is not compiled, whatever its shape."""
    compiled = []

    def listen(event, seconds, **what):
        if event.endswith("backend_compile_duration"):
            compiled.append(what.get("fun_name"))

    def model():
        with lawful.plate("i", 7):
            lawful.sample("x", dist.Normal(0.0, 1.0))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        inference.mcmc(model, kernels.nuts(), chains=3, warmup=11, draws=9)(jax.random.key(0))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(compiled) <= 6, compiled


def test_plans_from_other_starts_share_what_is_compiled():
    plan = inference.mcmc(lambda: lawful.sample("x", dist.Normal(0.0, 1.0)), kernels.mh(), warmup=0, draws=1, chains=2)
    built = plan.prepare(()).built
    for value in (0.5, -1.5):
        given = plan.starting({"x": value})
        assert given(0).run["starts"] == ["given", "given"]
        assert given.prepare(()).built is built and plan.method.init is None
