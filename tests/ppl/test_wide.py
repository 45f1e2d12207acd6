"""Pairs of words calculate as the integers modulo 2**64 do."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lawful.distributions.sampling import uint64 as wide
from lawful.distributions.sampling.uint64 import Wide

WORD, WHOLE = 1 << 32, 1 << 64
EDGES = [0, 1, WORD - 1, WORD, WORD + 1, 1 << 63, WHOLE - 1]
longs = st.lists(st.sampled_from(EDGES) | st.integers(0, WHOLE - 1), min_size=6, max_size=6)
words = st.lists(st.sampled_from([0, 1, WORD - 1]) | st.integers(0, WORD - 1), min_size=6, max_size=6)


def pair(values):
    return Wide(
        *(jnp.asarray(np.array(part, np.uint32)) for part in zip(*(divmod(v, WORD) for v in values), strict=True))
    )


def integers(a):
    return [int(h) * WORD + int(w) for h, w in zip(np.asarray(a.high), np.asarray(a.low), strict=True)]


@given(longs, longs)
def test_sums_differences_and_order_are_those_of_integers(a, b):
    assert integers(wide.add(pair(a), pair(b))) == [(x + y) % WHOLE for x, y in zip(a, b, strict=True)]
    assert integers(wide.subtract(pair(a), pair(b))) == [(x - y) % WHOLE for x, y in zip(a, b, strict=True)]
    assert wide.less(pair(a), pair(b)).tolist() == [x < y for x, y in zip(a, b, strict=True)]
    assert wide.negative(pair(a)).tolist() == [x >= WHOLE // 2 for x in a]


@given(longs, words)
def test_products_are_those_of_integers(a, b):
    factor = jnp.asarray(np.array(b, np.uint32))
    assert integers(wide.times(pair(a), factor)) == [x * y % WHOLE for x, y in zip(a, b, strict=True)]
    assert integers(wide.product(pair(a).low, factor)) == [x % WORD * y for x, y in zip(a, b, strict=True)]


@given(longs, longs)
def test_scaling_by_a_fraction_stays_below_and_within_two(a, b):
    for got, x, y in zip(integers(wide.scaled(pair(a), pair(b))), a, b, strict=True):
        assert 0 <= x * y // WHOLE - got <= 2


@given(longs)
def test_floats_are_the_nearest_of_the_signed_value(a):
    signed = [x - WHOLE if x >= WHOLE // 2 else x for x in a]
    np.testing.assert_allclose(wide.to_float(pair(a), jnp.float64), np.array(signed, float), rtol=1e-15, atol=0)


@given(longs, words)
def test_a_portion_of_a_count_is_their_product_over_two_to_the_64_rounded_down(a, b):
    count = jnp.asarray(np.array(b, np.uint32))
    assert wide.portion(count, pair(a)).tolist() == [x * y >> 64 for x, y in zip(a, b, strict=True)]
