"""Add plate: many independent runs of a form at once, by marking what varies with a new plate.

Law: the form with the plate, run at one element of the plate, has the measure of the form. Factors and observations
that vary with the plate are taken out of the density and given as one log weight per element; whoever adds a plate must
put them back. A site whose law is `shared` is drawn once for all elements: each of them alone has the law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from ..form import CHECK, Branch, Det, Factor, Form, Loop, Plate, Site, Var
from ..form.builder import Block, add, total
from ..form.fold import Visitor
from ..form.liveness import is_random
from ..form.operations.compensated_sum import Sum
from ..form.operations.device import device_array
from ..form.rewriting import with_operands, with_results


@dataclass(frozen=True)
class Lifted:
    """A lifted form; where `weighted`, its last output is the log weight of each element of the plate.

    Where `checked`, a draw may have weighed NaN, which counts only where the weight was not zero before.
    """

    form: Form
    weighted: bool
    checked: bool = False


def lift(
    form: Form,
    plate: Plate,
    plated: Sequence[bool],
    *,
    carried: Sequence[bool] | None = None,
    consume_all: bool = False,
) -> Lifted:
    """Mark a form with a plate.

    Args:
        form: the form.
        plate: the new axis, outermost.
        plated: for each input, whether it varies with the plate.
        carried: for each output, whether it must vary with the plate (it is repeated where it does not); default: as it
            falls.
        consume_all: take out also the factors that do not vary, as an arm under a varying index needs.
    """
    lifting = _Lifting(plate, consume_all)
    for old, varies in zip(form.inputs, plated, strict=True):
        lifting.names[old] = old.like((plate, *old.plates) if varies else old.plates)
    inputs = tuple(lifting.names[v] for v in form.inputs)
    block = lifting.block
    lifting.names |= {v: v for v, _ in form.constants}
    block.constants.extend(form.constants)
    for node in form.nodes:
        lifting.node(node)
    outputs = [lifting.names[v] for v in form.outputs]
    if carried is not None:
        outputs = [lifting.spread(v) if must else v for v, must in zip(outputs, carried, strict=True)]
    weighted = bool(lifting.terms)
    if weighted:
        outputs.append(total(block, lifting.terms, (plate,)))
    closed = block.form(inputs, outputs, in_tree=form.in_tree, out_tree=form.out_tree)
    return Lifted(closed, weighted, lifting.checked)


def gained_alive(log_weight: jax.Array, term: jax.Array) -> jax.Array:
    """Add a term to a log weight; what weighs zero stays so, whatever comes.

    >>> gained_alive(jnp.array([-jnp.inf, 1.0]), jnp.array([jnp.nan, 1.0])).tolist()
    [-inf, 2.0]
    """
    return jnp.where(log_weight == -jnp.inf, -jnp.inf, log_weight + term)


def gained(high: jax.Array, low: jax.Array, term: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Add a term to a total and what rounding has lost of it.

    >>> [float(x) for x in gained(jnp.float32(1e8), jnp.float32(0.0), jnp.float32(1.0))]
    [100000000.0, 1.0]
    """
    return Sum(high, low).add(term)


def _unless_over(before: jax.Array, check: jax.Array) -> jax.Array:
    return jnp.where(before == -jnp.inf, jnp.zeros((), check.dtype), check)


