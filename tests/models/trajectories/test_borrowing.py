"""The number of persons that classes borrow is the one that the data make likeliest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.models.trajectories import TrajectoryMixture, pack, unpack
from lawful.models.trajectories.fitting import choose_shrinkage
from lawful.models.trajectories.fitting.choose_shrinkage import chosen_pooling, differences, log_evidence, with_pooling
from lawful.models.trajectories.likelihood.penalties import log_pooling

from .test_pooling import GIVEN, MODELS, ONE, at_random
from .truth import BOUNDS


@pytest.mark.rest_slow
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_penalty_curves_along_as_many_differences_as_the_evidence_counts(model):
    """Where classes are alike, in the free parameters."""
    at = at_random(model)

    def alike(leaf, name):
        return leaf if name in ("gate", "mean", "shape") else np.broadcast_to(np.asarray(leaf)[:1], leaf.shape)

    given = {name: jax.tree.map(lambda leaf, name=name: alike(leaf, name), leaf) for name, leaf in at._asdict().items()}
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[..., 0], at._replace(**given))
    free = jnp.asarray(pack(one, model, BOUNDS))
    curved = jax.jit(jax.hessian(lambda free: log_pooling(unpack(free[:, None], model, BOUNDS), model, ONE)[0]))(free)
    found = -np.linalg.eigvalsh(np.asarray(curved))
    largest = found.max()
    assert (found > -1e-9 * largest).all() and np.sum(found > 1e-9 * largest) == differences(model)


@pytest.mark.slow
def test_a_fit_with_the_number_chosen_is_the_fit_with_that_number_given(two_lines):
    data = two_lines[0]
    chosen = TrajectoryMixture(2, "LIN", n_starts=2, penalty="pooled").fit(data, **GIVEN)
    given = TrajectoryMixture(2, "LIN", n_starts=2, penalty="pooled", pooling=chosen.pooling).fit(data, **GIVEN)
    np.testing.assert_array_equal(chosen.values, given.values)
    assert f"{chosen.pooling:g} persons borrowed by each class" in chosen.summary()
    found = {}
    for persons in (chosen.pooling / 4, chosen.pooling, chosen.pooling * 4):
        fit = TrajectoryMixture(2, "LIN", n_starts=2, penalty="pooled", pooling=persons).fit(data, **GIVEN)
        found[persons] = log_evidence(fit.free, fit.search.value[fit.search.best], fit.problem, fit.model)
    assert max(found, key=found.get) == chosen.pooling, found
    single = with_pooling(chosen.problem, 0.0)
    assert chosen_pooling(single, given.model, 2, 0) == chosen.pooling
    assert TrajectoryMixture(1, "LIN", n_starts=2, penalty="pooled").fit(data, **GIVEN).pooling == 0


@pytest.mark.slow
def test_numbers_whose_fit_is_no_maximum_or_empties_a_class_are_passed_over(two_lines, monkeypatch):
    data = two_lines[0]
    chosen = TrajectoryMixture(2, "LIN", n_starts=2, penalty="pooled").fit(data, **GIVEN)
    best = chosen.free, chosen.search.value[chosen.search.best], chosen.problem, chosen.model
    assert np.isfinite(log_evidence(*best))
    away = best[0] + 0.3 * np.random.default_rng(0).normal(size=len(best[0]))
    assert log_evidence(away, *best[1:]) == -np.inf
    evidence = {10.0: -np.inf, 30.0: 1.0, 100.0: -np.inf, 300.0: 2.0}
    monkeypatch.setattr(
        choose_shrinkage,
        "log_evidence",
        lambda free, value, posed, model: evidence.get(float(posed.pooling.persons), 0.0),
    )
    assert chosen_pooling(chosen.problem, chosen.model, 2, 0) == 300
    monkeypatch.setattr(choose_shrinkage, "log_evidence", lambda *_: -np.inf)
    with pytest.raises(LawfulError, match="do not tell how many.*pooling=100"):
        chosen_pooling(chosen.problem, chosen.model, 2, 0)


@pytest.mark.slow
@pytest.mark.optimised
def test_a_wave_that_nobody_was_seen_at_counts_for_nothing(two_lines):
    """Its moments of a covariate are touched by neither data nor penalty: the evidence is that without the wave."""
    data = two_lines[0] | {f"V{j}": np.sin(np.arange(80.0) * j) for j in range(1, 6)}
    data |= {"Y5": np.full(80, np.nan), "T5": np.full(80, 4.0)}
    found = {}
    for waves in (4, 5):
        model = TrajectoryMixture(2, "LIN", n_starts=2, penalty="pooled", pooling=100)
        fit = model.fit(data, **(GIVEN | {"records": range(1, waves + 1)}), time_varying="V")
        found[waves] = [
            log_evidence(fit.free, fit.search.value[fit.search.best], with_pooling(fit.problem, m), fit.model)
            for m in (100.0, 400.0)
        ]
    assert np.diff(found[5]) == pytest.approx(np.diff(found[4]), abs=1e-3)
