"""Arguments by position or by name: one tuple, one Form, one compiled program; what does not fit is told."""

from __future__ import annotations

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.form.arguments.calls import call, named_arguments, positional
from lawful.form.arguments.random_keys import one_key
from lawful.inference import graphs, kernels
from lawful.models import gaussian_moe, populations, trajectories

X, Y = jnp.array([0.5, 1.0, 1.5]), jnp.array([0.1, 0.2, 0.4])


def line(x, n=2, *, y=None, scale=1.0):
    """A finite program, so that every method runs on it; its data stand after a `*`."""
    k = lawful.sample("k", dist.Categorical(jnp.ones(n) / n))
    with lawful.plate("i", len(x)):
        lawful.sample("y", dist.Normal(x * k, scale), obs=y)


def slope(x, y):
    b = lawful.sample("b", dist.Normal(0.0, 1.0))
    with lawful.plate("i", len(x)):
        lawful.sample("y", dist.Normal(b * x, 1.0), obs=y)


def walk(y, rho=0.5):
    def step(x, obs):
        x = lawful.sample("x", dist.Normal(rho * x, 1.0))
        lawful.sample("y", dist.Normal(x, sd), obs=obs)
        return x, None

    sd = lawful.sample("sd", dist.HalfNormal(1.0))
    lawful.scan(step, 0.0, y)


RW = kernels.random_walk(0.5)
PLANS = {
    "importance": inference.importance(slope, particles=8),
    "smc": inference.smc(slope, particles=8),
    "mcmc": inference.mcmc(slope, RW, warmup=1, draws=2),
    "parallel_tempering": inference.parallel_tempering(slope, RW, powers=(0.5, 1.0), warmup=1, draws=2),
    "eager mcmc": inference.mcmc(slope, chains=1, warmup=0, draws=2, mode="eager"),
    "eager importance": inference.importance(slope, particles=3, mode="eager"),
    "enumerate=": inference.mcmc(
        lambda x, y: (slope(x, y), lawful.sample("z", dist.Bernoulli(0.5))), RW, warmup=1, draws=2, enumerate=["z"]
    ),
    "guided": inference.smc(slope, particles=8, proposal=lambda x, y: lawful.sample("b", dist.Normal(0.0, 2.0))),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PLANS)
def test_a_call_by_name_is_the_call_by_position(name):
    plan = PLANS[name]
    by_place, by_name = plan(3, X, Y), plan(3, y=Y, x=X)
    for site, draws in by_place.posterior.items():
        np.testing.assert_array_equal(draws, by_name.posterior[site])
    if hasattr(plan, "prepare"):
        assert len(plan.prepare._built) == 1
        assert plan.form(X, Y) is plan.form(x=X, y=Y) and plan.plan(X, Y) == plan.plan(X, y=Y)


def test_plans_around_the_program_take_its_names():
    """What was built for a call by position is what a call by name finds."""
    for plan in (
        inference.pmmh(walk, RW, ["sd"], particles=4, chains=1, warmup=0, draws=2),
        inference.particle_gibbs(walk, ["x"], RW, particles=4, chains=1, warmup=0, draws=2),
        inference.smc2(walk, RW, ["sd"], particles=4, inner=4),
    ):
        by_place, by_name = plan.prepare((Y, 0.25)), plan.prepare((), named={"rho": 0.25, "y": Y})
        assert by_place.built is by_name.built and by_place.args == by_name.args


def test_exact_answers_predictions_and_forms_take_names():
    exact, beliefs = inference.enumerate(line), inference.bp(line)
    assert (
        exact(X, y=Y, n=3).log_evidence == exact(X, 3, Y).log_evidence == exact(y=Y, x=X, n=3, scale=1.0).log_evidence
    )
    assert beliefs(3, X, y=Y).log_evidence == beliefs(3, X, 2, Y).log_evidence == beliefs.beliefs(X, y=Y).log_evidence
    assert lawful.trace(line, X, y=Y) is lawful.trace(line, X, 2, Y)
    assert lawful.density(slope, y=Y, x=X).form is lawful.trace(slope, X, Y)
    assert lawful.check_program(line, X, y=Y) == lawful.check_program(line, X, 2, Y)
    plan = inference.importance(line, particles=9)
    result = plan(1, X, y=Y)
    again = inference.predictive(result, line, X, n=2, y=Y, key=5)
    np.testing.assert_array_equal(again["y"], result.predict(line, X, 2, Y, key=5)["y"])
    assert again.kind == "posterior"


def test_a_run_is_resumed_with_arguments_by_name(tmp_path):
    stop = inference.RunOptions(chunk=2, checkpoint=tmp_path, callbacks=lambda progress: progress.step == 2)
    inference.mcmc(slope, RW, warmup=0, draws=4, run=stop)(0, X, y=Y)
    resumed = inference.resume(tmp_path, slope, y=Y, x=X)
    assert resumed.posterior["b"].shape == (4, 4)


def test_wrapped_programs_keep_the_names():
    def numpyro_model(x, *, y=None):
        b = numpyro.sample("b", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(b * x, 1.0).to_event(1), obs=y)

    adapted = lawful.from_numpyro(numpyro_model)
    for program in (adapted, lawful.handlers.scope(adapted, "s"), lawful.handlers.condition(adapted, {"b": 1.0})):
        assert lawful.trace(program, y=Y, x=X) is lawful.trace(program, X, Y)
    fixed = functools.partial(line, n=3)
    assert lawful.trace(fixed, X, y=Y) is lawful.trace(fixed, X, 3, Y)


