"""Row 47: data for a name that is no site, and sites without their data, are errors that list close names."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, handlers, inference, plate, sample, scan, scope
from lawful.errors import LawfulError, ObservationError

KEY = jax.random.key(47)


def model():
    mu = sample("mean", dist.Normal(0.0, 1.0))
    with scope("group"):
        sample("height", dist.Normal(mu, 1.0))
    with plate("row", 3):
        sample("weight", dist.Normal(mu, 1.0))


def run_eagerly(program):
    return handlers.trace(handlers.seed(program, KEY))()


WAYS = pytest.mark.parametrize(
    "run",
    [run_eagerly, lawful.trace, lambda p: inference.importance(p, particles=4)(KEY), lambda p: inference.mcmc(p)(KEY)],
    ids=["eager", "trace", "importance", "mcmc"],
)
HANDLERS = pytest.mark.parametrize("handler", [handlers.condition, handlers.do], ids=["condition", "do"])


@pytest.mark.fault(47)
@WAYS
@HANDLERS
def test_f47_a_misspelt_name_is_refused_with_those_that_look_alike(run, handler):
    with pytest.raises(LawfulError, match=r"no site is called 'wieght'\. Did you mean 'weight'.*\? There are: "):
        run(handler(model, {"wieght": np.zeros(3)}))


@HANDLERS
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "temperature",
            r"no site is called 'temperature'\. (Did you mean .*)?There are: group\.height, mean, weight\.",
        ),
        ("height", r"no site is called 'height'\. Did you mean 'group\.height'"),
        (("group", "weight"), r"no site is called 'group\.weight'\."),
        ("row", "no site is called 'row'"),
    ],
)
def test_f47_a_name_that_is_no_site_is_refused(handler, name, message):
    with pytest.raises(LawfulError, match=message):
        run_eagerly(handler(model, {name: 0.0}))


def test_f47_a_program_without_sites_says_so():
    with pytest.raises(LawfulError, match="The program has no sites"):
        handlers.condition(lambda: None, {"x": 0.0})()


def branching():
    b = sample("b", dist.Bernoulli(0.5))
    return cond(b == 1, lambda: sample("one", dist.Normal(0.0, 1.0)), lambda: sample("zero", dist.Normal(0.0, 1.0)))


def test_f47_a_site_of_an_arm_that_did_not_run_is_a_site():
    program = handlers.condition(branching, {"one": 1.0, "zero": 2.0})
    assert run_eagerly(program).value in (1.0, 2.0)
    assert len(list(lawful.trace(program).sites())) == 3
    with pytest.raises(LawfulError, match=r"'on'\. Did you mean 'one'"):
        run_eagerly(handlers.condition(branching, {"on": 1.0}))


def test_f47_a_program_that_only_runs_eagerly_may_reach_a_site_or_not():
    def unbounded():
        n = 0
        while sample(f"go{n}", dist.Bernoulli(0.5)) == 1:
            n += 1
        return n

    assert run_eagerly(handlers.condition(unbounded, {"go0": 0, "go7": 1})).value == 0


@pytest.mark.parametrize("give", [lambda: {"mean": None}, lambda: {"weight": None, "mean": 1.0}])
def test_f47_an_observation_that_is_none_is_missing(give):
    with pytest.raises(ObservationError, match=r"the observation is None\. Fix: give a value, or leave the site out"):
        run_eagerly(handlers.condition(model, give()))


def walk():
    return scan(lambda x, _: (sample("x", dist.Normal(x, 1.0)),) * 2, 0.0, length=3)[1]


@WAYS
@pytest.mark.parametrize("steps", [2, 4])
def test_f47_data_for_other_steps_than_those_of_the_loop_are_refused(run, steps):
    with pytest.raises(
        ObservationError, match=rf"site 'x': got values of shape \({steps},\), expected the steps \(3,\)"
    ):
        run(handlers.condition(walk, {"x": np.zeros(steps)}))


def test_f47_a_single_step_may_be_observed():
    run = run_eagerly(handlers.condition(walk, {("x", 1): 5.0}))
    assert list(run.observations) == [("x", 1)]


def test_f47_a_choice_without_its_value_is_named():
    with pytest.raises(LawfulError, match=r"site 'mean' .*has no value: wrap the program in handlers\.seed"):
        handlers.trace(handlers.substitute(model, {"weight": np.zeros(3)}))()
    with pytest.raises(LawfulError, match="'mean'"):
        lawful.trace(model).log_density({"weight": jnp.zeros(3)})
