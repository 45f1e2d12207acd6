"""The reference enumerator on programs whose measure is known in closed form."""

import ast
import inspect
import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, deterministic, factor, handlers, plate, sample, scan, scope
from lawful.errors import (
    DuplicateSiteError,
    ImpureProgramError,
    LawfulError,
    NonFiniteError,
    PathLimitError,
    UnsupportedProgramError,
)
from lawful.inference.check import Measure, compare, decision, enumerate_measure
from lawful.inference.check.exact import reference
from tests.check.instances import (
    GIBBS2,
    HMM3_EVIDENCE,
    HMM3_LAST_STATE,
    MH4_TARGET,
    gibbs,
    hmm3,
    hmm3_paths,
    metropolis,
    smc,
)


def outputs(measure):
    return measure.marginal(lambda trace: trace.output)


# Programs with closed forms.


def test_hmm3_in_fractions_equals_its_definition():
    measure = enumerate_measure(hmm3, arithmetic="rational")
    assert measure.total() == HMM3_EVIDENCE
    assert measure.integral(lambda trace: trace.output[-1]) == HMM3_LAST_STATE
    assert measure.probability == 1
    assert measure.paths == 27
    assert dict(outputs(measure)) == hmm3_paths()


def test_hmm3_in_float64_equals_fractions():
    measure, exact = enumerate_measure(hmm3), enumerate_measure(hmm3, arithmetic="rational")
    assert compare(measure, exact).error <= 1e-15
    assert abs(measure.probability - 1) <= 1e-15


def test_a_trace_holds_the_active_latent_sites_and_the_returned_value():
    def program():
        x = sample("x", dist.Bernoulli(probs=0.5))
        sample("y", dist.Bernoulli(probs=0.25), obs=np.int64(1))
        return {"twice": 2 * x}

    measure = enumerate_measure(program)
    assert {(trace.choices, trace.output) for trace in measure} == {
        (frozenset({(("x",), 0)}), (("twice", 0),)),
        (frozenset({(("x",), 1)}), (("twice", 2),)),
    }
    assert measure.total() == 0.25
    assert dict(measure.marginal("x")) == {0: 0.125, 1: 0.125}


def test_the_arms_of_a_branch_have_sites_of_their_own():
    def program():
        b = sample("b", dist.Bernoulli(probs=0.25))
        return cond(
            b == 1,
            lambda: sample("x", dist.Bernoulli(probs=0.5)),
            lambda: sample("z", dist.Categorical(probs=np.array([0, 1]))),
        )

    measure = enumerate_measure(program)
    assert {tuple(sorted(name for (name,), _ in trace.choices)) for trace in measure} == {("b", "x"), ("b", "z")}
    assert dict(outputs(measure)) == {0: 0.125, 1: 0.875}


def test_a_plate_is_a_product_and_its_factor_a_sum_of_logs():
    def program():
        with plate("p", 3):
            x = sample("x", dist.Bernoulli(probs=np.array([0.5, 0.25, 0.125])))
        factor("f", np.where(x == 1, np.log(2.0), 0.0))
        return x.sum()

    measure = enumerate_measure(program)
    assert measure.paths == 8
    assert measure.total() == pytest.approx(1.5 * 1.25 * 1.125, rel=1e-15)


def test_an_empty_plate_leaves_the_measure_alone():
    def program():
        with plate("p", 0):
            x = sample("x", dist.Bernoulli(probs=0.5))
            sample("y", dist.Bernoulli(probs=0.5), obs=np.zeros(0))
        return x

    measure = enumerate_measure(program)
    assert (measure.paths, measure.total()) == (1, 1.0)


def test_loops_and_scopes_give_every_choice_its_address():
    def step(carry, _):
        x = sample("x", dist.Bernoulli(probs=0.5))
        return carry + x, x

    def program():
        with scope("a"):
            return scan(step, 0, None, length=2)[0]

    measure = enumerate_measure(program)
    assert dict(outputs(measure)) == {0: 0.25, 1: 0.5, 2: 0.25}
    assert {address for trace in measure for address, _ in trace.choices} == {("a", "x", 0), ("a", "x", 1)}


def test_a_recursive_program_runs_to_its_end():
    def geometric(depth=0):
        if depth == 3 or sample(f"stop{depth}", dist.Bernoulli(probs=0.5)) == 1:
            return depth
        return geometric(depth + 1)

    assert dict(outputs(enumerate_measure(geometric))) == {0: 0.5, 1: 0.25, 2: 0.125, 3: 0.125}


