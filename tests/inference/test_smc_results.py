"""What a particle filter gives back: names, shapes, numbers of every stage, and errors that say what to do."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from jaxtyping import TypeCheckError

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import kernels
from tests.inference.programs import (
    Y,
    branch_in_the_body,
    constant_per_particle,
    factor_in_the_loop,
    factor_only,
    plain,
    plate_in_the_body,
    returns_a_dict,
    weighed_before_and_after,
)
from tests.inference.running import same
from tests.tiers import rest_slow


def test_paths_hold_every_choice_with_its_steps_and_named_values():
    result = inference.smc(plate_in_the_body, particles=5, runs=2)(jax.random.key(0), Y)
    assert {name: array.shape for name, array in result.posterior.items()} == {"z": (2, 5, 2, 2), "total": (2, 5, 2)}
    np.testing.assert_array_equal(result.posterior["total"], result.posterior["z"].sum(axis=-1))
    assert result.dims["z"] == ("time", "pair")


def test_the_value_of_an_arm_that_did_not_run_is_not_a_number():
    """The right arm, which draws `extra`, runs in a step that starts from 0, as the first one does."""
    result = inference.smc(branch_in_the_body, particles=20)(jax.random.key(1), Y)
    shared, extra = result.posterior["shared"], result.posterior["extra"]
    after = np.minimum(shared + np.nan_to_num(extra), 1)
    np.testing.assert_array_equal(np.isnan(extra[..., 1]), after[..., 0] == 1)
    assert not np.isnan(extra[..., 0]).any() and not np.isnan(shared).any()
    assert 0 < np.isnan(extra[..., 1]).sum() < 20


@pytest.mark.slow
def test_a_returned_dict_gives_its_keys_and_other_returns_numbered_names():
    key = jax.random.key(0)
    result = inference.smc(returns_a_dict, particles=4, keep="last")(key, Y)
    assert {name: array.shape for name, array in result.posterior.items()} == {"last": (1, 4), "other": (1, 4)}
    np.testing.assert_array_equal(result.posterior["other"], 3 - result.posterior["last"])
    one = inference.smc(plain, particles=4, keep="last")(key, Y)
    assert list(one.posterior) == ["returned"]

    def pair(y):
        z = plain(y)
        return z, {"twice": 2 * z}

    assert list(inference.smc(pair, particles=4, keep="last")(key, Y).posterior) == ["returned_0", "1.twice"]


def coin():
    lawful.sample("y", dist.Normal(lawful.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=0.3)


POPULATIONS = {
    "smc": (lambda: inference.smc(plain, particles=4, runs=2), (Y,), 1 + len(Y)),
    "importance": (lambda: inference.importance(coin, particles=4, runs=2), (), 1),
    "eager smc": (lambda: inference.smc(plain, particles=4, runs=2, mode="eager"), (Y,), 1 + len(Y)),
    "annealed importance": (lambda: inference.annealed_importance(coin, particles=4, ladder=3, runs=2), (), 3),
    "tempered smc": (lambda: inference.tempered_smc(coin, particles=4, ladder=[0.3, 1.0], runs=2), (), 2),
    "smc2": (
        lambda: inference.smc2(same.walk, kernels.random_walk(0.5), ["sd"], particles=4, inner=2, runs=2), (same.Y,), 5
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", rest_slow(POPULATIONS))
def test_every_population_tells_its_number_of_stages(name):
    build, args, stages = POPULATIONS[name]
    result = build()(jax.random.key(0), *args)
    assert np.shape(result.stats["log_evidence_increment"]) == (2, stages)
    assert result.stats["n_stages"].tolist() == [stages, stages]
    assert result.to_datatree()["sample_stats_smc"].n_stages.dims == ("chain",)


def test_numbers_of_every_stage_are_kept():
    """Stage 0 is before the loop, then one stage a step, then one for what is weighed after it."""
    result = inference.smc(weighed_before_and_after, particles=10, runs=3)(jax.random.key(0), Y)
    increments = result.stats["log_evidence_increment"]
    assert increments.shape == result.stats["ess"].shape == (3, 4)
    np.testing.assert_allclose(increments.sum(axis=1), result.log_evidence, rtol=1e-12)
    assert (result.stats["ess"] >= 1 - 1e-12).all() and (result.stats["ess"] <= 10 + 1e-12).all()


def test_a_program_without_latent_sites_has_its_exact_evidence():
    for program in (factor_only, factor_in_the_loop):
        result = inference.smc(program, particles=3, runs=2, keep="last")(jax.random.key(0), Y)
        exact = float(lawful.handlers.trace(program)(Y).log_density)
        np.testing.assert_allclose(result.log_evidence, exact, rtol=1e-14)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"particles": -3}, "particles: expected an integer of 1 or more, got -3"),
        ({"particles": 2.0}, "particles"),
        ({"particles": 2, "runs": 0}, "runs"),
        ({"particles": 2, "keep": "all"}, "keep.*'all'"),
        ({"particles": 2, "nonfinite": "ignore"}, "nonfinite"),
        ({"particles": 2, "resampling": "sorted"}, "'sorted': choose one of multinomial, residual"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_when_the_plan_is_built(settings, named):
    with pytest.raises((LawfulError, TypeCheckError), match=named):  # types are checked first while tests run
        inference.smc(plain, **settings)


def test_a_key_is_a_typed_key_or_an_integer():
    plan = inference.smc(plain, particles=3, keep="last")
    np.testing.assert_array_equal(plan(3, Y).log_evidence, plan(jax.random.key(3), Y).log_evidence)
    with pytest.raises(LawfulError, match="expected one typed key"):
        plan(jax.random.split(jax.random.key(0), 2), Y)


def test_a_plan_prints_its_composition_and_its_sites():
    plan = inference.smc(constant_per_particle, particles=3)
    assert repr(plan) == f"smc({plan.method.composition})"
    text = plan.plan(Y)
    assert "resample(systematic, when ess < 0.5 N)" in text
    assert "theta: drawn from its prior" in text and "z: drawn from its prior" in text


def _one_informative_step(y):
    """A level that stays as it was drawn, and is looked at in the second of three steps alone."""
    level = lawful.sample("level", dist.Normal(0.0, 1.0))

    def step(carry, y):
        lawful.factor("seen", -8.0 * y * (level - 1.0) ** 2)
        return carry, None

    lawful.scan(step, 0.0, y)


SEEN_ONCE = np.array([0.0, 1.0, 0.0])
RESAMPLINGS = ("systematic", "stratified", "multinomial", "residual")


@pytest.mark.rest_slow
@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_distinct_ancestors_of_a_stage_are_the_values_that_its_resampling_left(resampling):
    """Only the third step resamples, after the one observation; no value was drawn twice."""
    result = inference.smc(_one_informative_step, particles=200, runs=3, resampling=resampling, resample_below=0.9)(
        jax.random.key(0), SEEN_ONCE
    )
    left = [len(np.unique(row)) for row in result.weighted[0]["level"]]
    assert all(20 < count < 150 for count in left)
    np.testing.assert_array_equal(result.stats["resampled"][:, 1:], [[0, 0, 1]] * 3)
    np.testing.assert_array_equal(result.stats["n_unique"], [[np.nan, 200, 200, count] for count in left])


@pytest.mark.rest_slow
@pytest.mark.parametrize(("mode", "at"), [("staged", 3), ("eager", 2)])
def test_a_stage_that_always_resamples_counts_no_more_than_it_kept(mode, at):
    """Systematic resampling of equal weights keeps all; an eager step goes on from its factor, and chooses earlier."""
    plan = inference.smc(_one_informative_step, particles=50, resample_below=None, mode=mode)
    result = plan(jax.random.key(1), SEEN_ONCE)
    left = len(np.unique(result.weighted[0]["level"]))
    assert left < 50
    expected = np.array([[np.nan, 50.0, 50.0, 50.0]])
    expected[0, at] = left
    np.testing.assert_array_equal(result.stats["n_unique"], expected)
