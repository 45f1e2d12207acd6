"""Matrix products of one vector per lane: the vectors are read with the lanes last.

Law: the product is that of `jax.vmap`, to the order of its sums; only the layout of an operand in memory differs.

Processors add many lanes at once, so XLA multiplies (d, lanes) with (d, rows) faster than (lanes, d) with (rows, d): by
a quarter for d = 20 and 1000 rows. It does not turn an operand around by itself, and undoes it where it sees it done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ..form import Det

ROWS = 64  # rows of the matrix from which turning the vectors around costs next to nothing


def product_of_lanes(node: Det, operands: Sequence[jax.Array]) -> list[jax.Array] | None:
    """Multiply a matrix that all lanes share with one vector per lane; None where a node does something else."""
    function: Any = node.function
    if getattr(function, "primitive", None) is not jax.lax.dot_general_p or not node.plates or len(operands) != 2:
        return None
    laned = [bool(v.plates) for v in node.ins]
    if all(laned) or node.ins[laned.index(True)].plates != node.plates:
        return None
    at = laned.index(True)
    vector, matrix = operands[at], operands[1 - at]
    contracted, batched = function.params["dimension_numbers"]
    if vector.ndim != len(node.plates) + 1 or tuple(contracted[at]) != (0,) or batched[at]:
        return None
    if matrix.size < ROWS * vector.shape[-1]:
        return None
    for plate in reversed(node.plates):
        function = jax.vmap(function, (1, None) if at == 0 else (None, 1), axis_size=plate.size)
    turned = jax.lax.optimization_barrier(jnp.moveaxis(vector, -1, 0))
    return list(function(*((turned, matrix) if at == 0 else (matrix, turned))))
