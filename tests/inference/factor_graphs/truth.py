"""Truth for small factor graphs: every assignment is listed, and its measure summed, in NumPy."""

import itertools

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from lawful.inference.graphs import FactorGraph, Potentials
from lawful.inference.graphs.model.potentials import scores_at


def assignments(graph):
    """All assignments (A, n), in the order of the numbers of the variables."""
    sizes = [range(k) for k in graph.structure.cardinalities.tolist()]
    listed = list(itertools.product(*sizes))
    return np.array(listed, np.int64).reshape((len(listed), graph.structure.size))


def log_scores(graph):
    """Natural log of the measure of each assignment, term by term."""
    x, potentials = assignments(graph), graph.potentials
    total = np.zeros(len(x))
    for family, scores in zip(graph.structure.families, potentials.unary, strict=True):
        for k in range(family.size):
            total += np.asarray(scores)[k, x[:, family.offset + k]]
    for group, tables in zip(graph.structure.groups, potentials.tables, strict=True):
        for k, scope in enumerate(group.scopes):
            total += np.asarray(tables)[(0 if group.shared else k, *x[:, scope].T)]
    for count in graph.structure.counted:
        for bag, holder in enumerate(count.totals):
            own = slice(count.starts[bag], count.starts[bag + 1])
            total += np.where((x[:, count.members[own]] == count.states[own]).sum(axis=1) == x[:, holder], 0.0, -np.inf)
    return total


class Truth:
    """Exact answers by listing.

    Attributes:
        log_z: log of the total mass.
        variables: name -> marginals (*shape, K).
        factors: name -> marginals (G, K_1, ..., K_r).
        largest: the largest log score.
    """

    def __init__(self, graph):
        x, scores = assignments(graph), log_scores(graph)
        self.largest = scores.max()
        top = self.largest if np.isfinite(self.largest) else 0.0
        mass = np.exp(scores - top)
        self.log_z = top + np.log(mass.sum()) if mass.sum() > 0 else -np.inf
        p = mass / mass.sum() if mass.sum() > 0 else mass
        self.probabilities = p
        self.variables = {
            f.name: np.array(
                [[p[x[:, f.offset + k] == s].sum() for s in range(f.cardinality)] for k in range(f.size)]
            ).reshape((*f.shape, f.cardinality))
            for f in graph.structure.families
        }
        self.factors = {}
        for group in graph.structure.groups:
            found = np.zeros((group.size, *group.cardinalities))
            for k, scope in enumerate(group.scopes):
                for row, mass in zip(x, p, strict=True):
                    found[(k, *row[scope])] += mass
            self.factors[group.name] = found


def random_graph(seed, variables, factors, zeros=0.15, most=3, tree=False):
    """A graph of a few families and groups, some tables shared, some with hard zeros."""
    rng = np.random.default_rng(seed)
    graph = FactorGraph()
    left, handles = variables, []
    while left > 0:
        size = int(rng.integers(1, left + 1))
        shape = () if size == 1 and rng.random() < 0.5 else (size,)
        card = int(rng.integers(1, most + 1))
        scores = holed(rng, (*shape, card), zeros / 3)
        handles.append(graph.variables(f"v{len(handles)}", shape, card, scores if rng.random() < 0.8 else None))
        left -= size
    graph.variables("none", (0,), 7)
    elements = [(h, k) for h in handles for k in range(h.numbers.size)]
    parts = list(range(len(elements)))
    for number in range(factors):
        arity = int(rng.integers(0, 4)) if elements else 0
        chosen = rng.choice(len(elements), size=min(arity, len(elements)), replace=not tree) if arity else []
        if tree:  # join different parts alone
            chosen = [c for j, c in enumerate(chosen) if parts[c] not in {parts[d] for d in chosen[:j]}]
            joined = {parts[c] for c in chosen}
            parts = [min(joined) if p in joined else p for p in parts]
        scope = [elements[c] for c in chosen]
        cards = tuple(h.family.cardinality for h, _ in scope)
        picked = [(h, [k]) if h.family.shape else h for h, k in scope]
        graph.factors(f"f{number}", picked, holed(rng, cards if rng.random() < 0.5 else (1, *cards), zeros))
    return graph


def holed(rng, shape, zeros):
    """Random scores, some of them -inf."""
    return np.where(rng.random(shape) < zeros, -np.inf, 1.5 * rng.normal(size=shape))


def counted_graph(seed, forest=False, zeros=0.1):
    """A graph of binary variables and of ternary ones, with pairs, and counts in bags of several sizes, one empty.

    Where it is a forest every variable is in one bag at most, and a ternary one reads a count.
    """
    rng = np.random.default_rng(seed)
    graph = FactorGraph()
    y = graph.variables("y", (6,), 2, rng.normal(size=(6, 2)))
    z = graph.variables("z", (2,), 3, holed(rng, (2, 3), zeros))
    bags = rng.permutation([0, 0, 0, 2, 2, 3]) if forest else rng.integers(0, 3, 6)
    n = graph.count("n", y, holed(rng, (3 if forest else 1, 1), 0)[0, 0] * rng.normal(size=1 + np.bincount(bags).max()),
                    bags, rng.integers(0, 2, 6))  # fmt: skip
    graph.factors("read", [n[0], z[0]], holed(rng, (n.family.cardinality, 3), zeros))
    if not forest:
        graph.factors("pairs", [y[[0, 2, 4]], y[[1, 3, 5]]], holed(rng, (3, 2, 2), zeros))
        graph.count("m", z[None], rng.normal(size=(1, 3)), state=rng.integers(0, 3, (1, 2)))
    return graph


