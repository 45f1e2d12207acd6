"""Linear equations by products: what is given back solves them, or is NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs.loopy.linear_equations import solved


def matrices():
    rng = np.random.default_rng(0)
    spin = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    return {
        "contracting": np.eye(8) - 0.6 * spin,
        "beyond the plain iteration": np.eye(8) - 1.4 * spin,
        "passing values on": np.eye(8) - np.eye(8, k=-1),
        "turning": np.eye(8) + 3 * (np.eye(8, k=1) - np.eye(8, k=-1)),
        "large": 1e6 * (np.eye(8) - 0.3 * spin),
    }


MATRICES = matrices()
ONE = np.eye(8)[0]


@jax.jit
def run(matrix, right):
    return solved(
        lambda x: {
            "a": matrix[:5] @ jnp.concatenate([x["a"], x["b"]]),
            "b": matrix[5:] @ jnp.concatenate(list(x.values())),
        },
        right,
    )


@pytest.mark.parametrize("right", [ONE, np.arange(8.0), np.zeros(8)], ids=["one entry", "all", "none"])
@pytest.mark.parametrize("name", MATRICES)
def test_the_solution_solves(name, right):
    found = run(MATRICES[name], {"a": right[:5], "b": right[5:]})
    wanted = np.linalg.solve(MATRICES[name], right)
    np.testing.assert_allclose(np.concatenate([found["a"], found["b"]]), wanted, atol=1e-7 * np.abs(wanted).max())


def test_what_has_no_solution_is_nan():
    singular = np.diag([1.0, 1, 1, 1, 1, 1, 1, 0])
    assert np.isnan(run(singular, {"a": np.ones(5), "b": np.ones(3)})["a"]).all()


def test_each_of_many_is_solved_in_single_precision(single_precision):
    stack = np.stack([m for name, m in MATRICES.items() if name != "large"]).astype(np.float32)
    found = jax.jit(jax.vmap(lambda m: solved(lambda x: m @ x, jnp.arange(8.0))))(stack)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", stack, found), np.tile(np.arange(8.0), (4, 1)), atol=2e-3)


def test_a_program_holds_the_product_once():
    shown = str(jax.make_jaxpr(lambda b: solved(lambda x: jnp.cos(1.0) * x + jnp.sinh(x), b))(jnp.ones(3)))
    assert shown.count("sinh") == 1
