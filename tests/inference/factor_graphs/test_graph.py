"""A factor graph by hand: its measure is the product of its tables, and what does not fit is refused with its place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from lawful.errors import DuplicateSiteError, IndexRangeError, LawfulError, NonFiniteError
from lawful.inference.graphs import FactorGraph, Potentials, Variables
from lawful.inference.graphs.model.structure import Family
from tests.inference.factor_graphs.truth import assignments, log_scores
from tests.inference.factor_graphs.written_graphs import assert_same_bits, built, graphs


def chain(cards=3):
    graph = FactorGraph()
    z = graph.variables("z", shape=(4,), cardinality=cards, log_potential=np.arange(4.0 * cards).reshape(4, cards))
    table = np.arange(1.0, cards**2 + 1).reshape(cards, cards)
    graph.factors("step", [z[:-1], z[1:]], table)
    return graph


def named():
    graph = FactorGraph()
    graph.variables("rain", states=["no", "yes"])
    graph.variables("z", shape=(2, 3), cardinality=4)
    return graph


# The measure


@pytest.mark.slow
@settings(max_examples=12)
@given(recipe=graphs())
def test_the_log_score_is_the_sum_of_the_tables_at_the_states(recipe):
    graph = built(recipe)
    families = graph.structure.families
    rows = assignments(graph)
    states = {
        f.name: jnp.asarray(rows[:, f.offset : f.offset + f.size].reshape((len(rows), *f.shape))) for f in families
    }
    found = jax.vmap(graph.log_score)(states) if states else graph.log_score({})[None]
    np.testing.assert_allclose(found, log_scores(graph), rtol=1e-13, atol=1e-13)


def test_one_score_by_hand():
    graph = chain()
    x = [2, 0, 1, 1]
    unary = sum(3 * k + s for k, s in enumerate(x))
    pairs = sum(3 * a + b + 1 for a, b in zip(x, x[1:], strict=False))
    assert graph.log_score({"z": x}).item() == unary + pairs


def test_the_order_of_the_scope_is_the_order_of_the_axes():
    graph = named()
    table = np.arange(8.0).reshape(2, 4)
    graph.factors("f", [graph["rain"], graph["z"][0, 1]], table)
    graph.factors("g", [graph["z"][0, 1], graph["rain"]], 10 * table.T)
    z = np.zeros((2, 3), int)
    z[0, 1] = 3
    assert graph.log_score({"rain": 1, "z": z}).item() == 11 * table[1, 3]


def test_a_variable_twice_in_a_scope_means_the_diagonal():
    graph = FactorGraph()
    z = graph.variables("z", shape=(2,), cardinality=2)
    table = np.arange(8.0).reshape(2, 2, 2)
    graph.factors("f", [z[0], z[1], z[0]], table)
    (group,) = graph.structure.groups
    assert (group.scopes.tolist(), group.cardinalities) == ([[0, 1]], (2, 2))
    for a, b in np.ndindex(2, 2):
        assert graph.log_score({"z": [a, b]}).item() == table[a, b, a]


def test_a_variable_three_times_in_a_scope_means_the_diagonal():
    graph = FactorGraph()
    z = graph.variables("z", cardinality=3)
    graph.factors("f", [z, z, z], np.arange(27.0).reshape(3, 3, 3))
    assert [graph.log_score({"z": k}).item() for k in range(3)] == [0.0, 13.0, 26.0]


def test_one_variable_on_an_axis_serves_all_factors():
    graph = named()
    graph.factors("f", [graph["rain"], graph["z"][0]], np.arange(24.0).reshape(3, 2, 4))
    assert graph.structure.groups[0].scopes.tolist() == [[0, 1], [0, 2], [0, 3]]


def test_a_factor_without_variables_is_a_number():
    graph = FactorGraph()
    graph.factors("constant", [], 2.5)
    assert graph.log_score({}).item() == 2.5
    graph.factors_by_number("constants", np.zeros((3, 0), int), 1.0)
    assert graph.log_score({}).item() == 5.5


def test_factors_by_number_join_variables_of_any_families():
    graph = named()
    one, other = named(), named()
    one.factors("f", [one["rain"], one["z"][1, 2]], np.arange(8.0).reshape(2, 4))
    other.factors_by_number("f", np.array([[0, 6]]), np.arange(8.0).reshape(2, 4))
    assert one.structure == other.structure
    assert one.structure != graph.structure


def test_arrays_without_variables_and_groups_without_factors_are_valid():
    graph = FactorGraph()
    empty = graph.variables("empty", shape=(0,), cardinality=5)
    graph.variables("x", states=["only"])
    graph.factors("none", [empty, empty], np.zeros((0, 5, 5)))
    graph.factors("shared none", [empty[[]], empty[:0]], np.zeros((5, 5)))
    graph.factors("by list", [(empty, [])], np.zeros(5))
    assert [group.size for group in graph.structure.groups] == [0, 0, 0]
    assert graph.log_score({"empty": np.zeros(0, int), "x": 0}).item() == 0.0
    assert graph.structure.name_of(0) == "x"
    assert FactorGraph().log_score({}).item() == 0.0


def test_hard_zeros_have_score_minus_infinity_and_no_gradient_that_is_not_a_number():
    graph = FactorGraph()
    z = graph.variables("z", shape=(2,), log_potential=np.array([0.0, -np.inf]))
    graph.factors("f", [z[0], z[1]], np.array([[1.0, -np.inf], [-np.inf, 0.0]]))
    assert graph.log_score({"z": [0, 0]}).item() == 1.0
    assert graph.log_score({"z": [0, 1]}).item() == -np.inf
    slope = jax.grad(lambda p: graph.replace(p).log_score({"z": [0, 0]}))(graph.potentials)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))


def test_single_precision_is_kept_and_summed_in_the_working_precision():
    graph = FactorGraph()
    z = graph.variables("z", log_potential=jnp.array([0.5, 0.25], jnp.float32))
    graph.factors("f", [z], jnp.array([0.5, 0.25], jnp.float32))
    assert {x.dtype for x in jax.tree.leaves(graph.potentials)} == {np.dtype(np.float32)}
    assert graph.log_score({"z": True}).item() == 0.5


def test_integers_are_taken_as_logs():
    graph = FactorGraph()
    graph.variables("z", log_potential=[0, 3])
    assert graph.log_score({"z": 1}).item() == 3.0


# What is refused when it is built


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda g: g.variables("z"), DuplicateSiteError, "variables 'z': the name is taken"),
        (lambda g: g.variables("a", cardinality=0), LawfulError, "'a': expected at least one state"),
        (lambda g: g.variables("a", states=["s", "s"]), LawfulError, "'a': .* all with different names"),
        (lambda g: g.variables("a", states=[]), LawfulError, "'a': expected at least one state"),
        (lambda g: g.variables("a", shape=(2, -1)), LawfulError, r"'a': .* negative sizes, got \(2, -1\)"),
        (
            lambda g: g.variables("a", (3,), 2, np.zeros((2, 2))),
            LawfulError,
            r"'a': log_potential: expected shape \(3, 2\) or \(2,\), got \(2, 2\)",
        ),
        (lambda g: g.variables("a", (), 2, [0.0, np.nan]), NonFiniteError, r"'a': element \(1,\) is nan"),
        (lambda g: g.variables("a", (), 2, [np.inf, 0.0]), NonFiniteError, r"'a': element \(0,\) is inf"),
        (lambda g: g["y"], LawfulError, "no variables are called 'y'. Known are: rain, z"),
        (lambda g: g.factors("f", [g["rain"]], np.zeros(2)), DuplicateSiteError, "factors 'f': the name is taken"),
        (
            lambda g: g.factors("g", [g["rain"], g["z"][0, 0]], np.zeros((4, 2))),
            LawfulError,
            r"'g': log_table: expected shape \(1, 2, 4\), or \(2, 4\) for all factors alike, got \(4, 2\)",
        ),
        (
            lambda g: g.factors("g", [g["rain"]], [[0.0, np.inf]]),
            NonFiniteError,
            r"log_table of 'g': element \(0, 1\) is inf",
        ),
        (
            lambda g: g.factors("g", [g["z"][0], g["z"][1, :2]], np.zeros((4, 4))),
            LawfulError,
            r"'g': the axes of the scope have \(3,\), \(2,\) variables",
        ),
        (lambda g: g.factors("g", [(g["z"], (2, 0))], np.zeros(4)), IndexRangeError, "'g': scope of axis 0: .*'z'"),
        (lambda g: g.factors("g", [(g["z"], [0.5])], np.zeros(4)), IndexRangeError, "'g': scope of axis 0"),
        (
            lambda g: g.factors("g", [Variables(Family("y", (), 2, 0), np.array(0))], np.zeros(2)),
            LawfulError,
            "'g': scope of axis 0: expected variables of this graph",
        ),
        (
            lambda g: g.factors("g", [g["z"][0], g["z"][0, [0, 0, 1]]], np.zeros((4, 4))),
            LawfulError,
            "'g': some scopes .* twice on axes 0 and 1 .* a group of their own .factors 0",
        ),
        (lambda g: g.factors_by_number("g", np.zeros(3, int), 0.0), LawfulError, r"'g': .*int64 of shape \(3,\)"),
        (lambda g: g.factors_by_number("g", np.zeros((0, 1), int), [0.0]), LawfulError, "'g': .*shape"),
        (lambda g: g.factors_by_number("g", np.zeros((1, 1)), [0.0]), LawfulError, "'g': .*float64"),
        (lambda g: g.factors_by_number("g", np.array([[7]]), [0.0]), IndexRangeError, "7 variables.* no number 7"),
        (
            lambda g: g.factors_by_number("g", np.array([[0], [1]]), [0.0, 0.0]),
            LawfulError,
            r"'g': the variables on axis 0 have different numbers of states \[2, 4\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(build, error, message):
    graph = named()
    graph.factors("f", [graph["rain"]], np.zeros(2))
    before = graph.structure
    with pytest.raises(error, match=message):
        build(graph)
    assert graph.structure == before


def test_traced_scores_are_not_looked_at():
    def total(scores):
        graph = FactorGraph()
        z = graph.variables("z", log_potential=scores)
        graph.factors("f", [z], scores)
        return graph.log_score({"z": 1})

    assert jax.jit(total)(jnp.array([0.0, 2.0])).item() == 4.0
    assert np.isnan(jax.jit(total)(jnp.array([0.0, jnp.nan])))


# Evidence


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({"rain": 1}, {"rain": 1}),
        ({"rain": "yes"}, {"rain": 1}),
        ({"rain": np.int32(0)}, {"rain": 0}),
        ({"z": ((1, 2), 3)}, {"z": [[-1, -1, -1], [-1, -1, 3]]}),
        ({"z": ((0, [0, 2]), [1, 2])}, {"z": [[1, -1, 2], [-1, -1, -1]]}),
        ({"z": (1, 2)}, {"z": [[-1, -1, -1], [2, 2, 2]]}),
        ({"z": ([], [])}, {"z": [[-1, -1, -1], [-1, -1, -1]]}),
        ({"z": (np.eye(2, 3, dtype=bool), [3, 1])}, {"z": [[3, -1, -1], [-1, 1, -1]]}),
        ({"z": [[0, 1, 2], [3, 0, 1]]}, {"z": [[0, 1, 2], [3, 0, 1]]}),
        ({"z": (0, "3"), "rain": "no"}, {"z": [[3, 3, 3], [-1, -1, -1]], "rain": 0}),
    ],
)
def test_evidence_is_what_was_seen(given, seen):
    found = named().observe(given).evidence
    assert {name: states.tolist() for name, states in found.items()} == seen


def test_evidence_keeps_what_agrees_with_it_and_nothing_else():
    graph = chain().observe({"z": ([1, 3], [2, 0])})
    rows = assignments(graph)
    agree = (rows[:, 1] == 2) & (rows[:, 3] == 0)
    np.testing.assert_array_equal(log_scores(graph), np.where(agree, log_scores(chain()), -np.inf))


def test_what_is_observed_again_takes_the_new_state_and_the_rest_stays():
    one = named().observe({"rain": "no", "z": ((0, 0), 1)})
    two = one.observe({"rain": "yes"}).observe({"z": ((0, 1), 2)})
    assert two.evidence["rain"].tolist() == 1
    assert two.evidence["z"].tolist() == [[1, 2, -1], [-1, -1, -1]]
    assert one.evidence["rain"].tolist() == 0
    assert one.evidence["z"].tolist() == [[1, -1, -1], [-1, -1, -1]]
    assert not named().evidence


def test_without_evidence_the_graph_is_as_it_was():
    graph = chain()
    back = graph.observe({"z": (0, 1)}).without_evidence()
    for a, b in zip(jax.tree.leaves(graph.potentials), jax.tree.leaves(back.potentials), strict=True):
        assert_same_bits(a, b)


def test_evidence_leaves_the_structure_so_nothing_is_compiled_again():
    graph = chain()
    assert graph.observe({"z": (0, 1)}).structure is graph.structure


def test_traced_evidence_is_that_of_each_element_of_a_map():
    graph = chain().observe({"z": (3, 1)})

    def score(states):
        return graph.observe({"z": (np.array([0, 2]), states)}).log_score({"z": [0, 1, 2, 1]})

    seen = jnp.array([[0, 2], [0, 1], [1, 2]], jnp.int32)
    expected = [graph.observe({"z": ([0, 2], row)}).log_score({"z": [0, 1, 2, 1]}).item() for row in np.asarray(seen)]
    assert jax.jit(jax.vmap(score))(seen).tolist() == expected
    assert np.isfinite(expected).tolist() == [True, False, False]
    again = jax.vmap(lambda s: graph.observe({"z": (0, s)}).observe({"z": (0, 0)}).log_score({"z": [0, 1, 2, 1]}))
    assert again(jnp.arange(3)).tolist() == [expected[0]] * 3


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"y": 0}, LawfulError, "no variables are called 'y'"),
        ({"rain": "maybe"}, LawfulError, "'rain' has no state 'maybe': its states are no, yes"),
        ({"z": (0, "four")}, LawfulError, "'z' has no state 'four': its states are 0, 1, 2, 3"),
        ({"rain": 2}, LawfulError, "'rain': expected a state from 0 to 1, or its name, got 2"),
        ({"rain": -1}, LawfulError, "'rain': expected a state from 0 to 1"),
        ({"rain": 0.0}, LawfulError, "'rain': expected a state from 0 to 1"),
        ({"z": (5, 0)}, IndexRangeError, r"evidence on 'z': .*its shape is \(2, 3\)"),
        ({"z": (0, [1, 2])}, LawfulError, r"'z': expected states of shape \(3,\), or one for all, got shape \(2,\)"),
        ({"z": (0, 1, 2)}, LawfulError, "'z': .* a pair .index, states., got a tuple of 3"),
    ],
)
def test_evidence_that_does_not_fit_is_refused_with_its_place(given, error, message):
    with pytest.raises(error, match=message):
        named().observe(given)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ({"rain": 0}, "expected states of rain, z, got those of .'rain'"),
        ({"rain": 0, "z": np.zeros((2, 3), int), "y": 0}, "expected states of rain, z"),
        ({"rain": 0, "z": np.zeros((3, 2), int)}, r"'z': expected numbers of states of shape \(2, 3\), got .*\(3, 2\)"),
        ({"rain": 0.0, "z": np.zeros((2, 3), int)}, r"'rain': expected numbers of states .*float64"),
        ({"rain": 2, "z": np.zeros((2, 3), int)}, "'rain': expected states from 0 to 1, got 2"),
        ({"rain": 0, "z": np.full((2, 3), -1)}, "'z': expected states from 0 to 3"),
    ],
)
def test_an_assignment_that_is_none_is_refused(assignment, message):
    with pytest.raises(LawfulError, match=message):
        named().log_score(assignment)


# Copies, structure and names


def test_a_copy_is_a_graph_of_its_own():
    graph = chain()
    other = graph.copy()
    other.variables("more")
    other.factors("more", [other["more"]], np.zeros(2))
    assert repr(graph) == "FactorGraph(4 variables, 3 factors)"
    assert repr(other) == "FactorGraph(5 variables, 4 factors)"


def test_replaced_potentials_are_the_potentials():
    graph = chain()
    twice = jax.tree.map(lambda x: 2 * x, graph.potentials)
    assert isinstance(twice, Potentials)
    x = {"z": [0, 1, 2, 0]}
    assert graph.replace(twice).log_score(x).item() == 2 * graph.log_score(x).item()


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 3), (1, 3, 4), (2, 1, 3, 3)])
def test_potentials_of_other_shapes_are_refused(shape):
    graph = chain()
    with pytest.raises(LawfulError, match=r"replace: tables: expected arrays of shapes \[\(1, 3, 3\)\], got"):
        graph.replace(Potentials(graph.potentials.unary, (np.zeros(shape),)))
    with pytest.raises(LawfulError, match="replace: unary: expected"):
        graph.replace(Potentials((), graph.potentials.tables))


def test_structures_are_equal_where_variables_and_scopes_are_and_hash_alike():
    one, other = chain(), chain()
    other = other.replace(jax.tree.map(lambda x: x + 1, other.potentials)).observe({"z": (0, 1)})
    assert one.structure == other.structure
    assert hash(one.structure) == hash(other.structure)
    assert len({one.structure, other.structure}) == 1
    assert one.structure != "structure"


def different():
    graph = FactorGraph()
    z = graph.variables("z", shape=(4,), cardinality=3)
    graph.factors("step", [z[:-1], z[1:]], np.zeros((3, 3)))
    yield "plain", graph
    other = FactorGraph()
    y = other.variables("y", shape=(4,), cardinality=3)
    other.factors("step", [y[:-1], y[1:]], np.zeros((3, 3)))
    yield "name of the variables", other
    for name, scopes, table in [
        ("name of the factors", ("other", [z[:-1], z[1:]]), np.zeros((3, 3))),
        ("order of the axes", ("step", [z[1:], z[:-1]]), np.zeros((3, 3))),
        ("order of the factors", ("step", [z[2::-1], z[3:0:-1]]), np.zeros((3, 3))),
        ("one table or many", ("step", [z[:-1], z[1:]]), np.zeros((3, 3, 3))),
    ]:
        other = FactorGraph()
        other.variables("z", shape=(4,), cardinality=3)
        other.factors(scopes[0], scopes[1], table)
        yield name, other
    for name, shape, states in [("shape", (2, 2), None), ("states", (4,), ["a", "b", "c"])]:
        other = FactorGraph()
        z = other.variables("z", shape, 3, states=states)
        z = z[...].numbers.reshape(-1)
        other.factors_by_number("step", np.stack([z[:-1], z[1:]], axis=1), np.zeros((3, 3)))
        yield name, other


def test_structures_differ_in_anything_but_the_numbers():
    graphs = dict(different())
    assert len({graph.structure for graph in graphs.values()}) == len(graphs)


def test_variables_and_factors_are_named_for_people():
    graph = named()
    graph.factors("f", [graph["z"][0]], np.zeros(4))
    assert [graph.structure.name_of(v) for v in range(7)] == [
        "rain", "z[0, 0]", "z[0, 1]", "z[0, 2]", "z[1, 0]", "z[1, 1]", "z[1, 2]",
    ]  # fmt: skip
    assert graph.factor_name(0, 2) == "f[2]"
    assert graph.structure.family("z") == graph["z"].family
    assert graph.structure.family("f") is None


@pytest.mark.parametrize("count", [100_000])
def test_many_factors_are_a_few_arrays(count):
    """Adding is array work: what is stored does not grow with the number of factors but by arrays."""
    graph = FactorGraph()
    z = graph.variables("z", shape=(count,), cardinality=2)
    graph.factors("step", [z[:-1], z[1:]], np.zeros((2, 2)))
    assert len(jax.tree.leaves(graph.potentials)) == 2
    assert graph.potentials.tables[0].shape == (1, 2, 2)
    assert graph.structure.groups[0].scopes.shape == (count - 1, 2)
