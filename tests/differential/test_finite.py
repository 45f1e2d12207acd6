"""Random finite programs: eager, staged, compiled and mapped runs denote one measure (D1 to D4, D6, D8, D9, D11)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lawful
from lawful import inference
from lawful.backends.compile_options import QUICK
from lawful.backends.xla import emit
from lawful.distributions.bijections import supports
from lawful.errors import LawfulError
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import choices_of
from lawful.inference.check import compare, enumerate_measure, preserves, random_program
from lawful.inference.check.exact.exact_checks import TOLERANCE, transformed_form
from lawful.inference.check.exact.measure import differences
from lawful.inference.check.exact.outcomes import compiled_measure, reference_measure

from .sides import Sides, same_density, same_runs

SMALL = {"max_paths": 48, "statements": 4, "max_length": 2}
PAIRS = (("branch", "plate"), ("guard", "loop"), ("switch", "weigh"), ("call", "repeat"))


@pytest.fixture(scope="module", params=range(len(PAIRS)), ids=map("-".join, PAIRS))
def sides(request):
    """Programs that hold every construct of the grammar, two in each, with others at random."""
    program = random_program(request.param, include=PAIRS[request.param], **SMALL)
    return Sides(program.program, (jax.tree.map(jnp.asarray, program.default_tables()),), repr(program))


@pytest.fixture(autouse=True)
def the_program_is_shown_where_a_test_fails(request):
    if "sides" in request.fixturenames:
        print(request.getfixturevalue("sides").text)


def chosen(trace):
    return {address: np.asarray(value, dtype=int) for address, value in trace.choices}


def outside(sides, choices):
    """Traces with one value outside the support, which changes no branch: at most two."""
    found = []
    for address in choices:
        changed = {**choices, address: choices[address] + 17}
        try:
            lawful.handlers.log_density(sides.program, changed)(*sides.args)
            sides.form.log_density(changed, *sides.args)
        except LawfulError:  # another arm runs, whose choices have no value
            continue
        found.append(changed)
    return found[-2:]


@pytest.mark.rest_slow
def test_d1_both_enumerators_give_one_measure(sides):
    eager = enumerate_measure(sides.program, *sides.args)
    transformed, layout = transformed_form(lambda form: form, sides.form)
    node_by_node = reference_measure(transformed, layout, [np.asarray(x) for x in sides.inputs], 100_000)
    staged = compiled_measure(transformed, layout, sides.inputs)
    for measure in (staged, node_by_node):
        assert compare(measure, eager).error <= TOLERANCE, "\n".join(differences(measure, eager, TOLERANCE))
    assert staged.probability == pytest.approx(1, abs=1e-12)


@pytest.mark.rest_slow
def test_d2_log_densities_agree_in_and_out_of_the_support(sides):
    inside = [chosen(t) for t in list(enumerate_measure(sides.program, *sides.args))[:4]]
    many = [*inside, *outside(sides, inside[0])]
    found = [sides.densities(choices) for choices in many]
    for one in found:
        assert all(same_density(one["eager"], other) for other in one.values()), one
    assert all(one["eager"] == -np.inf for one in found[len(inside) :])
    assert len(many) > len(inside)
    rows = sides.mapped_density(many, size=3)
    assert all(same_density(one["eager"], row) for one, row in zip(found, rows, strict=True))


def test_d3_addresses_shapes_and_supports_are_those_of_an_eager_run(sides):
    record = sides.eager(jax.random.key(3))
    known = {c.address: c for c in choices_of(sides.form)}
    held = supports(sides.form)
    for address, value in record.choices.items():
        choice = known[tuple(part for part in address if isinstance(part, str))]
        assert np.shape(value) == choice.shape
        assert sum(not isinstance(part, str) for part in address) == len(choice.loops)
        assert bool(jnp.all(held[choice.address](value))) or held[choice.address].is_discrete


@pytest.mark.rest_slow
def test_d4_one_key_gives_one_run_on_every_side(sides):
    assert same_runs(sides, jax.random.split(jax.random.key(4), 3))


@pytest.mark.rest_slow
def test_d6_a_run_scored_again_has_the_density_it_was_drawn_with(sides):
    for key in jax.random.split(jax.random.key(6), 3):
        record = sides.eager(key)
        assert same_density(record.log_density, sides.form.log_density(record.choices, *sides.args))


@pytest.mark.rest_slow
def test_d9_summing_all_sites_gives_the_evidence_of_the_enumeration(sides):
    truth = enumerate_measure(sides.program, *sides.args)
    inputs, _, _ = split_arguments(sides.args)
    summed = inference.marginalise()(sides.form)
    run = jax.jit(emit(summed), compiler_options=QUICK)
    log_evidence = float(run(jax.random.key(0), *inputs)[1])
    z = float(truth.total())
    assert np.exp(log_evidence) == pytest.approx(z, rel=1e-12) if z else log_evidence == -np.inf


# ---- D8: compositions of two transformers

SECOND = [
    inference.spawn(2) >> inference.PushEvidence >> inference.Collapse,
    inference.spawn(2) >> inference.resample("stratified"),
]


@pytest.mark.parametrize("second", SECOND, ids=["importance", "resampled"])
def test_d8_two_transformers_one_after_the_other_keep_the_measure(second):
    both = inference.marginalise() >> second
    report = preserves(both, instances=3, max_paths=400, require_coverage=False, enumerator="reference")
    assert report.passed, report
    assert report.measure_error <= TOLERANCE


# ---- D11: what is printed is stable


def test_d11_the_text_of_a_form_is_stable(sides):
    again = lawful.trace(_fresh(sides.program), *sides.args)
    assert again is not sides.form
    assert again.show() == sides.form.show()


def _fresh(program):
    return lambda *args: program(*args)
