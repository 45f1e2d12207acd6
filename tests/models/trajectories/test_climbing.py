"""Climbs come to rest at maxima, on kinks too; starts alone and among others end alike; nothing becomes NaN."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.trajectories import Model, panel
from lawful.models.trajectories.fitting import search
from lawful.models.trajectories.fitting.objective import Problem, climb_all, curvature, describe_all
from lawful.models.trajectories.fitting.optimiser import Schedule, climb
from lawful.models.trajectories.fitting.scores_at import looking
from lawful.models.trajectories.fitting.search import searched
from lawful.models.trajectories.model.parameters import Bounds

from .truth import case

PLAIN = Schedule(jnp.zeros(1), jnp.full(1, 1e-10), 200)


def small(n=40, seed=0):
    """Two classes of lines, and a problem in standard units."""
    rng = np.random.default_rng(seed)
    t = np.tile(np.linspace(0, 1, 4), (n, 1))
    side = np.where(np.arange(n) < n // 2, 1.0, -1.0)
    y = side[:, None] * t + 0.3 * rng.normal(size=(n, 1)) + 0.1 * rng.normal(size=t.shape)
    return Problem(panel(y, t), Bounds(jnp.asarray(0.05), jnp.asarray(0.95)), jnp.asarray(0.0))


def test_a_kink_is_a_place_of_rest():
    """Median regression: the maximum of -sum |x - c| lies on the middle observation."""
    points = jnp.array([0.0, 1.0, 2.5, 7.0, 9.0])
    look = looking(lambda free, width, x: -jnp.sqrt((free[0] - x) ** 2 + width**2), points[None], 5)
    schedule = Schedule(jnp.array([0.5, 0.1, 0.0]), jnp.array([1e-2, 1e-2, 1e-9]), 200)
    found = jax.jit(lambda x: climb(look, x, jnp.ones(1), 0, schedule, 5))(jnp.array([8.0]))
    assert float(found.free[0]) == pytest.approx(2.5, abs=1e-6)


def test_what_is_held_stays_and_a_wall_of_nan_is_never_entered():
    target = jnp.array([[1.0], [2.0], [3.0]]) + jnp.array([-0.1, 0.0, 0.2, 0.4])[None]
    of = lambda free, width, x: jnp.where(free[0] < 1.05, -0.5 * jnp.sum((free - x) ** 2, axis=0), jnp.nan)
    found = climb(looking(of, target[None], 4), jnp.zeros(3), jnp.array([1.0, 1.0, 0.0]), 0, PLAIN, 4)
    assert float(found.free[2]) == 0.0
    assert np.isfinite(found.value) and float(found.free[0]) < 1.05
    below_the_wall = 4 * 0.5 * (2.125**2 + 1.05 * (2 * 1.125 - 1.05))  # what can be gained
    assert found.value > of(jnp.zeros((3, 1)), 0.0, target).sum() + 0.9 * below_the_wall


def test_a_climb_among_others_ends_where_it_ends_alone_and_describes_its_persons():
    problem, model = small(), Model("LIN", 2)
    free = jnp.asarray(np.random.default_rng(1).normal(size=(3, model.size)))
    ones, stage = jnp.ones_like(free), jnp.zeros(3, int)
    together = climb_all(free, ones, stage, PLAIN, problem, model)
    again = climb_all(free[jnp.array([1, 1, 1])], ones, jnp.array([1, 0, 1]), PLAIN, problem, model)
    np.testing.assert_array_equal(again.free[1], together.free[1])
    np.testing.assert_array_equal(again.free[0], free[1])  # begun after the last stage: it stays
    told = describe_all(together.free, problem, model)
    np.testing.assert_allclose(told.by_person.sum(axis=1), together.value, rtol=1e-10)
    np.testing.assert_allclose(told.shares.sum(axis=1), 1.0, rtol=1e-12)
    assert (np.abs(together.gradient[together.calm]) < 1e-2).all() and together.calm.any()
    compiled = climb_all._cache_size()
    climb_all(free, ones, stage, PLAIN._replace(steps=3), problem, model)
    assert climb_all._cache_size() == compiled


@pytest.mark.slow
def test_the_curvature_is_the_hessian_and_scores_add_up_to_the_gradient():
    model = Model("LIN", 1)
    _, made, free = case(model)
    problem = Problem(made, Bounds(jnp.asarray(0.0), jnp.asarray(1.0)), jnp.asarray(0.0))
    found, scores = curvature(jnp.asarray(free[:, 0]), problem, model)
    total = lambda at: jnp.sum(describe_all(at[None], problem, model).by_person)
    exact = jax.jit(jax.hessian(total))(jnp.asarray(free[:, 0]))
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores.sum(axis=1), jax.jit(jax.grad(total))(jnp.asarray(free[:, 0])), rtol=1e-9)


def test_the_best_of_a_search_is_no_lower_than_any_end_and_the_same_seed_finds_the_same():
    problem, model = small(), Model("LIN", 2)
    one, two = (searched(problem, model, 8, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.free, two.free)
    assert one.value[one.best] == one.value[~one.degenerate].max()
    assert one.shares[one.best] == pytest.approx([0.5, 0.5], abs=0.01)
    assert np.isfinite(one.free).all() and one.lost == 0


def test_climbs_by_an_executor_end_where_they_end_here():
    problem, model = small(), Model("LIN", 2)
    with ThreadPoolExecutor(2) as pool:
        found = searched(problem, model, 8, seed=3, map=pool)
    for one, other in zip(searched(problem, model, 8, seed=3).arrays, found.arrays, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_climbs_in_other_processes_end_where_they_end_here():
    problem, model = small(), Model("LIN", 2)
    found = searched(problem, model, 8, seed=3, map="processes")
    for one, other in zip(searched(problem, model, 8, seed=3).arrays, found.arrays, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_many_persons_are_searched_in_part_and_the_best_of_all_is_found(monkeypatch):
    problem, model = small(200), Model("LIN", 2)
    whole = searched(problem, model, 4, seed=1)
    monkeypatch.setattr(search, "MANY", 100)
    monkeypatch.setattr(search, "PART", 60)
    found = searched(problem, model, 4, seed=1)
    assert found.value[found.best] == pytest.approx(whole.value[whole.best], abs=1e-5)
    assert np.sum(found.start >= 0) + found.left == 4 and found.by_person.shape[1] == 200
