"""Lanes: a function whose lanes stand last has the answers of each lane alone."""

import jax
import jax.numpy as jnp
import numpy as np

from lawful.inference.graphs.exact.lanes import lanes_last


def looked_up(places, x, shift):
    """Numbers of x at some places, and their sum; of x (n, *lanes) and of a shift (*lanes)."""
    found = jnp.take(x, places, axis=0) + shift
    return found, jnp.sum(found, axis=0)


def test_each_lane_has_the_answer_of_the_function_alone():
    places, shapes = np.array([2, 0, 2]), []
    rng = np.random.default_rng(0)
    x, shift = rng.normal(size=(5, 4)), rng.normal(size=5)

    def noted(places, x, shift):
        shapes.append(x.shape)
        return looked_up(places, x, shift)

    for axes in ((0, 0), (0, None), (None, 0)):
        given = [a if axis == 0 else a[0] for a, axis in zip((x, shift), axes, strict=True)]
        found = jax.vmap(lambda x, shift: lanes_last(noted)(places, x, shift), in_axes=axes)(*given)
        assert shapes[-1] == ((4, 5) if axes[0] == 0 else (4, 1))
        for k in range(5):
            one = looked_up(places, *(a[k] if axis == 0 else a for a, axis in zip(given, axes, strict=True)))
            for ours, theirs in zip(found, one, strict=True):
                np.testing.assert_array_equal(ours[k], theirs)


def test_a_map_in_a_map_is_the_loop_in_a_loop():
    rng = np.random.default_rng(1)
    x, places = rng.normal(size=(2, 3, 4)), np.array([1, 3])
    found = jax.vmap(jax.vmap(lambda x: lanes_last(looked_up)(places, x, 0.0)[0]))(x)
    np.testing.assert_array_equal(found, x[..., places])
