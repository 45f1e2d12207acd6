"""Arguments by name: those that nothing reads, those that are no numbers, and where they hold NaN."""

from __future__ import annotations

import re

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, NoFiniteStartError, NonFiniteError, ObservationError
from lawful.form.operations.device import device_array
from lawful.inference import kernels
from lawful.inspection.lint.unread_inputs import input_names, unread_arguments

X, Y, HOLED = np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5]), np.array([1.0, np.nan, 3.0])
WALK = kernels.random_walk(0.5)


def line(x, y):
    b = lawful.sample("b", dist.Normal(0.0, 1.0))
    with lawful.plate("i", len(x)):
        lawful.sample("y", dist.Normal(b * x, 1.0), obs=y)


def forgotten(x, y):
    b = lawful.sample("b", dist.Normal(0.0, 1.0))
    with lawful.plate("i", len(y)):
        lawful.sample("y", dist.Normal(b * x, 1.0))


def sized(x, y):
    b = lawful.sample("b", dist.Normal(0.0, 1.0))
    with lawful.plate("i", len(x)):
        lawful.sample("z", dist.Normal(b, 1.0), obs=y)


def chain(y):
    def step(x, obs):
        x = lawful.sample("x", dist.Normal(x, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0))
        return x, None

    lawful.scan(step, 0.0, y)


def named(program, *args):
    found = unread_arguments(lawful.trace(program, *args), program, args)
    return [(re.search(r"the argument ([\w.]+)", one.found)[1], one.site or None) for one in found]


def test_data_that_no_site_observes_and_no_value_reads_are_found():
    assert named(line, X, Y) == []
    assert named(forgotten, X, Y) == [("y", ("y",))]
    assert named(sized, X, Y) == [("x", None)]  # of which the length alone is read
    assert named(chain, Y) == [("y", ("y",))]
    assert named(lambda data: line(data["x"], data["y"]), {"x": X, "y": Y, "rest": Y}) == [("data.rest", None)]
    assert named(lambda n, y: lawful.factor("f", jnp.sum(y)), 3, Y) == []


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "build",
    [
        lambda program: inference.mcmc(program, WALK, warmup=1, draws=200),
        lambda program: inference.importance(program, particles=400, runs=4),
        lambda program: inference.mcmc(
            lambda x, y: (program(x, y), lawful.sample("k", dist.Bernoulli(0.5)))[0], WALK, draws=5, enumerate=["k"]
        ),
        pytest.param(
            lambda program: inference.parallel_tempering(program, WALK, powers=(0.5, 1.0), warmup=1, draws=5),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["mcmc", "importance", "summed", "tempered"],
)  # fmt: skip
def test_a_forgotten_observation_makes_a_result_that_is_not_ok(build):
    result = build(forgotten)(0, X, Y)
    (found,) = [reason for reason in result.reasons if reason.code == "UNOBSERVED"]
    assert not result.ok and found.sites == ("y",) and "Fix: give the site obs=y" in found.message
    codes = [reason.code for reason in build(sized)(0, X, Y).reasons]
    assert codes.count("UNREAD_ARGUMENT") == 1 and "UNOBSERVED" not in codes
    assert not {"UNREAD_ARGUMENT", "UNOBSERVED"} & {reason.code for reason in build(line)(0, X, Y).reasons}


@pytest.mark.slow
def test_the_check_finds_it_before_any_run():
    (found,) = lawful.check_program(forgotten, X, Y)
    assert (found.code, found.level, found.site) == ("unread-argument", "error", ("y",))
    (found,) = lawful.check_program(sized, X, Y)
    assert (found.code, found.level, found.site) == ("unread-argument", "warning", ())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (np.array(["a", "b", "c"]), r"argument x is a numpy.ndarray of <U1: expected numbers.*np.unique"),
        (np.array([1.0, None, 2.0], object), "argument x is a numpy.ndarray of object: expected numbers"),
        (np.array(["2026-01-01"] * 3, "datetime64[D]"), "argument x is a numpy.ndarray of datetime64"),
        (["a", "b", "c"], "the argument x is a list that holds 'a'"),
        ([1.0, None, 2.0], "the argument x is a list that holds None"),
    ],
)
def test_text_and_none_in_data_are_told_by_the_argument(wrong, told):
    for x, y, name in ((wrong, Y, "x"), (X, wrong, "y")):
        told = (
            told.replace("argument x", f"argument {name}") + "|site 'y'.*: got data of type <U1|obs: expected numbers"
        )
        with pytest.raises(LawfulError, match=told):
            inference.importance(line, particles=2)(0, x, y)


def test_an_observation_inside_the_program_that_is_no_array_is_told():
    def model(x):
        lawful.sample("y", dist.Normal(x[0], 1.0).expand([2]).to_event(1), obs=[x[0], None])

    with pytest.raises(ObservationError, match="obs: expected numbers, got a list that holds something else"):
        lawful.trace(model, X)


@pytest.mark.parametrize(
    ("plan", "error"),
    [
        (inference.mcmc(line, WALK), NoFiniteStartError),
        (inference.importance(line, particles=2), NonFiniteError),
        (inference.importance(line, particles=2, mode="eager"), NonFiniteError),
    ],
    ids=["mcmc", "importance", "eager"],
)
def test_nan_in_a_covariate_is_told_by_the_argument(plan, error):
    with pytest.raises(error, match=r"argument x holds NaN"):
        plan(0, HOLED, Y)
    with pytest.raises(ObservationError, match="site 'y'.*NaN at index"):
        plan(0, X, HOLED)


def test_names_are_those_of_the_program_with_the_path_inside():
    args = ({"a": X, "n": 2}, [1.0, Y])
    assert input_names(lambda data, pair: None, args) == ["data.a", "pair.0", "pair.1"]
    assert input_names(lambda *all: None, (X, 3, Y)) == ["argument_0", "argument_2"]


def test_what_is_written_to_an_array_later_changes_nothing_on_the_device():
    """JAX takes over the memory of an array where it is aligned, as some of forty are."""
    arrays = [np.ones(size) for size in range(1, 41)]
    placed = [device_array(array) for array in arrays]
    for array in arrays:
        array[:] = 2.0
    assert all((np.asarray(array) == 1.0).all() for array in placed)
