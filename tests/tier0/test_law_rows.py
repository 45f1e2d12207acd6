"""The law of every registered row on random finite programs, and what the exact checks say when something is wrong."""

from dataclasses import dataclass, replace
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError, NonFiniteError
from lawful.form.arguments.arrays import split_arguments
from lawful.inference import kernels
from lawful.inference.check import enumerate_measure, invariant, preserves
from lawful.inference.check.exact.exact_checks import transformed_form
from lawful.inference.check.exact.measure import compare
from lawful.inference.check.exact.outcomes import compiled_measure, reference_measure
from lawful.inference.check.exact.suite import instances_of
from lawful.inference.check.rows.law import row_verdict
from lawful.inference.check.rows.rows import ROWS
from lawful.inference.contract import PRESERVES, Transformer
from lawful.inference.kernels.combine.mh import Proposed
from lawful.inference.laws.resampling_schemes import scheme
from lawful.inference.transformers.collapse import collapse
from lawful.inference.transformers.resample import push_evidence
from lawful.tracing.trace import trace

pytestmark = pytest.mark.tier0
IMPORTANCE = inference.spawn(2) >> inference.PushEvidence >> inference.Collapse

# `make law` runs 50 programs, 12 of them compiled with 100 parameter sets each.
PROGRAMS, STRUCTURES, SETS, PATHS = 3, 1, 2, 160


# Enumerations of many paths, or of kernels of kernels; `make law` runs every row, at its full size.
DEAR = (
    "particle gibbs, ancestors sampled", "particle gibbs, backward", "smcp3 at every pause", "involutive, mixture",
    "repeat mh", "on sites, mixture", "smc multinomial adaptive, collapsed", "smc systematic adaptive, N = 3",
    "gibbs, mixture", "smc . marginalise", "tempered smc, waste-free, N = 4", "smc residual",
    "guided smc by the prior, simplified", "resample-move: reflect at every step of a loop", "smc multinomial",
    "gibbs, sites that depend on each other", "block gibbs, sites that depend on each other",
    "propose, tree of beliefs", "mh tree of beliefs", "smc of a tree of beliefs", "mh program, mixture",
)  # fmt: skip
assert set(DEAR) < {row.name for row in ROWS}
EACH = [pytest.param(row, marks=[pytest.mark.slow] if row.name in DEAR else [], id=row.name) for row in ROWS]


@pytest.mark.rest_slow
@pytest.mark.parametrize("row", EACH)
def test_every_row_keeps_its_law(row):
    verdict = row_verdict(row, PROGRAMS, STRUCTURES, SETS)
    verdict.report.raise_if_failed()
    assert verdict.report.measure_error < 1e-12
    assert verdict.parameter_sets == (0 if row.programs else STRUCTURES * SETS)


# ---- both enumerators


@pytest.mark.rest_slow
@pytest.mark.parametrize("instance", instances_of(3, max_paths=PATHS), ids=["first", "second", "third"])
def test_both_enumerators_give_one_measure(instance):
    form = trace(instance.program, *instance.args)
    inputs, _, _ = split_arguments(instance.args)
    transformed, layout = transformed_form(inference.spawn(2), form)
    eager = reference_measure(transformed, layout, [np.asarray(x) for x in inputs], 100_000)
    staged = compiled_measure(transformed, layout, inputs)
    comparison = compare(staged, eager)
    assert comparison.error < 1e-12
    assert staged.probability == pytest.approx(1, abs=1e-12)
    assert eager.probability == pytest.approx(1, abs=1e-12)


# ---- wrong transformers


def coins():
    a = lawful.sample("a", dist.Bernoulli(0.3))
    b = lawful.sample("b", dist.Bernoulli(jnp.where(a == 1, 0.8, 0.4)))
    lawful.factor("f", jnp.log(jnp.where(b == 1, 2.0, 0.5)))
    return a


def without_evidence(population):
    """Push the evidence and lose it."""
    after = push_evidence(population)
    after.block.nodes[:] = [n for n in after.block.nodes if not hasattr(n, "term")]
    return after


def twice_the_weight(form):
    """A form that weighs twice."""
    block = lawful.form.builder.Block()
    outputs = block.splice(form, form.inputs)
    block.factor(("~twice",), block.constant(jnp.log(2.0)))
    return block.form(form.inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)


@pytest.mark.parametrize("enumerator", ["reference", "compiled"])
def test_a_factor_of_two_is_seen_though_the_posterior_is_right(enumerator):
    report = preserves(Transformer("twice", twice_the_weight, PRESERVES), coins, enumerator=enumerator)
    assert report.status == "failed"
    assert report.evidence_ratio == pytest.approx(2.0)
    assert report.tv < 1e-12
    assert "worst instance" in report.remarks


@pytest.mark.slow
def test_a_lost_evidence_is_seen_on_random_programs():
    lossy = inference.spawn(2) >> Transformer("lossy", without_evidence, PRESERVES) >> inference.Collapse
    report = preserves(lossy, instances=6, enumerator="reference", max_paths=1000)
    assert report.status == "failed"
    assert report.measure_error > 1e-3


def test_a_pick_that_ignores_the_weights_has_the_right_evidence_and_fails():
    def first(population):
        population = push_evidence(population)
        equal = population.block.det(jnp.ones_like, population.weight, label="equal", adds=(population.plate,))
        return collapse(replace(population, weight=equal))

    report = preserves(inference.spawn(2) >> Transformer("any", first, PRESERVES), coins, enumerator="reference")
    assert report.status == "failed"
    assert report.evidence_ratio == pytest.approx(1.0, abs=1e-12)