def test_a_continuous_observation_weighs_by_its_density():
    def program():
        x = sample("x", dist.Bernoulli(probs=0.5))
        sample("y", dist.Normal(x.astype(float), 1.0), obs=0.5)
        return x

    measure = enumerate_measure(program)
    assert measure.total() == pytest.approx(math.exp(-0.125) / math.sqrt(2 * math.pi), rel=1e-12)


def test_conditioning_is_observation_and_substitution_keeps_the_choice():
    def program():
        return sample("x", dist.Categorical(probs=np.array([0.25, 0.75])))

    observed = enumerate_measure(handlers.condition(program, {"x": 1}))
    fixed = enumerate_measure(handlers.substitute(program, {"x": 1}))
    assert (observed.total(), fixed.total()) == (0.75, 0.75)
    assert [trace.choices for trace in observed] == [frozenset()]
    assert [trace.choices for trace in fixed] == [frozenset({(("x",), 1)})]


def test_a_dead_program_has_the_zero_measure():
    def program():
        x = sample("x", dist.Bernoulli(probs=0.5))
        factor("f", -math.inf)
        return x

    measure = enumerate_measure(program)
    assert (measure.total(), measure.probability) == (0.0, 1.0)
    assert compare(measure, measure) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("scale", [-1400.0, -700.0, 700.0, 1400.0])
def test_weights_beyond_the_range_of_floats_keep_their_ratios(scale):
    def program(shift):
        x = sample("x", dist.Bernoulli(probs=0.25))
        factor("f", jnp.where(x == 1, jnp.log(2.0), 0.0))
        factor("g", shift)
        factor("h", shift)
        return x

    far, near = enumerate_measure(program, scale / 2), enumerate_measure(program, 0.0)
    assert far.log_scale == pytest.approx(scale, abs=1)
    assert far.weights[next(iter(far))] / math.fsum(far.weights.values()) == pytest.approx(0.6, abs=1e-12)
    assert math.log(math.fsum(far.weights.values())) + far.log_scale == pytest.approx(math.log(near.total()) + scale)


def test_programs_may_ask_for_jax_arrays():
    def program():
        with plate("p", 2):
            x = sample("x", dist.Bernoulli(probs=0.5))
        return x.at[0].set(1)

    assert dict(outputs(enumerate_measure(program, jax_values=True))) == {(1, 0): 0.5, (1, 1): 0.5}


def test_deterministic_values_are_no_choices():
    def program():
        return deterministic("d", sample("x", dist.Bernoulli(probs=0.5)) + 1)

    assert all(trace.choices in ({(("x",), 0)}, {(("x",), 1)}) for trace in enumerate_measure(program))


# Algorithms are programs, so their measure is known too.


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize(
    ("scheme", "threshold", "steps"), [("systematic", None, 3), ("systematic", 0.9, 3), ("multinomial", None, 2)]
)
def test_sequential_monte_carlo_keeps_the_measure_of_hmm3_exactly(scheme, threshold, steps):
    measure = enumerate_measure(smc(scheme, steps=steps, threshold=threshold), arithmetic="rational")
    truth = Measure(hmm3_paths(steps))
    assert compare(outputs(measure), truth) == (0.0, 1.0, 0.0)
    assert measure.probability == 1
    if threshold is not None:
        assert set(measure.coverage.values()) == {frozenset({True, False})}


@pytest.mark.tier0
@pytest.mark.mutants
def test_a_forgotten_division_by_the_number_of_particles_is_seen_by_the_unnormalised_measure_alone():
    measure = enumerate_measure(smc("systematic", steps=2, broken="no reset"), arithmetic="rational")
    error, evidence_ratio, tv = compare(outputs(measure), Measure(hmm3_paths(2)))
    assert evidence_ratio == 2.0
    assert tv == 0.0
    assert error > 0.1


def rows(kernel, states):
    measures = [outputs(enumerate_measure(kernel(state))) for state in states]
    return np.array([[float(measure.get(state, 0.0)) for state in states] for measure in measures])


@pytest.mark.tier0
def test_metropolis_hastings_keeps_its_target_and_is_reversible():
    kernel = rows(metropolis, range(4))
    flux = MH4_TARGET[:, None] * kernel
    assert np.abs(MH4_TARGET @ kernel - MH4_TARGET).sum() / 2 <= 1e-15
    assert np.abs(flux - flux.T).max() <= 1e-16
    assert np.allclose(kernel.sum(axis=1), 1, atol=1e-15)