class _Lifting(Visitor):
    def __init__(self, plate: Plate, consume_all: bool) -> None:
        self.plate = plate
        self.consume_all = consume_all
        self.block = Block()
        self.names: dict[Var, Var] = {}
        self.terms: list[Var] = []
        self.checked = False

    def get(self, values: Sequence[Var]) -> tuple[Var, ...]:
        return tuple(self.names[v] for v in values)

    def varies(self, values: Sequence[Var]) -> bool:
        return any(self.plate in v.plates for v in values)

    def fresh(self, value: Var, varies: bool) -> Var:
        self.names[value] = value.like((self.plate, *value.plates) if varies else value.plates)
        return self.names[value]

    def spread(self, value: Var) -> Var:
        """Repeat a value over the plate where it does not vary yet."""
        if self.plate in value.plates:
            return value
        out = value.like((self.plate, *value.plates))
        size = self.plate.size

        def repeat(array: jnp.ndarray) -> tuple[jnp.ndarray]:
            return (jnp.broadcast_to(array, (size, *array.shape)),)

        self.block.nodes.append(Det(repeat, (value,), (out,), "repeat"))
        return out

    def det(self, node: Det) -> None:
        ins = self.get(node.ins)
        varies = self.varies(ins)
        plates = (self.plate, *node.plates) if varies else node.plates
        outs = tuple(self.fresh(v, varies) for v in node.outs)
        self.block.nodes.append(replace(node, ins=ins, outs=outs, plates=plates))

    def site(self, node: Site) -> None:
        ins = self.get(node.ins)
        if node.observed is None:
            varies = self.varies(ins) or not node.law.shared
            plates = (self.plate, *node.plates) if varies else node.plates
            self.block.nodes.append(replace(node, parameters=ins, out=self.fresh(node.out, varies), plates=plates))
            return
        *parameters, observed = ins
        varies = self.varies(ins)
        if not varies and not self.consume_all:
            self.block.nodes.append(with_results(with_operands(node, ins), (self.fresh(node.out, False),)))
            return
        self.names[node.out] = observed
        plates, label = (self.plate,) if varies else (), f"log p({node.address[-1]})"
        term = self.block.log_prob(node.law, observed, parameters, label=label, source=node.source, plates=plates)
        self.terms.append(term)

    def factor(self, node: Factor) -> None:
        term = self.names[node.term]
        if node.role == CHECK:
            self.checked = True
            if self.terms:
                before = total(self.block, self.terms, (self.plate,))
                term = self.block.det(_unless_over, before, term, label="law?", plates=(self.plate,))
        if self.varies((term,)) or self.consume_all:
            self.terms.append(term)
        else:
            self.block.nodes.append(replace(node, term=term))

    def loop(self, node: Loop) -> None:
        constants, init, xs = self.get(node.constants), self.get(node.init), self.get(node.xs)
        fixed = [self.plate in v.plates for v in constants], [self.plate in v.plates for v in xs]
        carried = [self.plate in v.plates for v in init]
        while True:
            plated, must = (*fixed[0], *carried, *fixed[1]), [*carried, *[False] * len(node.ys)]
            lifted = lift(node.body, self.plate, plated, carried=must, consume_all=self.consume_all)
            grown = [self.plate in v.plates for v in node.split_out(lifted.form.outputs)[0]]
            if grown == carried:
                break
            carried = grown
        body, n_carry = lifted.form, len(init)
        ys_body = body.outputs[n_carry : len(node.outs)]
        carry_out = tuple(self.fresh(v, c) for v, c in zip(node.carry_out, carried, strict=True))
        ys = tuple(self.fresh(v, self.plate in b.plates) for v, b in zip(node.ys, ys_body, strict=True))
        if lifted.weighted:
            body, start, sums = self.accumulate(body, len(constants), n_carry, lifted.checked)
            self.checked = self.checked or lifted.checked
            init, carry_out = (*init, *start), (*carry_out, *sums)
            self.terms.extend(sums)
        self.block.nodes.append(
            replace(node, body=body, constants=constants, init=init, xs=xs, carry_out=carry_out, ys=ys)
        )

    def accumulate(self, body: Form, n_const: int, n_carry: int, checked: bool) -> tuple[Form, list[Var], list[Var]]:
        """Turn the last output of a lifted body, a log weight, into more carry that sums it over the steps.

        In single precision a second carry holds what rounding has lost, so that a million steps add up to rounding.
        """
        dtype = jnp.result_type(float)
        wide = dtype == jnp.float64
        before = [Var((), dtype, (self.plate,)) for _ in range(1 if wide else 2)]
        block = Block()
        block.nodes.extend(body.nodes)
        block.constants.extend(body.constants)
        term = body.outputs[-1]
        if checked:
            term = block.det(_unless_over, before[0], term, label="law?", plates=(self.plate,))
        after = block.det(add if wide else gained, *before, term, label="sum", plates=(self.plate,))
        split = n_const + n_carry
        inputs = (*body.inputs[:split], *before, *body.inputs[split:])
        outputs = (*body.outputs[:n_carry], *((after,) if wide else after), *body.outputs[n_carry:-1])
        start = self.block.constant(np.zeros((), dtype))
        return block.form(inputs, outputs), [start] * len(before), [v.like() for v in before]

    def branch(self, node: Branch) -> None:
        index, operands = self.names[node.index], self.get(node.operands)
        plated = [self.plate in v.plates for v in operands]
        chosen = self.plate in index.plates
        arms = [lift(arm, self.plate, plated, consume_all=chosen or self.consume_all) for arm in node.forms]
        self.checked = self.checked or any(arm.checked for arm in arms)
        all_varies = chosen or any(is_random(n) for arm in node.forms for n in arm.nodes)
        outs = []
        for position, out in enumerate(node.outs):
            varies = all_varies or any(self.plate in arm.form.outputs[position].plates for arm in arms)
            outs.append(self.fresh(out, varies))
        forms = [arm.form for arm in arms]
        if any(arm.weighted for arm in arms):
            forms = [arm.form if arm.weighted else self.with_zero(arm.form) for arm in arms]
            term = Var((), jnp.result_type(float), (self.plate,))
            outs.append(term)
            self.terms.append(term)
        self.block.nodes.append(replace(node, index=index, forms=tuple(forms), operands=operands, outs=tuple(outs)))

    def with_zero(self, arm: Form) -> Form:
        zero = Var((), jnp.result_type(float))
        constants = (*arm.constants, (zero, device_array(np.zeros((), zero.dtype))))
        return replace(arm, outputs=(*arm.outputs, zero), constants=constants)