@pytest.mark.parametrize(
    ("args", "named", "told"),
    [
        ((X,), {}, r"takes \(x, y\): the argument y is missing"),
        ((), {"x": X}, "the argument y is missing"),
        ((X,), {"Y": Y}, "no argument has the name Y; the argument y is missing"),
        ((X, Y), {"y": Y}, "the argument y is given by position and by name"),
        ((X, Y, Y), {}, "3 arguments are given by position"),
        ((X, Y), {"data": Y}, r"the program slope takes \(x, y\): no argument has the name data.*Fix: "),
    ],
)
@pytest.mark.parametrize("mode", ["staged", "eager"])
def test_what_does_not_fit_is_told_with_what_the_program_takes(args, named, told, mode):
    with pytest.raises(LawfulError, match=told):
        inference.importance(slope, particles=3, mode=mode)(0, *args, **named)


def test_programs_without_names_take_arguments_by_position():
    for program in (lawful.trace(slope, X, Y), lambda *args: slope(*args)):
        assert positional(program, (X, Y), {}) == (X, Y)
        with pytest.raises(LawfulError, match="has no names for the arguments y"):
            positional(program, (X,), {"y": Y})
    assert named_arguments(lambda *args: None, (1, 2)) == {"argument_0": 1, "argument_1": 2}
    assert call(lambda x, *rest, y=3: (x, rest, y), (1, 2)) == (1, (2,), 3)
    assert call(lambda x, **options: (x, options), (1,)) == (1, {})
    with pytest.raises(LawfulError, match="no argument has the name y"):
        positional(lambda x, /, **options: None, (), {"x": 1, "y": 2})


@pytest.mark.parametrize(
    "plan", [PLANS["mcmc"], PLANS["smc"], PLANS["eager mcmc"], PLANS["parallel_tempering"]], ids=repr
)
def test_a_forgotten_key_is_told_before_the_program_is_looked_at(plan):
    for first in (X, np.asarray(X), 0.5, None, "x", jax.random.split(jax.random.key(0))):
        with pytest.raises(LawfulError, match=r"key: expected one typed key.*Fix: the key comes first"):
            plan(first, Y)


def test_keys_of_the_old_style_give_the_draws_of_the_new():
    old, new = jax.random.PRNGKey(7), jax.random.key(7)
    plan, prior = PLANS["mcmc"], lambda: lawful.sample("x", dist.Normal(0.0, 1.0))
    for key in (old, np.asarray(old), 7, np.int64(7)):
        assert one_key(key) == new
        np.testing.assert_array_equal(plan(key, X, Y).posterior["b"], plan(new, X, Y).posterior["b"])
        assert lawful.handlers.seed(prior, key)() == lawful.handlers.seed(prior, new)()
    assert plan(old, X, Y).run["seed"] == plan(new, X, Y).run["seed"]
    np.testing.assert_array_equal(plan.sampler(X, Y)(old, X, Y)["b"], plan.sampler(X, Y)(new, X, Y)["b"])
    with pytest.raises(LawfulError, match="got ArrayImpl of uint32 and shape"):
        one_key(jax.random.split(old))


def takers_of_settings():
    """Public functions that take settings under any name, each with what has to be given to it."""
    graph = graphs.FactorGraph()
    graph.variables("z", cardinality=2)
    return {
        "bp": lambda **typo: inference.bp(line, **typo),
        "infer": lambda **typo: graphs.infer(graph, **typo),
        "marginalise": lambda **typo: inference.marginalise(**typo),
        "tree_proposal": lambda **typo: graphs.tree_proposal(line, X, follow=True, **typo),
        "ibis": lambda **typo: inference.ibis(slope, particles=10, **typo),
        "random_program": lambda **typo: inference.check.random_program(0, **typo),
        "compare_experts": lambda **typo: gaussian_moe.compare_experts(X, Y, [1], **typo),
        "lotka_volterra": lambda **typo: lawful.trace(lambda: populations.lotka_volterra(X, **typo)),
        "set_params": lambda **typo: trajectories.TrajectoryMixture().set_params(**typo),
    }


@pytest.mark.parametrize(("name", "typo", "meant"), [
    ("bp", "metod", "method"), ("bp", "dampin", "damping"), ("infer", "width_budge", "width_budget"),
    ("marginalise", "max_itrs", "max_iters"), ("tree_proposal", "schedul", "schedule"),
    ("set_params", "n_clases", "n_classes"),
])  # fmt: skip
def test_a_setting_that_nobody_takes_is_refused_with_the_name_that_is_meant(name, typo, meant):
    with pytest.raises(LawfulError, match=rf"'{typo}'\. Did you mean '{meant}'"):
        takers_of_settings()[name](**{typo: 0})


@pytest.mark.parametrize("name", takers_of_settings())
def test_no_setting_is_swallowed(name):
    with pytest.raises((LawfulError, TypeError), match="no_such_setting"):
        takers_of_settings()[name](no_such_setting=1)


def test_the_table_has_all_public_functions_that_take_settings_under_any_name():
    modules = [lawful, lawful.handlers, inference, inference.check, kernels, graphs, gaussian_moe, populations]
    public = [getattr(module, name) for module in modules for name in module.__all__]
    of_program = {"named"}  # arguments of a program, which `positional` compares with its signature
    found = {
        f.__name__ for f in public if inspect.isfunction(f)
        for p in inspect.signature(f).parameters.values() if p.kind is p.VAR_KEYWORD and p.name not in of_program
    }  # fmt: skip
    assert found <= takers_of_settings().keys()