# ---- a user's own kernel


@dataclass(frozen=True)
class Flip:
    """Propose the other side of every coin, accept by the density ratio; the log ratio is at least `floor`."""

    floor: float = -np.inf
    contract: inference.check.Contract = kernels.mh().contract

    def propose(self, block, program, inputs, choices, state):
        values = [block.det(lambda v: 1 - v, v, label="flip") for v in state.values]
        log_density, flags = kernels.scored(block, program, inputs, values)
        ratio = block.det(
            lambda new, old: jnp.maximum(new - old, self.floor), log_density, state.log_density, label="log ratio"
        )
        return Proposed(kernels.State(tuple(values), flags, log_density), ratio)

    def plan(self, program):
        return ["flip"]


def one_coin():
    a = lawful.sample("a", dist.Bernoulli(0.3))
    lawful.factor("f", 0.5 * a)


def test_a_users_kernel_is_checked_as_the_librarys_own():
    assert invariant(kernels.mh(Flip()), one_coin).passed
    report = invariant(kernels.mh(Flip(floor=0.0)), one_coin)
    assert report.status == "failed"
    assert report.tv > 1e-3
    assert "pi K" in report.remarks


def test_a_kernel_that_cannot_reach_every_state_fails_though_it_keeps_the_target():
    report = invariant(kernels.mh(Flip()), coins)
    assert report.tv < 1e-12
    assert report.status == "failed"
    assert "never reached" in report.remarks
    assert invariant(kernels.mh(Flip()), coins, irreducible=False).passed


def test_a_kernel_keeps_a_program_with_a_plate_of_no_elements():
    """Nested plates of sizes 0 and 1: the site is an array without elements, and no part of it can be chosen."""

    def program():
        with lawful.plate("outer", 1), lawful.plate("inner", 0, dim=-2):
            lawful.sample("none", dist.Bernoulli(0.5))
        lawful.factor("weight", 0.5 * lawful.sample("one", dist.Bernoulli(0.25)))

    assert invariant(kernels.mh(), program).passed


def test_mass_that_leaves_the_support_is_seen():
    def edge():
        lawful.factor("f", jnp.where(lawful.sample("a", dist.Bernoulli(0.3)) == 1, -jnp.inf, 0.0))

    report = invariant(kernels.mh(Flip(floor=0.0)), edge)
    assert report.status == "failed"


# ---- checks that did not run in full


def test_a_budget_that_is_too_small_is_inconclusive_and_says_what_it_needs():
    report = preserves(IMPORTANCE, coins, max_paths=3, enumerator="reference")
    assert report.status == "inconclusive"
    assert not report
    assert "max_paths=3" in report.remarks


def test_a_decision_of_which_one_outcome_was_seen_is_inconclusive():
    never = inference.spawn(2) >> inference.resample(scheme("systematic"), inference.ess_below(-1.0))
    few = {"instances": 3, "enumerator": "reference", "max_paths": 1000}
    report = preserves(never, **few)
    assert report.status == "inconclusive"
    assert "one outcome only" in report.remarks
    assert preserves(never, **few, require_coverage=False).passed


# ---- programs without weight, and weights that are not finite


@pytest.mark.rest_slow
@pytest.mark.parametrize("transformer", [IMPORTANCE, inference.spawn(2) >> inference.resample(scheme("residual"))])
def test_an_impossible_program_has_measure_zero_after_every_transformer(transformer):
    def impossible():
        a = lawful.sample("a", dist.Bernoulli(0.5))
        lawful.factor("never", jnp.where(a >= 0, -jnp.inf, 0.0))
        return a

    assert enumerate_measure(impossible).total() == 0
    report = preserves(transformer, impossible)
    assert report.passed
    assert report.measure_error == 0
    assert report.evidence_ratio == 1


def test_a_kernel_of_an_impossible_program_has_nothing_to_keep():
    report = invariant(
        kernels.mh(), lambda: lawful.factor("f", -jnp.inf * (1 + lawful.sample("a", dist.Bernoulli(0.5))))
    )
    assert report.passed
    assert "empty" in report.remarks


@pytest.mark.parametrize(("value", "text"), [(np.nan, "nan"), (np.inf, "inf")])
def test_a_weight_that_is_not_finite_names_its_factor_and_line(value, text):
    def program():
        a = lawful.sample("a", dist.Bernoulli(0.5))
        lawful.factor("broken", jnp.where(a == 1, value, 0.0))

    with pytest.raises(NonFiniteError, match=rf"factor 'broken' \(.*test_law_rows.*\): the log weight is {text}"):
        enumerate_measure(program)


def test_in_fractions_the_two_coins_have_their_measure():
    measure = enumerate_measure(coins, arithmetic="rational")
    assert measure.marginal(lambda t: t.output).weights == {0: Fraction(77, 100), 1: Fraction(51, 100)}


def test_a_budget_that_no_program_fits_is_an_error_and_no_endless_search():
    with pytest.raises(
        LawfulError, match=r"only 0 of 2 random programs fit 4 particles in max_paths=3 .*raise max_paths"
    ):
        instances_of(2, particles=4, max_paths=3)
