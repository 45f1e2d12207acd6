"""Eager enumeration: what it lists, what it leaves out, and how large that is."""

import math
import re

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import ImpureProgramError, PathLimitError, UnsupportedProgramError
from lawful.inference.check import enumerate_measure, random_program
from lawful.inference.eager.exploration import explore
from lawful.models import dynamic
from tests.tiers import rest_slow


@pytest.mark.parametrize("seed", rest_slow(range(12), 4))
def test_it_gives_the_measure_of_the_reference_enumerator(seed):
    finite = random_program(seed, statements=4, max_paths=200)
    print(finite)  # shown where the test fails
    program, args = finite.program, (finite.default_tables(),)
    truth = enumerate_measure(program, *args)
    exact = inference.enumerate(program, mode="eager")(*args)
    mine = math.fsum(np.exp(exact.log_weights).tolist())
    assert mine == pytest.approx(float(truth.total()), rel=1e-12, abs=1e-300)
    some = explore(program, args, 10_000, unexplored=0.3)
    found = math.fsum(math.exp(path.log_mass) for path in some.paths)
    assert found <= mine * (1 + 1e-12)


def test_the_geometric_distribution_and_its_remainder():
    exact = inference.enumerate(dynamic.geometric, unexplored=1e-6)(0.5)
    levels = max(run.value for run in exact.traces) + 1
    assert np.exp(exact.log_evidence) == pytest.approx(1 - 0.5**levels, abs=1e-15)
    assert np.exp(exact.log_unexplored) == pytest.approx(0.5**levels, rel=1e-12)
    marginal = exact.marginal("return")
    assert marginal[0] == pytest.approx(0.5 / (1 - 0.5**levels), rel=1e-12)


def bushy(name="tree"):
    """A recursion of two calls: more beginnings wait than runs have been listed, always."""
    if lawful.sample(f"{name}.leaf", dynamic.coin(0.6)) == 1:
        return int(lawful.sample(f"{name}.value", dist.Categorical(np.full(10, 0.1))))
    return bushy(name + "l") + bushy(name + "r")


@pytest.mark.parametrize(("program", "args"), [(bushy, ()), (dynamic.geometric, (0.5,))], ids=["bushy", "geometric"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.41, 0.3])
def test_it_ends_at_the_first_run_after_which_no_more_is_left_than_asked_for(program, args, share):
    found = explore(program, args, 10_000, unexplored=share)
    left = 1 - np.cumsum([math.exp(path.log_mass) for path in found.paths])  # nothing is observed: the whole is 1
    assert left[-1] == pytest.approx(math.exp(found.log_unexplored), abs=1e-12)
    assert left[-1] <= share * (1 + 1e-12) and (left[:-1] > share).all()


def test_the_budget_is_exceeded_only_where_it_is_used_up_and_the_mass_left_is_named():
    found, refused = explore(bushy, (), 10_000, unexplored=0.42), None
    for budget in range(len(found.paths), 1000):  # runs that are left before their end count too
        try:
            same = explore(bushy, (), budget, unexplored=0.42)
            break
        except PathLimitError as error:
            refused = error
    assert [path.run.choices for path in same.paths] == [path.run.choices for path in found.paths]
    assert refused is not None and f"{budget - 1} runs" in str(refused)
    assert re.search(r"0\.459 of the known mass is unexplored", str(refused))
    assert math.exp(refused.log_unexplored) == pytest.approx(1 - 9 * 0.06 - 0.4 * 0.06**2)


def test_a_budget_that_is_far_too_small_is_refused_after_a_few_runs():
    runs = []

    def chain():
        runs.append(0)
        state = 0
        for step in range(40):
            state = int(lawful.sample(f"x{step}", dynamic.coin(0.3 + 0.4 * state)))

    with pytest.raises(
        PathLimitError, match=r"far more runs would be needed than max_paths=5000; about \d+ would"
    ) as error:
        inference.enumerate(chain, mode="eager", max_paths=5000)()
    assert len(runs) <= 24 and error.value.needed == pytest.approx(2**40, rel=0.01)


def test_a_program_whose_runs_fit_is_listed_though_some_of_its_beginnings_branch_much():
    """100 coins in a row, of which the first head ends the run: 101 runs."""

    def heads():
        return next((k for k in range(100) if lawful.sample(f"x{k}", dynamic.coin(0.5)) == 1), 100)

    assert inference.enumerate(heads, mode="eager", max_paths=101)().paths == 101


def test_the_bounds_hold_the_evidence():
    def costly(level=0):
        if lawful.sample(f"stop{level}", dynamic.coin(0.25)) == 1:
            return level
        lawful.factor(f"cost{level}", math.log(0.5))
        return costly(level + 1)

    truth = 0.25 / (1 - 0.75 * 0.5)
    for share in (0.3, 0.1, 1e-3, 1e-6):
        exact = inference.enumerate(costly, unexplored=share)()
        low, high = np.exp(exact.log_evidence_bounds())
        assert low <= truth * (1 + 1e-12) and truth <= high * (1 + 1e-12)
        assert exact.posterior_error() <= share
        first = exact.marginal("return")[0]
        assert abs(first - 0.25 / truth) <= exact.posterior_error() + 1e-12


def test_an_endless_branch_of_high_probability_is_left_in_time():
    """The most probable choices never end a run; the lighter siblings do."""

    def patient():
        n = 0
        while lawful.sample(f"more{n}", dynamic.coin(0.95)) == 1:
            n += 1
        return n

    exact = inference.enumerate(patient, unexplored=0.01)()
    assert np.exp(exact.log_evidence) >= 0.99
    assert exact.marginal("return")[0] == pytest.approx(0.05, abs=0.01)


def test_choices_of_a_path_that_did_not_make_them_are_marked():
    def either():
        if lawful.sample("a", dynamic.coin(0.5)) == 1:
            return lawful.sample("b", dynamic.coin(0.25))
        return 5

    exact = inference.enumerate(either)()
    assert exact.marginal("b") == pytest.approx({None: 0.5, 0: 0.375, 1: 0.125})
    assert exact.marginal("return") == pytest.approx({0: 0.375, 1: 0.125, 5: 0.5})
    assert [len(run.choices) for run in exact.traces] == [1 + int(run["a"]) for run in exact.traces]


def test_elements_of_a_plate_are_choices_of_their_own():
    def plated():
        with lawful.plate("i", 3):
            x = lawful.sample("x", dist.Bernoulli(jnp.array([0.2, 0.5, 0.9])))
        lawful.factor("sum", -0.1 * float(np.sum(x)))
        return int(np.sum(x))

    exact = inference.enumerate(plated)()
    assert exact.paths == 8
    staged = inference.enumerate(lambda: lawful.factor("w", -0.1 * jnp.sum(_plated())), mode="staged")()
    assert exact.log_evidence == pytest.approx(staged.log_evidence, abs=1e-12)


def _plated():
    with lawful.plate("i", 3):
        return lawful.sample("x", dist.Bernoulli(jnp.array([0.2, 0.5, 0.9])))


def test_a_continuous_choice_is_named():
    def continuous():
        return 0.0 if lawful.sample("x", dist.Normal(0.0, 1.0)) > 0 else 1.0

    with pytest.raises(UnsupportedProgramError, match=r"site 'x' .*Normal is not finite"):
        inference.enumerate(continuous)()


def test_a_program_that_changes_between_runs_is_found():
    calls = []

    def impure():
        calls.append(1)
        lawful.sample(f"x{len(calls)}", dynamic.coin(0.5))

    with pytest.raises(ImpureProgramError, match="became"):
        inference.enumerate(impure, mode="eager")()
