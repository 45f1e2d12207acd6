"""Padding: every item is in one array, as wide as its widest, and arrays are shared only where that is cheaper."""

import math

from hypothesis import given
from hypothesis import strategies as st

from lawful.inference.graphs.exact.buckets import ARRAY, shared_arrays

KINDS = st.lists(st.tuples(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(1, 9)), max_size=12)


@given(kinds=KINDS)
def test_every_kind_has_a_place_in_one_array_that_is_as_wide_as_its_widest(kinds):
    sizes = [size for size, _ in kinds]
    found = shared_arrays(sizes, [count for _, count in kinds])
    assert sorted(k for members, _ in found for k in members) == list(range(len(kinds)))
    for members, size in found:
        assert size == tuple(max(sizes[k][axis] for k in members) for axis in range(2))


@given(kinds=KINDS)
def test_what_is_padded_costs_less_than_the_arrays_that_it_saves(kinds):
    found = shared_arrays([size for size, _ in kinds], [count for _, count in kinds])
    entries = sum(math.prod(size) * sum(kinds[k][1] for k in members) for members, size in found)
    alone = sum(math.prod(size) * count for size, count in kinds)
    assert entries - alone <= ARRAY * (len(kinds) - len(found))
