"""The simplified form has the measure and the log density of the form, whatever was written twice or taken back."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings

import lawful
from lawful import handlers
from lawful.backends.log_density import gather_choices
from lawful.backends.xla import emit
from lawful.form import walk
from lawful.form.arguments.arrays import split_arguments
from lawful.form.choices import choices_of
from lawful.form.liveness import without_dead_code
from lawful.inference.check import compare, enumerate_measure
from lawful.inference.check.programs.doubled import doubled
from lawful.inference.check.strategies import finite_programs
from lawful.passes.simplify import simplified
from lawful.passes.thread_sites import score
from tests.ppl.programs import PROGRAMS


def size(form):
    return len(list(walk(form)))


@pytest.mark.slow
@pytest.mark.tier0
@settings(max_examples=25)
@given(finite_programs(statements=3, max_paths=60))
def test_the_measure_of_a_random_program_stays(program):
    """On all traces, with all choices; the form that does everything twice and adds what it takes back, too."""
    tables = program.default_tables()
    form = lawful.trace(program.program, tables)
    truth = enumerate_measure(form, tables)
    for changed in (simplified(form), simplified(doubled(form))):
        assert compare(enumerate_measure(changed, tables), truth).error < 1e-12


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_log_density_stays(name):
    """Prior and likelihood apart, at draws of the prior; and twice the work is no more work."""
    program, args = PROGRAMS[name]
    form = lawful.trace(program, *args)
    scored, padded = (without_dead_code(score(f).form) for f in (form, doubled(form)))
    inputs = split_arguments(args)[0]
    small, undone, rest = (without_dead_code(simplified(f)) for f in (scored, doubled(scored), padded))
    assert size(small) == size(undone) <= size(scored) < size(doubled(scored))
    assert size(rest) <= size(padded)
    for seed in range(3):
        choices = handlers.trace(handlers.seed(program, jax.random.key(seed)))(*args).choices
        values, _ = gather_choices(choices_of(form), choices)
        old, *new = (
            [np.asarray(x) for x in emit(f)(jax.random.key(0), *inputs, *values)[0]]
            for f in (scored, small, undone, rest)
        )
        for outputs in new:
            for a, b in zip(outputs, old, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_draws_stay_bit_for_bit(name):
    """Every site keeps its address, so it keeps its key."""
    program, args = PROGRAMS[name]
    form = lawful.trace(program, *args)
    inputs = split_arguments(args)[0]
    new, old = (emit(f)(jax.random.key(0), *inputs) for f in (simplified(form), form))
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-12)
    assert [site.address for site in simplified(form).sites()] == [site.address for site in form.sites()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_once_is_enough(name):
    """A simplified form is returned itself."""
    program, args = PROGRAMS[name]
    small = simplified(doubled(lawful.trace(program, *args)))
    assert simplified(small) is small