@pytest.mark.tier0
@pytest.mark.mutants
def test_a_forgotten_proposal_ratio_moves_the_target():
    kernel = rows(lambda start: metropolis(start, correct=False), range(4))
    assert np.abs(MH4_TARGET @ kernel - MH4_TARGET).sum() / 2 == pytest.approx(0.070, abs=5e-4)


@pytest.mark.tier0
def test_a_systematic_scan_keeps_its_target_and_is_not_reversible():
    states = [(0, 0), (0, 1), (1, 0), (1, 1)]
    kernel, target = rows(gibbs, states), GIBBS2.ravel()
    flux = target[:, None] * kernel
    assert np.abs(target @ kernel - target).max() <= 1e-15
    assert np.abs(flux - flux.T).max() > 1e-3


# Decisions.


def test_an_outcome_counts_only_with_positive_probability():
    def program():
        x = sample("x", dist.Categorical(probs=np.array([0.5, 0.5, 0.0])))
        decision("large", x == 2)
        decision("both", x == 1)
        decision("elements", np.array([x == 0, True]))

    coverage = enumerate_measure(program).coverage
    assert coverage["large"] == {False}
    assert coverage["both"] == {False, True}
    assert coverage["elements"] == {False, True}


def test_a_decision_outside_an_enumeration_is_the_identity():
    predicate = np.array([True, False])
    assert decision("name", predicate) is predicate


# Refusals.


def test_a_continuous_site_is_refused_by_name():
    with pytest.raises(UnsupportedProgramError, match="site 'mu'.*give breakpoints"):
        enumerate_measure(lambda: sample("mu", dist.Normal(0.0, 1.0)))


def test_too_many_paths_are_refused_with_an_estimate():
    def program():
        with plate("p", 12):
            sample("x", dist.Bernoulli(probs=0.5))

    with pytest.raises(PathLimitError, match="about 4096 runs") as failure:
        enumerate_measure(program, max_paths=64)
    assert failure.value.needed == 4096


def test_two_sites_with_one_address_are_refused():
    def program():
        sample("x", dist.Bernoulli(probs=0.5))
        sample("x", dist.Bernoulli(probs=0.5))

    with pytest.raises(DuplicateSiteError, match="'x'"):
        enumerate_measure(program)


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(NonFiniteError, match="factor 'f'"):
        enumerate_measure(lambda: factor("f", weight))


@pytest.mark.parametrize("names", [["x", "y", "x", "z"], ["x", "y", "x"]])
def test_a_program_that_does_not_repeat_itself_is_refused(names):
    left = iter(names)

    def program():
        for name in [next(left, "x") for _ in range(2)][: 2 if len(names) == 4 or len(seen) == 0 else 1]:
            seen.append(name)
            sample(name, dist.Bernoulli(probs=0.5))

    seen: list[str] = []
    with pytest.raises(ImpureProgramError, match="'y'"):
        enumerate_measure(program)


def test_unknown_arithmetic_is_refused():
    with pytest.raises(LawfulError, match="rational"):
        enumerate_measure(hmm3, arithmetic="float32")


def test_the_oracle_knows_nothing_of_the_staged_form():
    staged = {"form", "tracing", "passes", "backends", "law"}
    for module in (reference, inspect.getmodule(compare), inspect.getmodule(reference.finite_site)):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.ImportFrom):
                assert not (set((node.module or "").split(".")) & staged)
            elif isinstance(node, ast.Import):
                assert not any(set(alias.name.split(".")) & staged for alias in node.names)


# Measures.


def test_comparison_of_vanishing_measures():
    zero, unit = Measure({0: 0.0}), Measure({0: 1.0})
    assert compare(zero, zero) == (0.0, 1.0, 0.0)
    assert compare(unit, zero) == (1.0, math.inf, 1.0)
    assert compare(zero, unit) == (1.0, 0.0, 1.0)


def test_comparison_sees_mass_on_impossible_outcomes():
    error, evidence_ratio, tv = compare(Measure({0: Fraction(1, 2), 1: Fraction(1, 2)}), Measure({0: Fraction(1)}))
    assert (error, evidence_ratio, tv) == (0.5, 1.0, 0.5)
