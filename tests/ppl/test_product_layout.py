"""A matrix times one vector per lane is the product of each lane, and is computed with the lanes last."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lawful
from lawful.backends.xla import ROWS, emit
from lawful.form import Plate
from lawful.passes.add_plate import lift
from tests.structure.programs import equations

LANES, CHAINS, D = 7, 3, 5
PRODUCTS = {
    "matrix first": (lambda a, b: a @ b, lambda rows: (rows, D)),
    "vector first": (lambda a, b: b @ a, lambda rows: (D, rows)),
    "three axes": (lambda a, b: a @ b, lambda rows: (2, rows // 2, D)),
}


def lifted(function, shapes, depth):
    """Lift a function of a matrix and a vector over one or two plates of the vector."""
    form = lawful.trace(function, *(jnp.zeros(s) for s in shapes))
    for plate in [Plate("lane", LANES), Plate("chain", CHAINS)][:depth]:
        form = lift(form, plate, [False, True]).form
    return emit(form)


def turned(run, matrix, vectors):
    """Shapes of the operands that were turned around."""
    traced = jax.make_jaxpr(run)(jax.random.key(0), matrix, vectors)
    return [e.outvars[0].aval.shape for e in equations(traced) if e.primitive.name == "optimization_barrier"]


@pytest.mark.rest_slow
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("rows", [2, ROWS - 2, ROWS, 101 * 2])
def test_the_product_is_that_of_each_lane(name, depth, rows):
    function, shape = PRODUCTS[name]
    rng = np.random.default_rng(rows)
    matrix, vectors = rng.normal(size=shape(rows)), rng.normal(size=((CHAINS, LANES)[2 - depth :] + (D,)))
    run = lifted(function, [matrix.shape, (D,)], depth)
    (product,), _ = run(jax.random.key(0), matrix, vectors)
    expected = np.stack([function(matrix, v) for v in vectors.reshape(-1, D)])
    np.testing.assert_allclose(product, expected.reshape(vectors.shape[:-1] + expected.shape[1:]), rtol=0, atol=1e-13)
    lanes = vectors.shape[:-1]
    assert turned(run, matrix, vectors) == ([(D, *lanes)] if rows >= ROWS else [])


def test_other_products_stay_as_they_are():
    """An outer product, a matrix per lane with a vector per lane, and one vector for all matrices."""
    matrix = jnp.ones((ROWS, D))
    outer = lawful.trace(lambda a, b: jnp.tensordot(a, b, 0), matrix, jnp.ones(D))
    each = lawful.trace(lambda a, b: a @ b, matrix, jnp.ones(D))
    plate = Plate("lane", LANES)
    for form, flags in ((outer, [False, True]), (each, [True, True]), (each, [True, False])):
        run = emit(lift(form, plate, flags).form)
        operands = [jnp.ones((LANES, *s)) if f else jnp.ones(s) for f, s in zip(flags, [(ROWS, D), (D,)])]
        assert turned(run, *operands) == []
        run(jax.random.key(0), *operands)
