"""A temperature solves its own equation, on likelihoods without symmetry too, and a ladder ends at the end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.inference.laws.resampling_schemes import ess
from lawful.inference.transformers.temperatures import by_ess, given, next_increase
from tests.tiers import rest_slow

N = 1000
solved = jax.jit(next_increase, static_argnums=3)
RNG = np.random.default_rng(0)
LIKELIHOODS = {  # log likelihoods of 1000 particles; none but the last is symmetric
    "gamma": -30 * RNG.gamma(0.5, size=N),
    "long tail": -5 * np.exp(2 * RNG.normal(size=N)),
    "one far ahead": np.r_[40.0, np.zeros(N - 1)],
    "huge": -1e6 * RNG.gamma(2.0, size=N),
    "half impossible": np.where(np.arange(N) % 2, -20 * RNG.gamma(2.0, size=N), -np.inf),
    "normal": 15 * RNG.normal(size=N),
}
LIKELIHOODS = {name: jnp.asarray(values) for name, values in LIKELIHOODS.items()}


@pytest.mark.regression("15.7c")
@pytest.mark.parametrize("fraction", rest_slow([0.5, 0.1, 0.9]))
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_an_interior_temperature_leaves_the_wanted_effective_size(name, fraction):
    slope = LIKELIHOODS[name]
    increase, residual, unsolved = solved(jnp.zeros(N), slope, jnp.array(0.0), fraction)
    assert not bool(unsolved)
    assert 0 < float(increase) <= 1
    alive = float(ess(jnp.where(jnp.isfinite(slope), 1.0, 0.0)))
    weight = jnp.where(jnp.isfinite(slope), jnp.exp(increase * (slope - jnp.max(slope))), 0.0)
    if float(increase) < 1:
        assert abs(float(ess(weight)) - fraction * alive) <= 1e-6 * N
        assert abs(float(residual)) <= 1e-6
    else:
        assert float(ess(weight)) >= fraction * alive


def test_weights_that_are_unequal_already_count():
    """The equation is about the weights after the step, those before it included."""
    log_weight = jax.random.normal(jax.random.key(5), (N,))
    slope = LIKELIHOODS["gamma"]
    increase, _, unsolved = solved(log_weight, slope, jnp.array(0.0), 0.5)
    assert not bool(unsolved)
    reached = float(ess(jnp.exp(log_weight + increase * slope)))
    assert abs(reached - 0.5 * float(ess(jnp.exp(log_weight)))) <= 1e-6 * N


def test_a_flat_likelihood_goes_to_the_end_at_once():
    for slope in (jnp.zeros(N), jnp.full(N, -3.0), jnp.full(N, -jnp.inf)):
        increase, residual, unsolved = solved(jnp.zeros(N), slope, jnp.array(0.25), 0.5)
        assert (float(increase), float(residual), bool(unsolved)) == (0.75, 0.0, False)


@pytest.mark.rest_slow
@pytest.mark.regression("15.7c")
@pytest.mark.parametrize("name", sorted(LIKELIHOODS.keys() - {"huge"}))  # without moves that one takes a million steps
def test_a_ladder_ends_at_exactly_one(name):
    ladder, slope = by_ess(0.5), LIKELIHOODS[name]
    step, rung_at = jnp.array(200), jax.jit(lambda at, power: ladder.rung((step,), 1, at, power, jnp.zeros(N), slope))
    at, power, powers = jnp.zeros((), jnp.int32), jnp.zeros(()), []
    while int(at) < 1:
        rung = rung_at(at, power)
        assert float(power + rung.increase) > float(power)
        at, power = rung.block, rung.power
        powers.append(float(at + power))
    assert powers[-1] == 1.0 and float(power) == 0.0
    assert np.all(np.diff(powers) > 0)


def test_when_the_stages_run_out_the_rest_enters_at_once_and_is_told():
    slope = -1e3 * jnp.arange(N)
    rung = by_ess(0.5, max_stages=3).rung((jnp.array(1),), 1, jnp.array(0), jnp.array(0.0), jnp.zeros(N), slope)
    assert int(rung.block) == 1 and bool(rung.unsolved)
    assert float(rung.increase) == 1.0


def test_a_given_ladder_climbs_every_block():
    increases, blocks, powers = given([0.25, 1.0]).steps(2)
    assert increases.tolist() == [0.25, 0.75, 0.25, 0.75]
    assert blocks.tolist() == [0, 1, 1, 2]
    assert powers.tolist() == [0.25, 0.0, 0.25, 0.0]


@pytest.mark.parametrize(
    ("powers", "match"),
    [([0.5], "the last power must be 1"), ([0.6, 0.5, 1.0], "must not decrease"), ([-0.1, 1.0], "nor be negative"),
     ([np.nan, 1.0], "finite"), ([], "at least one")],
)  # fmt: skip
def test_a_ladder_without_meaning_is_refused(powers, match):
    with pytest.raises(LawfulError, match=match):
        given(powers)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_a_fraction_without_meaning_is_refused(fraction):
    with pytest.raises(LawfulError, match="fraction between 0 and 1"):
        by_ess(fraction)


def test_more_blocks_than_stages_are_refused():
    with pytest.raises(LawfulError, match="max_stages=2"):
        by_ess(0.5, max_stages=2).stages(3)
