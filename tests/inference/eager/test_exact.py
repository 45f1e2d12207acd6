"""The eager algorithms, enumerated on small dynamic programs: their own picks, coins and choices are listed."""

import math

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.inference.check import compare, enumerate_measure
from lawful.inference.check.rows.eager import EAGER_ROWS, Settings, collapsed_measure, population_measure, transition
from lawful.inference.check.rows.law import check_eager_row
from lawful.inference.eager import trace_mh
from lawful.inference.laws.resampling_schemes import scheme
from lawful.models import dynamic

pytestmark = [pytest.mark.tier0, pytest.mark.usefixtures("unchecked_types")]
TOLERANCE = 1e-12


def bounded_levels(level=0):
    """A recursion of at most three levels, each of which costs."""
    if level == 3 or lawful.sample("stop", dynamic.coin(0.4)) == 1:
        return level
    lawful.factor("cost", math.log(0.7 + 0.1 * level))
    with lawful.scope("next"):
        return bounded_levels(level + 1)


def list_of_a_drawn_length():
    length = int(lawful.sample("length", dist.Categorical(np.array([0.2, 0.5, 0.3]))))
    items = [int(lawful.sample(f"item{i}", dynamic.coin(0.3 + 0.1 * length))) for i in range(length)]
    lawful.sample("sum", dist.Bernoulli(0.2 + 0.3 * sum(items)), obs=1)
    return items


def one_name_with_many_laws():
    """A choice whose family, and then its shape, depends on another."""
    kind = int(lawful.sample("kind", dist.Categorical(np.array([0.5, 0.3, 0.2]))))
    law = [dist.Bernoulli(0.3), dist.Categorical(np.array([0.2, 0.3, 0.5])), dist.Bernoulli(np.array([0.4, 0.9]))]
    value = lawful.sample("x", law[kind])
    lawful.factor("weight", 0.3 * float(np.sum(value)) - 0.2 * kind)
    return kind, value


def point_mass_that_follows():
    side = lawful.sample("side", dynamic.coin(0.3))
    copy = lawful.sample("copy", dist.Delta(1.0 * side))
    lawful.factor("weight", float(0.7 * copy))
    return float(copy)


def memory():
    f = lawful.mem(lambda x: int(lawful.sample("f", dynamic.coin(0.3))))
    x = int(lawful.sample("x", dynamic.coin(0.5)))
    lawful.factor("weight", math.log(0.9 if f(x) == 1 else 0.4))
    return f(0) if x == 0 else f(f(1))


def impossible_in_part():
    a = lawful.sample("a", dynamic.coin(0.5))
    lawful.factor("never", -np.inf if a == 1 else -0.5)
    b = lawful.sample("b", dynamic.coin(0.25))
    lawful.factor("seldom", -np.inf if b == 0 else 0.5)
    return int(a) + int(b)


def fixed_inside():
    """A handler inside the program gives a choice its value: its density is a weight, and it is not moved."""
    inner = lawful.handlers.substitute(lambda: lawful.sample("given", dynamic.coin(0.3)), {"given": np.int64(1)})
    b = lawful.sample("b", dist.Bernoulli(0.2 + 0.5 * inner()))
    lawful.factor("weight", 0.4 * float(b))
    return int(b)


def scaled():
    """A scale weighs a choice by a factor beside it, also when the choice is repeated."""
    with lawful.scale(2.0):
        a = lawful.sample("a", dynamic.coin(0.3))
    b = lawful.sample("b", dist.Bernoulli(jnp.where(a == 1, 0.9, 0.4)))
    lawful.factor("weight", 0.5 * float(b))
    return int(a), int(b)


PROGRAMS = (
    bounded_levels, list_of_a_drawn_length, one_name_with_many_laws, point_mass_that_follows, memory,
    impossible_in_part, fixed_inside, scaled,
)  # fmt: skip
POPULATIONS = {
    "importance": Settings(2, scheme("systematic"), pauses=False),
    "multinomial": Settings(2, scheme("multinomial"), None),
    "adaptive": Settings(2, scheme("systematic"), 0.95),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_trace_kernel_keeps_the_posterior_and_is_reversible(program):
    matrix, pi, seen, _ = transition(program, (), enumerate_measure(program))
    flux = pi[:, None] * matrix
    assert np.abs(matrix.sum(axis=1) - 1).max() < TOLERANCE
    assert np.abs(pi @ matrix - pi).sum() < TOLERANCE
    assert np.abs(flux - flux.T).max() < TOLERANCE
    assert len(pi) > 1 or program is impossible_in_part
    assert seen


def test_the_ratio_of_the_numbers_of_choices_is_needed(monkeypatch):
    """The check finds a kernel that forgets n / n'."""

    def forgetful(here, there):
        return log_ratio(here, there) - math.log(len(here.free) / len(there.free))

    log_ratio = trace_mh.log_ratio
    monkeypatch.setattr(trace_mh, "log_ratio", forgetful)
    matrix, pi, _, _ = transition(bounded_levels, (), enumerate_measure(bounded_levels))
    assert np.abs(pi @ matrix - pi).sum() / 2 > 1e-3


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("name", "program"),
    [
        *((name, program) for name in ("importance", "adaptive") for program in PROGRAMS),
        *(("multinomial", program) for program in (bounded_levels, point_mass_that_follows, fixed_inside)),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_populations_of_two_are_properly_weighted(name, program):
    truth = enumerate_measure(program)
    for measure in (population_measure, collapsed_measure):
        found = measure(program, (), POPULATIONS[name])
        assert compare(found, truth).error < TOLERANCE
        assert found.probability == pytest.approx(1, abs=TOLERANCE)


@pytest.mark.rest_slow
@pytest.mark.parametrize("row", EAGER_ROWS, ids=lambda row: row.name)
def test_every_eager_row_keeps_its_law(row):
    report = check_eager_row(row, programs=row.programs // 10).report
    report.raise_if_failed()
    assert report.measure_error < TOLERANCE
