"""Labels of counted rows with neighbours: most probable and drawn, against all labellings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError, ObservationError
from lawful.models.llp import Bags, Normal
from lawful.models.llp.coupling import Coupling
from lawful.models.llp.dual_bound import dual_bound
from lawful.models.llp.fields import joint_of, log_score
from lawful.models.llp.gibbs import gibbs_labels, redrawn_apart, redrawn_pairs
from lawful.models.llp.swaps import improved
from lawful.models.llp.transduction import drawn_labels, most_probable_labels, transduced
from tests.models.llp.truth import labellings, log_weights_of_counts
from tests.tiers import rest_slow

N = 9
CASES = ["counts", "noisy", "classes", "clique"]


def case(kind, seed=0):
    """Log odds, bags of three, one row in no bag, and neighbours; in a clique all members of a bag are neighbours."""
    rng = np.random.default_rng(seed)
    classes = 3 if kind == "classes" else 2
    n = 6 if kind == "classes" else N
    ids = np.array([0, 0, 0, 1, 1, 1, 2, 2, -1])[:n]
    if kind == "classes":
        ids[-1] = -1
        z = jax.nn.log_softmax(jnp.asarray(rng.normal(size=(n, 3))))
        bags = Bags.from_ids(ids, [[1, 1, 1], [1, 0, 1]])
    else:
        z = jnp.asarray(rng.normal(size=n))
        noise = Normal(0.7) if kind == "noisy" else None
        bags = Bags.from_ids(ids, [1.3, 1.9, np.nan] if kind == "noisy" else [1, 2, np.nan], noise=noise)
    pairs = np.stack(np.triu_indices(n, 1), axis=1)
    edges = pairs[rng.permutation(len(pairs))[: n + 2]]
    if kind == "clique":
        edges = np.array([[0, 1], [0, 2], [1, 2], [3, 4], [3, 5], [4, 5], [2, 3], [6, 7], [7, 8]])
    shares = np.full(classes, 1 / classes) if kind == "classes" else 0.35
    return z, bags, Coupling(edges, np.linspace(0.2, 0.6, len(edges)), shares, 2.0)


def scores_of_all(z, bags, coupling):
    """All labellings, and log P of each with the reports, up to a constant of the reports."""
    n, classes = len(z), bags.n_classes
    y = labellings(n, classes)
    scores = np.stack([-np.logaddexp(0, z), -np.logaddexp(0, -z)], axis=1) if z.ndim == 1 else np.asarray(z)
    total = scores[np.arange(n), y].sum(axis=1) + log_weights_of_counts(bags, y)
    tables = np.broadcast_to(coupling.log_table, (len(coupling.edges), classes, classes))
    for (i, j), table in zip(coupling.edges, tables, strict=True):
        total += table[y[:, i], y[:, j]]
    return y, total


@pytest.mark.parametrize("kind", CASES)
def test_scores_are_those_of_the_measure(kind):
    z, bags, coupling = case(kind)
    y, total = scores_of_all(z, bags, coupling)
    joint = joint_of(z, bags, coupling)
    told = jax.vmap(log_score, (None, 0))(joint, y.astype(np.int32))
    np.testing.assert_allclose(told, total, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", rest_slow(range(3)))
@pytest.mark.parametrize("kind", rest_slow(CASES, 2))
def test_the_most_probable_labels_are_those_of_all_labellings(kind, seed):
    z, bags, coupling = case(kind, seed)
    y, total = scores_of_all(z, bags, coupling)
    found = most_probable_labels(z, bags, coupling)
    assert found.labels.tolist() == y[np.argmax(total)].tolist()
    np.testing.assert_allclose(found.log_score, total.max(), rtol=1e-10)
    assert total.max() <= found.bound + 1e-9


@pytest.mark.kills("40q")
@pytest.mark.slow
def test_the_bound_is_the_best_score_on_a_tree_and_a_bound_however_short_the_search():
    z, bags, coupling = case("counts")
    tree = Coupling(np.array([[2, 3], [7, 8]]), 0.5, 0.35, 0.5)
    for given, room in ((tree, 1e-6), (coupling, np.inf)):
        total = scores_of_all(z, bags, given)[1]
        joint = joint_of(z, bags, given)
        bounds = [dual_bound(joint, bags, steps=steps).value for steps in (1, 30)]
        assert all(bound >= total.max() - 1e-9 for bound in bounds) and bounds[1] <= bounds[0] + 1e-9
        assert bounds[1] <= total.max() + room


@pytest.mark.kills("40p", kind="counts")
@pytest.mark.rest_slow
@pytest.mark.parametrize("kind", CASES)
def test_a_search_ends_where_no_exchange_within_a_bag_helps(kind):
    z, bags, coupling = case(kind, 5)
    y, total = scores_of_all(z, bags, coupling)
    score = {tuple(each): value for each, value in zip(y.tolist(), total, strict=True)}
    joint = joint_of(z, bags, coupling)
    starts = y[np.flatnonzero(np.isfinite(total))]
    for start in starts[:: max(1, len(starts) // 5)]:
        found = improved(joint, start)
        here = score[tuple(found.tolist())]
        assert here >= score[tuple(start.tolist())]
        for i in range(len(found)):
            for j in range(i):
                if bags.ids[i] == bags.ids[j] >= 0:
                    other = found.copy()
                    other[[i, j]] = found[[j, i]]
                    assert score[tuple(other.tolist())] <= here + 1e-9
            for label in range(bags.n_classes):
                other = np.where(np.arange(len(found)) == i, label, found)
                assert score[tuple(other.tolist())] <= here + 1e-9


@pytest.mark.kills("40n", kind="counts", step=redrawn_apart)
@pytest.mark.kills("40o", kind="counts", step=redrawn_pairs)
@pytest.mark.tier1
@pytest.mark.rest_slow
@pytest.mark.parametrize("step", [redrawn_apart, redrawn_pairs])
@pytest.mark.parametrize("kind", CASES)
def test_each_step_of_the_walk_leaves_the_law_of_the_labels(kind, step):
    """Exact draws, one step each: frequencies of all labellings by a chi-square of false alarm rate 1e-6."""
    z, bags, coupling = case(kind)
    y, total = scores_of_all(z, bags, coupling)
    p = np.exp(total - np.logaddexp.reduce(total))
    draws = 10_000
    start = np.random.default_rng(0).choice(len(y), draws, p=p)
    joint = jax.tree.map(jnp.asarray, joint_of(z, bags, coupling))
    a, b = jnp.int32(0), jnp.int32(1 if bags.n_classes == 2 else 2)
    moved = jax.jit(jax.vmap(lambda key, y: step(key, joint, y, a, b)))(
        jax.random.split(jax.random.key(1), draws), jnp.asarray(y[start], jnp.int32)
    )
    place = bags.n_classes ** np.arange(len(z))[::-1]
    after = np.asarray(moved) @ place
    assert np.mean(after != start) > 0.1
    found, expected = np.bincount(after, minlength=len(y)), draws * p
    assert found[p == 0].sum() == 0
    often = expected > 5
    excess = np.sum((found[often] - expected[often]) ** 2 / expected[often]) - often.sum()
    assert excess < 5.5 * np.sqrt(2 * often.sum()) + 15


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clique", "classes"])
def test_the_walk_reaches_the_law_from_anywhere(kind):
    z, bags, coupling = case(kind)
    y, total = scores_of_all(z, bags, coupling)
    p = np.exp(total - np.logaddexp.reduce(total))
    start = y[np.argmin(np.where(np.isfinite(total), total, np.inf))]
    joint, walks = joint_of(z, bags, coupling), 2000
    walk = jax.vmap(lambda key: gibbs_labels(joint, start, key, steps=30)[0])
    ends = np.asarray(walk(jax.random.split(jax.random.key(3), walks)))
    for k in range(1, bags.n_classes):
        truth = p @ (y == k)  # a false alarm rate of 1e-6 over all numbers, and room for what thirty steps leave
        assert np.all(np.abs((ends == k).mean(axis=0) - truth) < 5.5 * np.sqrt(0.25 / walks) + 0.01)


@pytest.mark.slow
def test_draws_without_neighbours_have_the_law_of_the_labels():
    z, bags, _ = case("counts")
    none = Coupling(np.zeros((0, 2), int), np.zeros(0), 0.35, 0.0)
    y, total = scores_of_all(z, bags, none)
    truth = np.exp(total - np.logaddexp.reduce(total)) @ y
    draws = drawn_labels(z, bags, np.random.default_rng(0), draws=2000)
    assert np.all(np.abs(draws.mean(axis=0) - truth) < 5.5 * np.sqrt(0.25 / 2000))


def test_bags_that_overlap_have_no_fields():
    bags = Bags.from_membership([[1, 1, 0], [0, 1, 1]], [1, 1])
    with pytest.raises(LawfulError, match=r"overlap.*Fix: kind='marginal' or 'map'"):
        joint_of(np.zeros(3), bags)


@pytest.mark.rest_slow
@pytest.mark.parametrize("kind", ["marginal", "map", "sample"])
def test_counts_that_infinite_log_odds_exclude_are_refused(kind):
    bags = Bags.from_ids([0, 0, 1, 1], [0, 1])
    with pytest.raises(ObservationError, match="bag 1, 1, is impossible.*Fix"):
        transduced(kind, np.array([-np.inf, -np.inf, -np.inf, -np.inf]), bags)
    told = transduced(kind, np.array([-np.inf, -1000.0, -np.inf, -1000.0]), bags)  # finite ones leave all possible
    labels = {"marginal": "posterior", "map": "labels"}.get(kind)
    np.testing.assert_allclose(told if labels is None else getattr(told, labels), [0, 0, 0, 1], atol=1e-12)
