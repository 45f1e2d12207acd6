"""A function of many draws is called by batches of them, and its answers come as one call would give them."""

import jax
import numpy as np
import pytest

from lawful.inference.results.batches import in_batches


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
def test_columns_of_64_bits_are_taken_in_both_precisions_as_a_call_takes_them(wide):
    """Without 64 bits JAX warns of a shape that names them, and a warning is an error here."""
    columns = [np.arange(5), np.linspace(0.0, 1.0, 5)]
    with jax.enable_x64(wide):
        whole = jax.jit(lambda columns: [2 * x for x in columns])(columns)
        found = in_batches(jax.jit(lambda columns: [2 * x for x in columns]), columns, 5, size=2)
    for got, expected in zip(found, whole, strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
