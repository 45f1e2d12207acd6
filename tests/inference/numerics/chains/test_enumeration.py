"""Every answer of a small chain is the one found by listing all paths."""

import jax
import numpy as np
import pytest

from lawful.inference.graphs.chains import Chain, best_path, chain, filtered, marginals, path_score, predict
from tests.inference.numerics.chains.exact import by_enumeration, enumerated, random_chain

METHODS = ["sequential", "associative"]
KINDS = [
    dict(each=each, masked=masked, zeros=zeros)
    for each in (False, True)
    for masked in (False, True)
    for zeros in (False, True)
]


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(k for k, on in kind.items() if on) or "plain")
def test_all_answers_are_those_of_the_list_of_paths(kind, method):
    given = random_chain(1, **kind)
    exact, node, pairs = by_enumeration(given)
    found = marginals(given, "each", method)
    assert float(found.log_z) == pytest.approx(exact, rel=1e-13)
    np.testing.assert_allclose(found.node, node, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(found.pairs, pairs, rtol=1e-12, atol=1e-300)
    assert ((np.asarray(found.node) == 0) == (node == 0)).all()

    there = np.ones(given.steps, bool) if given.live is None else np.asarray(given.live)
    summed = marginals(given, "sum", method)
    np.testing.assert_allclose(summed.pairs, pairs[there[1:]].sum(0), rtol=1e-12, atol=1e-300)

    forward = filtered(given, method)
    for t in range(given.steps):
        moves = given.transition if given.shared else given.transition[:t]
        part = Chain(given.node[: t + 1], moves, None if given.live is None else given.live[: t + 1])
        exact, node, _ = by_enumeration(part)
        assert float(forward.increments[: t + 1].sum()) == pytest.approx(exact, abs=1e-12)
        np.testing.assert_allclose(np.exp(forward.log_law[t]), node[-1], rtol=1e-12, atol=1e-300)

    paths, scores = enumerated(given)
    best = best_path(given, method)
    assert float(best.value) == pytest.approx(scores.max(), rel=1e-13)
    assert best.path.tolist() == paths[scores.argmax()].tolist()
    assert float(best.value) == float(path_score(given, best.path).high)


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("each", [False, True])
def test_a_prediction_is_the_last_law_of_a_chain_without_further_evidence(method, each):
    given = random_chain(2, steps=3)
    ahead = random_chain(3, steps=4, each=each).transition
    found = predict(filtered(given, method).log_law[-1], ahead, 3, method)
    for k in range(1, 4):
        node = np.concatenate([given.node, np.zeros((k, 3))])
        moves = np.broadcast_to(given.transition, (2, 3, 3))
        moves = np.concatenate([moves, np.broadcast_to(ahead, (3, 3, 3))[:k]])
        np.testing.assert_allclose(np.exp(found[k - 1]), by_enumeration(chain(node, moves))[1][-1], rtol=1e-12)
    assert predict(found[0], given.transition, 0).shape == (0, 3)


def test_both_methods_agree_in_float32_to_its_precision():
    for seed in range(5):
        wide = random_chain(seed, zeros=seed % 2 == 0)
        exact, node, _ = by_enumeration(wide)
        given = jax.tree.map(lambda x: x.astype("float32"), wide)
        for method in METHODS:
            found = marginals(given, "none", method)
            assert found.node.dtype == np.float32
            assert float(found.log_z) == pytest.approx(exact, rel=2e-6)
            np.testing.assert_allclose(found.node, node, atol=2e-6)


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", METHODS)
def test_steps_that_are_masked_out_leave_the_chain_without_them(method):
    short = random_chain(4, steps=4)
    there = np.array([True, False, True, True, False, False, True, False])
    node = np.full((8, 3), -np.inf)  # what stands at a step that is masked out is of no account
    node[there] = short.node
    found, exact = marginals(chain(node, short.transition, mask=there), "sum", method), marginals(short, "sum")
    assert float(found.log_z) == pytest.approx(float(exact.log_z), rel=1e-14)
    before = np.cumsum(there) - 1
    np.testing.assert_allclose(found.node, exact.node[before], rtol=1e-12)
    np.testing.assert_allclose(found.pairs, exact.pairs, rtol=1e-12)
    path = np.asarray(best_path(chain(node, short.transition, mask=there), method).path)
    assert path.tolist() == np.asarray(best_path(short).path)[before].tolist()


@pytest.mark.parametrize("method", METHODS)
def test_ties_go_to_the_lowest_index_from_the_last_state_back(method):
    """Scores that are small integers: floats add them exactly, so ties are ties."""
    tied = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        given = chain(rng.integers(0, 2, (4, 3)).astype(float), rng.integers(0, 2, (3, 3)).astype(float))
        paths, scores = enumerated(given)
        best = paths[scores == scores.max()]
        tied += len(best) > 1
        lowest = min(best.tolist(), key=lambda path: path[::-1])
        found = best_path(given, method)
        assert found.path.tolist() == lowest and float(found.value) == scores.max()
    assert tied > 10
