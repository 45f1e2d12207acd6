"""Random finite programs: counted, printable, runnable eagerly and staged, and shrinking."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import lawful
from lawful import handlers
from lawful.addresses import names_of
from lawful.errors import LawfulError
from lawful.form.choices import choices_of
from lawful.inference.check import FiniteProgram, Limits, compare, enumerate_measure, random_program, strategies
from lawful.inference.check.exact.measure import differences
from lawful.inference.check.programs.limits import KINDS
from lawful.inference.check.programs.statements import inner

SMALL = {"max_paths": 64, "statements": 4}


@pytest.mark.slow
@settings(max_examples=12)
@given(strategies.finite_programs(**SMALL), st.integers(0, 2**32 - 1))
def test_float64_and_fractions_agree_on_random_programs(program, seed):
    for tables in (program.default_tables(), program.random_tables(np.random.default_rng(seed))):
        measure = enumerate_measure(program.program, tables)
        exact = enumerate_measure(program.program, tables, arithmetic="rational")
        assert measure.paths == exact.paths <= program.path_count() <= 64
        assert exact.probability == 1
        assert abs(measure.probability - 1) <= 1e-12
        assert compare(measure, exact).error <= 1e-12, differences(measure, exact, 1e-12)


@pytest.mark.slow
@settings(max_examples=5)
@given(strategies.finite_programs(**SMALL))
def test_the_staged_program_scores_each_trace_as_the_eager_one(program):
    tables = jax.tree.map(jnp.asarray, program.default_tables())
    form = lawful.trace(program.program, tables)
    shapes = {choice.address: choice.shape for choice in choices_of(form)}
    for trace in list(enumerate_measure(program.program, program.default_tables()))[:3]:
        # What has no element is written as (), whatever its shape.
        choices = {a: np.asarray(value, dtype=int).reshape(shapes[names_of(a)]) for a, value in trace.choices}
        eager = handlers.log_density(program.program, choices)(tables)
        staged = form.log_density(choices, tables)
        assert jnp.allclose(staged, eager, rtol=1e-12, atol=1e-12) or staged == eager == -jnp.inf


@given(strategies.finite_programs(), st.integers(0, 2**32 - 1))
def test_tables_hold_small_rationals(program, seed):
    factors = {0.0, 0.25, 0.5, 1.0, 1.5, 2.0}
    arrays = program.random_tables(np.random.default_rng(seed))
    assert arrays.keys() == program.default_tables().keys()
    for table in program.tables:
        array = arrays[table.name]
        assert array.shape == table.shape
        if table.kind == "rows":
            assert np.allclose(array.sum(axis=-1), 1, atol=1e-15)
            assert np.allclose(
                array * 27720 % 1, np.round(array * 27720 % 1), atol=1e-9
            )  # the least common multiple of 1..12
        elif table.kind == "log_factor":
            assert all(min(abs(w - f) for f in factors) < 1e-15 for w in np.exp(array).ravel())
        else:
            assert ((table.low <= array) & (array < table.low + table.card)).all()


@pytest.mark.slow
@settings(max_examples=10)
@given(strategies.finite_programs())
def test_the_printed_text_is_the_program(program):
    assert program.source() in repr(program)
    namespace = {}
    exec(program.source(), namespace)
    key = jax.random.key(0)
    tables = jax.tree.map(jnp.asarray, program.default_tables())
    printed = handlers.seed(namespace["program"], key)(tables)
    own = handlers.seed(program.program, key)(tables)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), printed, own))


def test_one_structure_is_one_function_for_all_tables():
    assert random_program(5).program is random_program(5).program


@pytest.mark.parametrize("seed", range(3))
def test_equal_seeds_give_equal_programs(seed):
    assert random_program(seed) == random_program(seed)
    assert hash(random_program(seed)) == hash(random_program(seed))
    assert random_program(seed) != random_program(seed + 1)


def test_the_grammar_reaches_every_construct():
    seen = frozenset().union(*(random_program(seed).features for seed in range(60)))
    assert seen == {
        *(
            "site",
            "dependence",
            "factor",
            "observation",
            "deterministic",
            "branch",
            "guard",
            "plate",
            "scan",
            "loop",
            "call",
            "nested",
            "switch",
            "repeat",
            "weigh",
            "mask",
            "scale",
        )
    }


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("site", "assign", "observe")])
def test_a_kind_can_be_demanded_and_excluded(kind):
    feature = {"loop": "scan"}.get(kind, kind)
    for seed in range(20):
        assert feature in random_program(seed, include=[kind]).features
        others = [other for other in KINDS if other != kind]
        assert kind == "factor" or feature not in random_program(seed, kinds=others, loops=kind != "loop").features


def test_a_program_for_sequential_monte_carlo_has_one_loop_weighed_in_every_step():
    for seed in range(50):
        program = random_program(seed, loops="exactly one", loop_last=True, statements=2, max_paths=16)
        loops = [statement for statement in program.statements if type(statement).__name__ == "Loop"]
        assert loops == [program.statements[-1]]
        assert 1 <= program.loop_length <= 3
        assert program.path_count() <= 16
        (body,) = loops
        assert any(getattr(statement, "observed", None) for statement in body.statements)
        assert program.population_path_count(1) == program.path_count()


def test_limits_hold():
    for seed in range(100):
        program = random_program(seed, max_paths=9, max_cardinality=3, loops=False)
        assert program.path_count() <= 9
        assert "scan" not in program.features
    for seed in range(30):
        assert random_program(seed, max_paths=1, max_cardinality=2).path_count() == 1


def test_nested_programs_hold_every_construct_in_every_other_and_their_paths_are_counted():
    def pairs(statements, outer=()):
        for statement in statements:
            kind = type(statement).__name__
            found.update((other, kind) for other in outer)
            for block in inner(statement):
                pairs(block, (*outer, kind))

    found, shared = set(), 0
    for seed in range(200):
        program = random_program(seed, nested=True, shared=True, max_paths=100, statements=3)
        pairs(program.statements)
        names = re.findall(r'sample\("(\w+)"', program.source())
        shared += len(names) > len(set(names))
        assert program.path_count() <= 100
    holds = {"Loop", "Branch", "Switch", "Repeat", "Weighed", "Call"}
    assert found >= {(outer, kind) for outer in holds for kind in {*holds, "Plate"}} | {("Plate", "Weighed")}
    assert shared > 40


def test_rows_that_make_no_law_occur_only_on_demand_and_one_in_a_program():
    def wrong(**limits):
        for seed in range(60):
            tables = [table for table in random_program(seed, **limits).tables if table.kind == "rows"]
            rows = [row for table in tables for row in table.default().reshape(-1, table.shape[-1])]
            yield sum(not (row.min() >= 0 and abs(row.sum() - 1) < 1e-9) for row in rows)

    assert set(wrong()) == {0}
    assert set(wrong(invalid=True)) == {0, 1} and sum(wrong(invalid=True)) > 20


def test_extreme_factors_occur_only_on_demand():
    def largest(**limits):
        tables = [random_program(seed, include=["factor"], **limits).default_tables() for seed in range(60)]
        arrays = [array for table in tables for array in table.values() if array.dtype == float]
        return max(np.abs(array[np.isfinite(array)]).max(initial=0) for array in arrays)

    assert largest() < 2
    assert 699 < largest(extreme=True) < 702


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("feature", "statements"),
    [
        ("site", 1),
        ("factor", 1),
        ("guard", 2),
        ("branch", 2),
        ("plate", 1),
        ("loop", 1),
        ("call", 2),
        ("switch", 2),
        ("repeat", 2),
    ],
)
def test_failures_shrink_to_few_statements_with_uniform_tables(feature, statements):
    smallest = find(strategies.finite_programs(), lambda program: feature in program.features)
    assert len(smallest.statements) <= statements
    for table in smallest.tables:
        assert table.seed == 0
        assert table.kind != "rows" or table.shape[-1] <= 2


def test_unknown_limits_are_refused():
    with pytest.raises(LawfulError, match="unknown kinds"):
        Limits(kinds=["while"])
    with pytest.raises(LawfulError, match="exactly one"):
        Limits(loops="two")


def test_a_missing_hypothesis_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis.strategies", None)
    with pytest.raises(ImportError, match=r"lawful\[check\]"):
        strategies.finite_programs()
    assert isinstance(random_program(0), FiniteProgram)
