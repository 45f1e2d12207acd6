"""The answers are those of the table of all assignments: messages, evidence, counts, members, best assignments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lawful.inference.graphs import counts
from tests.inference.numerics.counts import exact
from tests.inference.numerics.counts.cases import bags, marginals

SIZES = (0, 1, 2, 5)


def on_device(size):
    h, g = bags(size)
    return h, g, jnp.asarray(h), jnp.asarray(g)


@pytest.mark.kills("40", "40b", size=5, method="auto")
@pytest.mark.rest_slow
@pytest.mark.parametrize("method", ["auto", "blocks", "log"])
@pytest.mark.parametrize("size", SIZES)
def test_messages_and_evidence_are_those_of_the_table(size, method):
    h, g, *given = on_device(size)
    solved = counts.solve(*given, method=method)
    for row in range(len(h)):
        told, log_z = exact.solve(h[row], g[row])
        assert exact.error(solved.messages[row], told) < 1e-10, (row, h[row], g[row])
        assert exact.error(solved.log_evidence[row], log_z) < 1e-10, (row, h[row], g[row])


@pytest.mark.rest_slow
@pytest.mark.parametrize("size", [0, 5])
def test_unnormalised_evidence_adds_the_scores_of_zero(size):
    h, g, *given = on_device(size)
    free = np.where(np.isfinite(h), h, -np.inf)
    expected = counts.log_evidence(*given) + np.logaddexp(0, free).sum(axis=1)
    assert exact.error(counts.log_evidence(*given, normalised=False), expected) < 1e-12


@pytest.mark.rest_slow
@pytest.mark.parametrize("size", [1, 5])
def test_the_count_has_the_law_of_the_table(size):
    h, g, *given = on_device(size)
    found, prior = counts.count_posterior(*given), np.exp(counts.count_law(given[0]))
    for row in range(len(h)):
        y, p = exact.posterior(h[row], g[row])
        assert_allclose(found[row], np.bincount(y.sum(1), p, minlength=size + 1), atol=1e-12)
        y, p = exact.posterior(h[row], np.zeros(size + 1))
        assert_allclose(prior[row], np.bincount(y.sum(1), p, minlength=size + 1), rtol=1e-11, atol=1e-300)


@pytest.mark.slow
def test_members_have_the_law_of_the_table():
    h, g, *given = on_device(5)
    single = marginals(*given)
    for row in range(len(h)):
        y, p = exact.posterior(h[row], g[row])
        assert_allclose(single[row], p @ y, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5])
def test_max_messages_and_the_best_assignment_are_those_of_the_table(size):
    h, g, *given = on_device(size)
    told, best = counts.max_messages(*given), counts.best_assignment(*given)
    for row in range(len(h)):
        y, expected_told, score = best_of_table(h[row], g[row])
        assert exact.error(told[row], expected_told) < 1e-12, (row, h[row], g[row])
        assert exact.error(best.score[row], score.max()) < 1e-12, (row, h[row], g[row])
        if score.max() > -np.inf:
            chosen = np.asarray(best.assignment[row], int)
            assert score[(y == chosen).all(axis=1)] == pytest.approx(score.max(), abs=1e-12)
            assert best.ones[row] == chosen.sum()


def best_of_table(h, g):
    """Assignments, max-product messages and scores, with known members of no weight."""
    y = exact.assignments(len(h))
    finite = np.where(np.isfinite(h), h, 0)
    clash = ((h == np.inf) & (y == 0)) | ((h == -np.inf) & (y == 1))
    told = []
    for i in range(len(h)):
        rest = g[y.sum(1)] + (y * finite).sum(1) - y[:, i] * finite[i]
        rest = np.where(np.delete(clash, i, axis=1).any(axis=1), -np.inf, rest)
        told.append(exact.difference(rest[y[:, i] == 1].max(), rest[y[:, i] == 0].max()))
    return y, np.array(told), np.where(clash.any(axis=1), -np.inf, g[y.sum(1)] + (y * finite).sum(1))


def test_ties_go_to_the_lowest_index():
    best = jax.jit(counts.best_assignment)(jnp.zeros(4), counts.potentials.hard_count(2, 4))
    assert best.assignment.tolist() == [True, True, False, False]


@pytest.mark.slow
def test_negated_members_count_when_they_are_zero():
    h, g, *given = on_device(5)
    turned = np.array([True, False, False, True, True])
    sign = np.where(turned, -1.0, 1.0)
    solved = jax.jit(counts.solve)(*given, negated=turned)
    best = jax.jit(counts.best_assignment)(*given, negated=turned)
    for row in range(0, len(h), 3):
        told, log_z = exact.solve(sign * h[row], g[row])
        assert exact.error(solved.messages[row], sign * told) < 1e-10
        assert exact.error(solved.log_evidence[row], log_z) < 1e-10
        if log_z > -np.inf:
            chosen = np.asarray(best.assignment[row], int)
            top = (
                best_of_table(sign * h[row], g[row])[2].max() + np.where(turned & np.isfinite(h[row]), h[row], 0).sum()
            )
            assert best.score[row] == pytest.approx(top, abs=1e-10)
            score = g[row][(chosen ^ turned).sum()] + h[row][(chosen == 1) & np.isfinite(h[row])].sum()
            assert score == pytest.approx(top, abs=1e-10)