def cases(variables=5, factors=5, least=0):
    """Arguments of `random_graph`: the seed of its numbers, and how many variables and factors."""
    return st.tuples(st.integers(0, 2**32 - 1), st.integers(least, variables), st.integers(0, factors))


def grid(rng, rows, cols, card=2, strength=1.0, dtype=None):
    """A Potts grid with random fields: one family, a group for each direction."""
    scores = rng.normal(size=(rows, cols, card))
    table = strength * np.eye(card)
    graph = FactorGraph()
    z = graph.variables("z", (rows, cols), card, jnp.asarray(scores, dtype))
    graph.factors("down", [z[:-1], z[1:]], jnp.asarray(table, dtype))
    graph.factors("right", [z[:, :-1], z[:, 1:]], jnp.asarray(table, dtype))
    return graph


def bagged_graph(seed, members=8, zeros=0.1, overlap=True, labels=3):
    """Members in bags whose counts are known exactly, noisily or not at all, with factors of two and three of them.

    Members have two labels or three; bags may overlap, a binary member may count when it is zero, bags may count more
    than one label, and a factor may read a count. Some assignment has the counts that are known.
    """
    rng = np.random.default_rng(seed)
    card = int(rng.integers(2, labels + 1))
    graph = FactorGraph()
    y = graph.variables("y", (members,), card, holed(rng, (members, card), zeros / 3))
    truth = np.array([rng.choice(np.flatnonzero(u > -np.inf)) if (u > -np.inf).any() else 0
                      for u in np.asarray(graph.potentials.unary[0])])  # fmt: skip
    for number in range(int(rng.integers(1, 3 if overlap else 2))):
        chosen = np.arange(members) if number == 0 else rng.choice(members, rng.integers(2, members), replace=False)
        chosen = chosen if rng.random() < 0.8 else chosen[1:]
        bags = np.unique(rng.integers(0, max(2, members // 4), len(chosen)), return_inverse=True)[1]
        states = rng.integers(0, 2, len(chosen)) if card == 2 and rng.random() < 0.4 else np.ones(len(chosen), int)
        for state in [states] if card == 2 or rng.random() < 0.3 else [states, 0 * states]:
            n = graph.count(f"n{number} {state[0] if card > 2 else ''}", y[chosen], bags=bags, state=state)
            count = np.bincount(bags, truth[chosen] == state)
            width = n.family.cardinality
            kinds = rng.choice(["hard", "soft", "none"], n.family.size, p=[0.6, 0.25, 0.15])
            graph = graph.replace(Potentials((*graph.potentials.unary[:-1], _told(rng, kinds, count, width)), ()))
            y, n = graph["y"], graph[n.family.name]
    for arity in (2, 2, 3):
        size = int(rng.integers(1, members))
        scopes = [rng.choice(members, arity, replace=False) for _ in range(size)]
        tables = np.where(
            rng.random((size, *[card] * arity)) < zeros / 2, -np.inf, rng.normal(size=(size, *[card] * arity))
        )
        tables[(np.arange(size), *truth[np.array(scopes)].T)] = rng.normal(size=size)
        graph.factors(f"f{arity} {len(graph._groups)}", list(y[np.array(scopes)[:, k]] for k in range(arity)), tables)
    if rng.random() < 0.3:
        graph.factors("read", [n[[0]], y[[0]]], rng.normal(size=(1, n.family.cardinality, card)))
    return graph


def _told(rng, kinds, count, width):
    """Scores of counts that are known, noisy, or not known (G, width)."""
    s = np.arange(width)
    return np.array([
        {"hard": np.where(s == own, 0.0, -np.inf), "soft": -0.5 * (s - own - rng.normal()) ** 2, "none": 0.0 * s}[kind]
        for kind, own in zip(kinds, count, strict=True)
    ])  # fmt: skip


def member_states(graph):
    """All assignments of what holds no count, with the counts that follow (A, n); counts of counts are none."""
    structure = graph.structure
    totals = np.concatenate([np.zeros(0, int), *(count.totals for count in structure.counted)])
    free = np.setdiff1d(np.arange(structure.size), totals)
    grid = np.indices(tuple(structure.cardinalities[free])).reshape(len(free), -1).T
    x = np.zeros((len(grid), structure.size), np.int64)
    x[:, free] = grid
    for count in structure.counted:
        hits = np.concatenate(
            [np.zeros((len(x), 1), int), np.cumsum(x[:, count.members] == count.states, axis=1)], axis=1
        )
        x[:, count.totals] = np.diff(hits[:, count.starts], axis=1)
    return x


def member_scores(graph):
    """The same, and their log scores (A,)."""
    x = member_states(graph)
    return x, np.asarray(scores_at(graph.structure, graph.potentials, x))
