"""Precision: numbers of a program that 32 bits cannot hold.

Law: with 64 bits nothing is found. A finding names a site that reads the number, directly or through operations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...addresses import Address
from ...form import Form, Site, constant_arrays
from ...form.arguments.arrays import is_array
from ...form.dependence import Dependence, dependence
from ...form.fold import placed
from ...form.pipeline import per_form
from ...messages import Source
from .finding import LintFinding

MANY_TERMS = 10**6
EXACT_FLOAT32 = 2**24
NEAR_ONE = 1e-7
BEYOND = "above 2**24 a 32-bit float holds no longer every integer."
WIDER = "enable 64 bits with jax.config.update('jax_enable_x64', True)."
ORIGIN = "subtract an origin or change the unit, as for time stamps, or enable 64 bits."
LOGITS = "give the distribution logits, which tell such probabilities apart, or enable 64 bits."


def in_32_bits() -> bool:
    """Tell whether floats have 32 bits."""
    return jnp.result_type(float) == np.float32


def hazard(site: Address, source: Source, found: str, remedy: str) -> LintFinding:
    """Make a finding."""
    return LintFinding("float32-hazard", "warning", site, source, found, remedy)


def precision_findings(form: Form) -> Iterator[LintFinding]:
    """Find long sums and large constants, which a form shows by itself."""
    if in_32_bits():
        for site, around in placed(form):
            if isinstance(site, Site) and (terms := math.prod((*around.lengths, *site.out.full_shape))) > MANY_TERMS:
                found = f"its log density sums {terms} terms in 32 bits."
                yield hazard(site.address, site.source, found, WIDER)
    arrays = constant_arrays(form)
    for site in form.sites():
        for value in site.ins:
            array = np.asarray(arrays.get(value, 0))
            if array.dtype == np.float32 and (large := _large(array)) is not None:
                found = f"it reads the constant {large:.0f}; {BEYOND}"
                yield hazard(site.address, site.source, found, ORIGIN)


def argument_findings(form: Form, args: Sequence[Any]) -> Iterator[LintFinding]:
    """Find arguments that lose their meaning in 32 bits: large numbers, and probabilities that become one."""
    if not in_32_bits():
        return
    leaves = [leaf for leaf in jax.tree.leaves(args) if is_array(leaf)]
    graph, readers_of = readers(form)
    for k, leaf in enumerate(leaves):
        if isinstance(leaf, jax.ShapeDtypeStruct) or jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
            continue
        array = np.asarray(leaf).reshape(-1)
        large = _large(array)
        near = array[(array > 1 - NEAR_ONE) & (array < 1)] if array.dtype == np.float64 else array[:0]
        if not readers_of[k] or (large is None and not near.size):
            continue
        vertex = graph.vertices[readers_of[k][0]]
        if large is not None:
            found = f"it reads an argument that holds {large:.0f}; {BEYOND}"
            yield hazard(vertex.address, vertex.source, found, ORIGIN)
        if near.size:
            found = f"it reads an argument that holds 1 - {1 - float(near[0]):.1g}, which is 1 in 32 bits."
            yield hazard(vertex.address, vertex.source, found, LOGITS)


@per_form
def readers(form: Form) -> tuple[Dependence, list[list[Address]]]:
    """Give the dependence graph, and for each input of a form the sites and factors that read it."""
    names: list[Address] = [("~argument", str(k)) for k in range(len(form.inputs))]
    graph = dependence(form, inputs=[frozenset({name}) for name in names])
    return graph, [[head for tail, head in graph.edges if tail == name] for name in names]


def _large(array: np.ndarray) -> Any | None:
    """Return the largest number where it is beyond what 32-bit floats count exactly."""
    if array.dtype.kind not in "iuf" or not array.size:
        return None
    size = np.abs(np.where(np.isfinite(array), array, 0))
    return array.flat[int(size.argmax())] if size.max() > EXACT_FLOAT32 else None
