"""XLA: a form becomes one JAX function that runs it, `run(key, *inputs) -> (outputs, log_weight)`.

Law: the function draws every site from its law with a key of its address, so its outputs weighted by exp(log_weight)
have the measure of the form. A plate is an axis: a site under plates draws its whole block with one key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ..addresses import Address, show_address
from ..distributions.batched import draw_lanes
from ..distributions.sampling.threefry import fold_in
from ..errors import LawfulError, UndrawableError
from ..form import Branch, Det, Factor, Form, Loop, Node, Plate, Site, Var, subforms
from ..form.fold import Fold
from ..form.liveness import has_weight, without_dead_code
from ..form.operations.compensated_sum import Sum
from ..form.operations.equation import Equation
from ..form.pipeline import Pass, per_form, through
from ..passes.rolling.roll import rolled
from ..passes.rolling.unrolled_sites import warn_straight
from .site_keys import Keys, keys_of, row_keys, step_keys

DEFAULT: tuple[Pass, ...] = (without_dead_code, rolled)


@per_form
def compile(form: Form, passes: tuple[Pass, ...] = DEFAULT) -> Callable[..., tuple[list[jax.Array], jax.Array]]:
    """Return the function of `emit`, jitted, once per form and passes."""
    return jax.jit(emit(form, passes))


def emit(form: Form, passes: tuple[Pass, ...] = DEFAULT) -> Callable[..., tuple[list[jax.Array], jax.Array]]:
    """Return the function `run(key, *inputs)` that runs a form and gives its outputs and its log weight.

    Args:
        form: the form.
        passes: what rewrites it first, in this order; each is declared with its law (`lawful.form.pipeline.LAWS`).

    >>> import jax, numpyro.distributions as dist, lawful
    >>> form = lawful.trace(lambda y: lawful.sample("y", dist.Normal(0.0, 1.0), obs=y), 0.0)
    >>> outputs, log_weight = emit(form)(jax.random.key(0), 0.0)
    >>> round(float(log_weight), 4)
    -0.9189
    """
    form = through(form, passes)
    warn_straight(form)

    def run(key: jax.Array, *inputs: Any) -> tuple[list[jax.Array], jax.Array]:
        keys = root_keys(form.nodes, key)
        outputs, weight = run_nodes(form, [jnp.asarray(x) for x in inputs], keys)
        return outputs, jnp.zeros((), jnp.result_type(float)) if weight is None else weight.value()

    return run


def run_nodes(form: Form, inputs: Sequence[jax.Array], keys: Keys) -> tuple[list[jax.Array], Sum | None]:
    """Run the nodes of a form in order; the weight is None where the form has none."""
    if len(inputs) != len(form.inputs):
        raise LawfulError(f"a form of {len(form.inputs)} inputs was called with {len(inputs)} arrays.")
    run = Run(keys, Sum.zero() if has_weight(form) else None)
    return run(form, inputs), run.weight


class Run(Fold[jax.Array]):
    """Runs nodes: a value is an array whose first axes are the plates; `weight` adds up what the nodes weigh."""

    def __init__(self, keys: Keys, weight: Sum | None) -> None:
        self.keys, self.weight = keys, weight

    def constant(self, variable: Var, array: Any) -> jax.Array:
        """Give the array."""
        return jnp.asarray(array)

    def det(self, node: Det, ins: list[jax.Array]) -> list[jax.Array]:
        """Apply the operation."""
        return apply_det(node, ins)

    def site(self, node: Site, ins: list[jax.Array]) -> jax.Array:
        """Draw, or score what was observed."""
        if node.observed is not None:
            _refuse_plated(node)
            *parameters, observed = ins
            self.add(node.law.log_prob(observed, *parameters))
            return observed
        key = self.keys[node.address]
        try:
            if not node.plates:
                return node.law.draw(key, *ins)
            lanes = tuple(p.size for p in node.plates)
            return draw_lanes(node.law, key, lanes, ins, laned_flags(node.plates, node.parameters))
        except UndrawableError as error:
            raise error.at(node.address, f"site '{show_address(node.address)}' ({node.source})") from None

    def factor(self, node: Factor, term: jax.Array) -> None:
        """Weigh."""
        _refuse_plated(node)
        self.add(term)

    def add(self, term: jax.Array | Sum) -> None:
        """Add a term to the weight, or a sum of terms."""
        assert self.weight is not None
        self.weight = self.weight.plus(term) if isinstance(term, Sum) else self.weight.add(term)

    def loop(self, node: Loop, ins: list[jax.Array]) -> list[jax.Array]:
        """Run the steps, in one loop of XLA."""
        constants, init, xs = node.split(ins)
        xs = [jnp.moveaxis(x, len(v.plates), 0) for x, v in zip(xs, node.xs, strict=True)]
        own = inner_keys([node.body], self.keys)
        rows, unstack = (own, dict) if node.unrolled else step_keys(own, jnp.arange(node.length))
        take = loop_step(node, constants)
        start = loop_start(node, init)

        def step(state: Any, x: Any) -> Any:
            return take(state, x[0], unstack(x[1]))

        if node.unrolled and not node.init and start[1] is None:  # steps that a Python loop wrote apart from each other
            _, ys = jax.vmap(lambda x: step(start, x), axis_size=node.length)((xs, rows))
            return [jnp.moveaxis(y, 0, len(v.plates)) for y, v in zip(ys, node.body.outputs, strict=True)]
        (carry, weight), ys = jax.lax.scan(step, start, (xs, rows), length=node.length, reverse=node.reverse)
        if weight is not None:
            self.add(weight)
        stacked = node.split_out(node.body.outputs)[1]
        moved = [jnp.moveaxis(y, 0, len(v.plates)) if v.plates else y for y, v in zip(ys, stacked, strict=True)]
        return [*carry, *moved]

    def branch(self, node: Branch, index: jax.Array, operands: list[jax.Array]) -> list[jax.Array]:
        """Run the arm that is chosen; all arms where each element of a plate has a choice of its own."""
        weighted = any(has_weight(form) for form in node.forms)

        def arm(form: Form) -> Callable[..., Any]:
            def run(operands: list[jax.Array], inner: Keys) -> Any:
                outputs, weight = run_nodes(form, operands, inner)
                want = zip(outputs, form.outputs, node.outs, strict=True)
                return [broadcast_plates(x, v, out) for x, v, out in want], (weight or Sum.zero()) if weighted else None

            return run

        if index.ndim == 0:
            arms, inner = [arm(form) for form in node.forms], inner_keys(node.forms, self.keys)
            results, weight = jax.lax.switch(jnp.asarray(index, jnp.int32), arms, operands, inner)
            if weight is not None:
                self.add(weight)
            return results
        if weighted:
            raise LawfulError(
                "a factor still stands inside a branch whose index has plates: its transformer must consume it."
            )
        # All arms run, so a site of two arms must not draw with one key.
        runs = []
        for number, form in enumerate(node.forms):
            keys = {a: fold_in(k, jnp.asarray(number)) for a, k in inner_keys([form], self.keys).items()}
            runs.append(arm(form)(operands, keys)[0])
        columns = zip(node.outs, zip(*runs, strict=True), strict=True)
        return [select_arms(node.index, out, index, *column) for out, column in columns]


def _refuse_plated(node: Factor | Site) -> None:
    if node.plates:
        names = ", ".join(p.name for p in node.plates)
        raise LawfulError(
            f"factor {node.address} still stands under the plate {names}: its transformer must consume it."
        )


def apply_det(node: Det, operands: Sequence[jax.Array]) -> list[jax.Array]:
    """Map the function of a Det over the plates of the node; other plates of its operands are seen whole."""
    product = product_of_lanes(node, operands)
    if product is not None:
        return product
    function = map_over(node.function, node.plates, [v.plates for v in node.ins])
    return list(function(*operands))


def map_over(
    function: Callable[..., Any], plates: tuple[Plate, ...], operand_plates: Sequence[tuple[Plate, ...]]
) -> Callable[..., Any]:
    """Nest `jax.vmap` so that a function runs once per element of the plates, outermost first."""
    remaining = [list(own) for own in operand_plates]
    levels = []
    for plate in plates:
        axes = tuple(own.index(plate) if plate in own else None for own in remaining)
        remaining = [[p for p in own if p != plate] for own in remaining]
        levels.append((axes, plate.size))
    for axes, size in reversed(levels):
        if all(axis is None for axis in axes):
            function = _repeated(function, size)
        else:
            function = jax.vmap(function, in_axes=axes, axis_size=size)
    return function


def _repeated(function: Callable[..., Any], size: int) -> Callable[..., Any]:
    """Map a function over an axis that none of its operands has."""
    return lambda *values: jax.tree.map(lambda x: jnp.broadcast_to(x, (size, *jnp.shape(x))), function(*values))


def laned_flags(plates: tuple[Plate, ...], operands: Sequence[Var]) -> tuple[tuple[bool, ...], ...]:
    """Say for each operand which of the plates it has."""
    return tuple(tuple(p in v.plates for p in plates) for v in operands)


def root_keys(nodes: Sequence[Node], key: jax.Array) -> Keys:
    """Derive the key of every latent site; that of a rolled loop has a row of keys, by the addresses of its steps."""
    single: list[Address] = []
    rows: list[dict[Address, Sequence[Address]]] = []
    _sites(nodes, single, rows)
    keys = keys_of(key, single)
    for group in rows:
        keys |= row_keys(key, group)
    return keys


def _sites(nodes: Sequence[Node], single: list[Address], rows: list[dict[Address, Sequence[Address]]]) -> None:
    """Collect the latent sites with a key each, and for each rolled loop those with a row of keys."""
    for node in nodes:
        if isinstance(node, Site) and node.observed is None:
            single.append(node.address)
        steps = dict(getattr(node, "addresses", None) or ())  # of a loop that Python wrote
        for inner in subforms(node):
            if steps:
                rows.append({a: steps[a] for a in _latent(inner)})
            else:
                _sites(inner.nodes, single, rows)


def _latent(form: Form) -> list[Address]:
    return [site.address for site in form.sites() if site.observed is None]


def inner_keys(forms: Sequence[Form], keys: Keys) -> Keys:
    """Pick the keys of the latent sites of some forms."""
    return {address: keys[address] for form in forms for address in _latent(form)}


def loop_start(node: Loop, init: Sequence[jax.Array]) -> tuple[list[jax.Array], Sum | None]:
    """Return what a loop carries into its first step: the carry over its plates, and a weight where its steps weigh."""
    inside = node.split(node.body.inputs)[1]
    carry = [broadcast_plates(x, v, inner) for x, v, inner in zip(init, node.init, inside, strict=True)]
    return carry, Sum.zero() if has_weight(node.body) else None


def loop_step(node: Loop, constants: Sequence[jax.Array]) -> Callable[..., Any]:
    """Return one step of a loop: `((carry, weight), scanned values, keys) -> ((carry, weight), stacked values)`."""
    inside, after = node.split(node.body.inputs)[1], node.split_out(node.body.outputs)[0]

    def step(state: tuple[list[jax.Array], Sum | None], xs: Sequence[jax.Array], keys: Keys) -> Any:
        carry, weight = state
        outputs, increment = run_nodes(node.body, [*constants, *carry, *xs], keys)
        carry, ys = node.split_out(outputs)
        carry = [broadcast_plates(x, have, want) for x, have, want in zip(carry, after, inside, strict=True)]
        return (carry, weight.plus(increment) if weight is not None and increment is not None else None), ys

    return step


def broadcast_plates(array: jax.Array, have: Var, want: Var) -> jax.Array:
    """Repeat a value over the plates that it lacks."""
    if have.plates == want.plates:
        return array
    own = array.shape[len(have.plates) :]
    index = tuple(slice(None) if p in have.plates else None for p in want.plates)
    return jnp.broadcast_to(array[index], (*(p.size for p in want.plates), *own))


def select(index: jax.Array, *arms: jax.Array) -> jax.Array:
    """Pick among arms by one index."""
    return jax.lax.select_n(jnp.broadcast_to(jnp.asarray(index, jnp.int32), arms[0].shape), *arms)


def select_arms(index: Var, out: Var, array: jax.Array, *arms: jax.Array) -> jax.Array:
    """Pick among arms per element of the plates of the index."""
    return map_over(select, out.plates, [index.plates, *[out.plates for _ in arms]])(array, *arms)


ROWS = 64  # rows of the matrix from which turning the vectors around costs next to nothing


def product_of_lanes(node: Det, operands: Sequence[jax.Array]) -> list[jax.Array] | None:
    """Multiply a matrix with one vector for each lane, a copy along a vmapped axis; None for nodes that do not.

    The vectors are read with the lanes last: processors add many lanes at once, so XLA multiplies (d, lanes) with
    (d, rows) faster than (lanes, d) with (rows, d), and does not turn an operand around by itself.
    """
    function: Any = node.function
    contraction = function.contraction if isinstance(function, Equation) else None
    if contraction is None or not node.plates or len(operands) != 2:
        return None
    laned = [bool(v.plates) for v in node.ins]
    if all(laned) or node.ins[laned.index(True)].plates != node.plates:
        return None
    at = laned.index(True)
    vector, matrix = operands[at], operands[1 - at]
    contracted, batched = contraction
    if vector.ndim != len(node.plates) + 1 or tuple(contracted[at]) != (0,) or batched[at]:
        return None
    if matrix.size < ROWS * vector.shape[-1]:
        return None
    for plate in reversed(node.plates):
        function = jax.vmap(function, (1, None) if at == 0 else (None, 1), axis_size=plate.size)
    turned = jax.lax.optimization_barrier(jnp.moveaxis(vector, -1, 0))
    return list(function(*((turned, matrix) if at == 0 else (matrix, turned))))
