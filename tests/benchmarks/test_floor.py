"""The floor of W1 obeys the law of the library, or its times would mean nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import workloads
from benchmarks.contestants import threefry
from benchmarks.contestants.w1 import floor
from lawful.inference.check.statistics.power import z_critical

pytestmark = pytest.mark.usefixtures("single_precision")  # the floor is a float32 program


@pytest.mark.rest_slow
@pytest.mark.parametrize("n", [2, 7, 1000, 2**17])
def test_offspring_are_within_one_of_their_share(n):
    weight = np.random.default_rng(20262).gamma(0.5, size=n).astype(np.float32)
    weight[: n // 3] = 0
    share = n * weight.astype(np.float64) / weight.sum(dtype=np.float64)
    for u in (0.0, 0.37, 0.999):
        offspring = np.bincount(np.clip(floor.ancestors(jnp.asarray(weight), jnp.float32(u)), 0, n - 1), minlength=n)
        # at 2^17 a float32 sum moves a boundary by up to a few slots in a hundred
        assert np.abs(offspring - share).max() < 1.1
        assert offspring[weight == 0].sum() == 0


def test_uniform_weights_move_no_particle_by_more_than_a_slot():
    # c_i - u is rounded to 2^-8 beyond 2^15, so that a boundary may fall one slot early
    for u in (0.0, 0.5, 0.999):
        kept = floor.ancestors(jnp.ones(100_000, jnp.float32), jnp.float32(u))
        assert np.abs(np.asarray(kept) - np.arange(100_000)).max() <= (1 if u > 0.99 else 0)


@pytest.mark.rest_slow
@pytest.mark.parametrize("normal", [threefry.normal, jax.random.normal], ids=["written out", "jax.random"])
@pytest.mark.parametrize("model", ["LG", "SV"])
def test_the_floors_evidence_is_unbiased(model, normal, false_alarm):
    # 4000 runs of 16 particles over 10 steps
    constants, y = workloads.MODELS[model], workloads.observations(model)[:10]
    exact = {"LG": workloads.kalman_filter, "SV": workloads.point_mass_filter}[model](constants, y)[0]
    program = floor.filter_program(constants, 16, normal)
    outputs = jax.jit(jax.vmap(program, (0, None)))(
        jax.random.split(jax.random.key(20263), 4000), jnp.asarray(y, jnp.float32)
    )
    ratios = np.exp(np.float64(outputs["log_evidence"]) + np.float64(outputs["log_evidence_remainder"]) - exact)
    error = ratios.std() / len(ratios) ** 0.5
    assert error < 0.02
    assert abs(ratios.mean() - 1) < z_critical(false_alarm) * error


def test_an_all_dead_population_has_evidence_zero_and_no_nan():
    program = jax.jit(floor.filter_program(workloads.MODELS["LG"], 8))
    outputs = program(jax.random.key(0), jnp.asarray([0.0, 1e30, 0.0], jnp.float32))
    assert outputs["log_evidence"] == -jnp.inf
    assert not jnp.isnan(outputs["log_evidence_remainder"])


def test_the_written_out_generator_draws_what_jax_draws():
    key = jax.random.key(20264)
    with jax.threefry_partitionable(False):
        assert np.array_equal(threefry.bits(key, 1000), jax.random.bits(key, (1000,)))
        assert np.array_equal(threefry.normal(key, (1000,)), jax.random.normal(key, (1000,)))


def test_the_floor_neither_sorts_nor_calls_the_host():
    text = str(jax.make_jaxpr(floor.filter_program(workloads.MODELS["LG"], 64))(jax.random.key(0), jnp.zeros(5)))
    assert "sort" not in text.replace("indices_are_sorted", "")
    assert "callback" not in text
