"""Axis rules: an operation on the slices that it is said to read gives the slice of its result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.form.operations.from_jaxpr import operations, unfold
from lawful.form.operations.on_numpy import evaluate, plain

RNG = np.random.default_rng(20262)
CUBE = RNG.normal(size=(3, 4, 5))
MATRICES = jnp.eye(4) + 0.1 * RNG.uniform(size=(3, 4, 4))
INDEX = np.array([2, 0, 1])

# A primitive, a function that uses it, its operands, and the axes of the result that are followed.
CASES = {
    "mul": (lambda x, y: x * y, (CUBE, CUBE), {0, 1, 2}),
    "broadcast_in_dim": (lambda x: jax.lax.broadcast_in_dim(x, (2, 3, 4, 5), (1, 2, 3)), (CUBE,), {1, 2, 3}),
    "reshape": (lambda x: x.reshape(3, 2, 2, 5), (CUBE,), {0, 3}),
    "squeeze": (lambda x: jnp.squeeze(x, 1), (CUBE[:, :1],), {0, 1}),
    "transpose": (lambda x: x.transpose(2, 0, 1), (CUBE,), {0, 1, 2}),
    "rev": (lambda x: jax.lax.rev(x, (1,)), (CUBE,), {0, 2}),
    "slice": (lambda x: jax.lax.slice(x, (0, 1, 0), (3, 3, 5), (1, 1, 2)), (CUBE,), {0}),
    "dynamic_slice": (lambda x, i: jax.lax.dynamic_slice(x, (i, 0, 0), (2, 4, 5)), (CUBE, np.array(1)), {1, 2}),
    "split": (lambda x: jnp.split(x, 2, axis=1), (CUBE,), {0, 2}),
    "unstack": (lambda x: jnp.unstack(x, axis=1), (CUBE,), {0, 1}),
    "stack": (lambda x, y: jnp.stack([x, y], axis=1), (CUBE, -CUBE), {0, 2, 3}),
    "concatenate": (lambda x, y: jnp.concatenate([x, y], axis=2), (CUBE, CUBE), {0, 1}),
    "pad": (lambda x: jnp.pad(x, ((0, 0), (1, 0), (0, 0))), (CUBE,), {0, 2}),
    "gather": (lambda x, i: x[i, 1:3], (CUBE, INDEX), {0, 2}),
    "dot_general": (lambda x, y: jnp.einsum("iab,ibc->iac", x, y), (CUBE, CUBE.transpose(0, 2, 1)), {0, 1, 2}),
    "reduce_sum": (lambda x: jnp.sum(x, axis=1), (CUBE,), {0, 1}),
    "reduce_max": (lambda x: jnp.max(x, axis=0), (CUBE,), {0, 1}),
    "argmax": (lambda x: jnp.argmax(x, axis=2), (CUBE,), {0, 1}),
    "cumsum": (lambda x: jnp.cumsum(x, axis=1), (CUBE,), {0, 2}),
    "sort": (lambda x: jnp.sort(x, axis=0), (CUBE,), {1, 2}),
    "cholesky": (lambda x: jnp.linalg.cholesky(x, symmetrize_input=False), (MATRICES,), {0}),
    "triangular_solve": (lambda x, y: jax.lax.linalg.triangular_solve(x, y, left_side=True), (MATRICES, CUBE), {0}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_slice_of_the_result_is_made_of_the_slices_that_are_read(name):
    function, operands, expected = CASES[name]
    form = unfold(function, *operands)
    known = dict(zip(form.inputs, map(np.asarray, operands), strict=True)) | dict(form.constants)
    for node in operations(form):
        outs = list(map(plain, evaluate(node.function, [known[v] for v in node.ins])))
        known |= zip(node.outs, outs, strict=True)
        if node.function.name == name:
            full = node.function.operands([known[v] for v in node.ins], lambda literal: np.asarray(*literal))
            assert {axis for axis in range(outs[0].ndim) if follows(node.function, full, outs, axis)} == expected


def follows(equation, operands, outs, axis):
    """Tell whether an axis of the results is followed, and check what is read along it, element by element."""
    read = equation.axes_read([x.shape for x in operands], outs[0].shape, axis)
    if read is None or not any(a is not None for a in read):
        return False
    small = equation.smaller([axis], [read]).bare
    for i in range(outs[0].shape[axis]):
        parts = [x if a is None else x.take(np.array([i]), axis=a) for x, a in zip(operands, read, strict=True)]
        for found, whole in zip(evaluate(small, parts), outs, strict=True):
            np.testing.assert_allclose(found, whole.take(np.array([i]), axis=axis), rtol=1e-14)
    return True
