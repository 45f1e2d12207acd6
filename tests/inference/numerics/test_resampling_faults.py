"""Dead, NaN and infinite weights leave the population untouched, in every scheme and in their own lane only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.errors import IndexRangeError, LawfulError, PathLimitError
from lawful.inference.laws.resampling_schemes import SCHEMES, scheme
from lawful.inference.laws.systematic_resampling import systematic

NAMES = sorted(SCHEMES)
every_scheme = pytest.mark.parametrize("name", NAMES)
KEY = jax.random.key(4)
DRAW = {name: jax.jit(SCHEMES[name].draw, static_argnums=2) for name in NAMES}
DRAW_ALL = {name: jax.jit(jax.vmap(SCHEMES[name].draw, in_axes=(0, 0, None)), static_argnums=2) for name in NAMES}
ENUMERATE = {name: jax.jit(SCHEMES[name].enumerate, static_argnums=1) for name in NAMES}

NOT_USABLE = {
    "all zero": [0.0] * 4,
    "one NaN": [1.0, jnp.nan, 1.0, 1.0],
    "all NaN": [jnp.nan] * 4,
    "one infinite": [1.0, jnp.inf, 1.0, 1.0],
}


@pytest.mark.regression("15.5")
@pytest.mark.rest_slow
@every_scheme
@pytest.mark.parametrize("case", NOT_USABLE)
@pytest.mark.parametrize("m", [4, 6])
def test_weights_without_a_finite_positive_sum_leave_the_population_untouched(name, case, m):
    weights = jnp.array(NOT_USABLE[case])
    identity = np.arange(m) % 4
    np.testing.assert_array_equal(DRAW[name](KEY, weights, m), identity)
    ancestors, log_masses = ENUMERATE[name](weights, m)
    np.testing.assert_array_equal(ancestors, np.broadcast_to(identity, ancestors.shape))
    assert abs(jnp.exp(log_masses).sum() - 1) < 1e-12


@pytest.mark.rest_slow
@pytest.mark.regression("15.5")
@every_scheme
@pytest.mark.parametrize("case", NOT_USABLE)
def test_a_faulty_lane_leaves_the_others_bit_identical(name, case):
    rng = np.random.default_rng(0)
    rows = rng.exponential(size=(3, 4))
    rows[1] = NOT_USABLE[case]
    keys = jax.random.split(KEY, 3)
    together = DRAW_ALL[name](keys, jnp.asarray(rows), 4)
    for lane in (0, 2):
        np.testing.assert_array_equal(together[lane], DRAW[name](keys[lane], jnp.asarray(rows[lane]), 4))
    np.testing.assert_array_equal(together[1], np.arange(4))


@pytest.mark.rest_slow
@every_scheme
def test_dead_weights_make_no_nan_on_the_way(name):
    with jax.debug_nans(True):
        SCHEMES[name].draw(KEY, jnp.zeros(4), 4)


@pytest.mark.parametrize("m", [0, -1, 1 << 31])
def test_a_number_of_offspring_that_is_no_size_is_refused(m):
    with pytest.raises(IndexRangeError, match="give a number from 1"):
        systematic.draw(KEY, jnp.ones(3), m)


def test_an_unknown_scheme_names_the_known_ones():
    with pytest.raises(LawfulError, match="multinomial, residual, stratified, systematic"):
        scheme("bootstrap")


def test_an_enumeration_that_float32_cannot_hold_is_refused():
    with pytest.raises(PathLimitError, match="float64"):
        jax.eval_shape(lambda w: systematic.enumerate(w, 1), jax.ShapeDtypeStruct(((1 << 17) + 1,), jnp.float32))
