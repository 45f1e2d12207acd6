"""Graphs to write and read: every input that is valid, however odd, and what it means that two graphs are the same."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lawful.inference.graphs import FactorGraph
from tests.inference.factor_graphs.truth import assignments, log_scores

NAMES = ("a", "b c", 'd"e', "z[0]", "ü", "#1")
STATES = ("yes", "no", "a b", "0")
SHAPES = ((), (1,), (3,), (2, 2), (0,))
LOGS = st.sampled_from([-np.inf, 0.0, -0.0, 1.0, -1.0, 2.0**-40, -(2.0**-60)]) | st.floats(-30.0, 30.0)
EXTREME = LOGS | st.floats(-2000.0, 2000.0)


@st.composite
def graphs(draw, logs=LOGS, empty=True):
    """Recipes, for `built`, of a graph of up to three arrays and three groups, with evidence on some of its variables.

    Args:
        draw: of hypothesis.
        logs: its numbers.
        empty: whether there are arrays without variables and groups without factors.
    """
    arrays_of, groups, seen = [], [], []
    for name in NAMES[: draw(st.integers(0, 3))]:
        shape, card = draw(st.sampled_from(SHAPES if empty else SHAPES[:-1])), draw(st.integers(1, 3))
        scores = draw(st.none() | arrays(np.float64, (*shape, card), elements=logs))
        arrays_of.append((name, shape, card, scores, draw(st.sampled_from([None, STATES[:card]]))))
    there = [k for k, (_, shape, *_) in enumerate(arrays_of) if 0 not in shape]
    for k in range(draw(st.integers(0, 3))):
        scope = draw(st.lists(st.sampled_from(there), max_size=3)) if there else []
        count = draw(st.integers(0 if empty else 1, 3)) if any(arrays_of[v][1] for v in scope) else 1
        places = [draw(arrays(np.int64, count, elements=st.integers(0, size_of(arrays_of[v]) - 1))) for v in scope]
        if len(scope) > 1 and scope[0] == scope[1] and draw(st.booleans()):
            places[1] = places[0]  # the same variable twice in every scope
        cards = tuple(arrays_of[v][2] for v in scope)
        tables = draw(arrays(np.float64, draw(st.sampled_from([cards, (count, *cards)])), elements=logs))
        if not twice_in_some(scope, places):
            groups.append((f"group {k}", list(zip(scope, places, strict=True)), tables))
    for v in there:
        if draw(st.booleans()):
            place, state = draw(st.integers(0, size_of(arrays_of[v]) - 1)), draw(st.integers(0, arrays_of[v][2] - 1))
            seen.append((arrays_of[v][0], place, state))
    return arrays_of, groups, seen


def size_of(array):
    return math.prod(array[1])


def twice_in_some(scope, places):
    """Tell whether some scopes of a group hold a variable twice, and others do not."""
    pairs = [places[a] == places[b] for a in range(len(scope)) for b in range(a) if scope[a] == scope[b]]
    return any(p.any() and not p.all() for p in pairs)


def built(recipe):
    """Make the graph of a recipe."""
    arrays_of, groups, seen = recipe
    graph = FactorGraph()
    handles = [graph.variables(*array) for array in arrays_of]
    for name, scope, tables in groups:
        graph.factors(name, [picked(handles[v], places) for v, places in scope], tables)
    for name, place, state in seen:
        shape = graph[name].family.shape
        graph = graph.observe({name: (np.unravel_index(place, shape), state) if shape else state})
    return graph


def picked(handle, places):
    return handle[np.unravel_index(places, handle.family.shape)] if handle.family.shape else handle


def joint(graph):
    """The log score of every assignment, on axes in the order of the file."""
    numbers = graph.notes.file_numbers(graph.structure.size)
    cards = graph.structure.cardinalities
    order = np.argsort(numbers)
    return log_scores(graph).reshape(cards).transpose(order) if len(assignments(graph)) else np.zeros(0)


def assert_same_measure(one, other, bound=1e-13):
    """The two give every assignment the same log score, relative to the sizes of their terms."""
    a, b = joint(one), joint(other)
    assert a.shape == b.shape
    np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
    there = np.isfinite(a)
    assert np.all(np.abs(a[there] - b[there]) <= bound * (1 + scale(one)))


def scale(graph):
    """Sum of the sizes of the terms of a graph, which bounds the rounding of their sums."""
    arrays = [np.asarray(x) for x in (*graph.potentials.unary, *graph.potentials.tables)]
    return sum(np.abs(x[np.isfinite(x)]).sum() for x in arrays)


def assert_same_bits(one, other):
    """The two arrays have the same numbers in the same precision, zeros with their signs."""
    one, other = np.asarray(one), np.asarray(other)
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == other.tobytes()


def terms(graph):
    """The tables of all factors, by name and scope, and the scores of single variables that are not zero."""
    found = [
        (graph.structure.name_of(v), (scores + 0.0).tolist())
        for f, rows in zip(graph.structure.families, graph.without_evidence().potentials.unary, strict=True)
        for v, scores in enumerate(np.asarray(rows), f.offset)
        if np.any(scores != 0)
    ]
    for k, group in enumerate(graph.structure.groups):
        for row, scope in enumerate(group.scopes.tolist()):
            table = np.asarray(graph.potentials.tables[k])[0 if group.shared else row]
            names = " ".join(map(graph.structure.name_of, scope))
            found.append((names, (table + 0.0).tolist()))  # zeros without a sign
    return sorted(found, key=repr)
