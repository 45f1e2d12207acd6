"""Walk: computes what depends on summed sites for all their values at once.

Law: the tables and factors that a walk writes have, summed over the plates of its sites, the measure of the form.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address, show_address
from lawful.errors import UnsupportedProgramError
from lawful.form import Branch, Det, Factor, Form, Loop, Node, Plate, Site, Var
from lawful.form.builder import Block, LogProb, Tupled, renamed, total
from lawful.form.operations.equation import Equation
from lawful.form.operations.from_jaxpr import unfold

from .alike import computed_once, listed_once
from .axes import SUM, Axes, Mixed, flow
from .control import branch, loop
from .laws import MixtureLaw
from .records import Found, Frame, Job, Terms, Value, is_observed, parts
from .tables import PREFIX, Conflict, Pool, Summand, flat, too_many


class Walk:
    """The walk over a form that computes what depends on summed sites for all their values."""

    def __init__(self, job: Job, scope: Callable[[Form, Job], Form]) -> None:
        """Start with nothing written; `scope` sums a form whose sites do not reach beyond it."""
        self.job, self.scope = job, scope
        self.block = Block()
        self.pool = Pool(self.block, job.cap)
        self.axes: dict[Var, dict[Plate, Axes]] = {}
        self.one: dict[Var, Var] = {}  # of values that are alike at all elements of a site: the value at one of them
        self.sites: list[Found] = []
        self.stacked: dict[Address, Var] = {}

    # What is read.

    def live(self, form: Form, outputs: Collection[Var], every: bool) -> tuple[set[Node], set[Var]]:
        """Find the nodes that the weights, the sites that stay and the given outputs read, and the values they read.

        Args:
            form: the form.
            outputs: outputs that are read.
            every: whether all summed sites count as read.
        """
        job, need, live = self.job, set(outputs), set[Node]()
        for node in reversed(form.nodes):
            weighs = job.any_inside(node, lambda n: isinstance(n, Factor) or is_observed(n) or job.keeps(n))
            weighs = weighs or (every and job.any_inside(node, job.sums))
            if weighs or any(out in need for out in node.outs):
                live.add(node)
                need.update(node.ins)
        return live, need

    def run(
        self,
        form: Form,
        inputs: Sequence[Value],
        outputs: Collection[Var],
        guard: Var | None = None,
        steps: tuple[int, ...] | None = None,
    ) -> Frame:
        """Walk a form that is written out in place of a node."""
        live, need = self.live(form, outputs, every=True)
        env: dict[Var, Value] = dict(zip(form.inputs, inputs, strict=True))
        for variable, array in form.constants:
            fresh = variable.like()
            self.block.constants.append((fresh, array))
            env[variable] = fresh
        frame = Frame(env, guard, steps, need)
        self.nodes(form, frame, live)
        return frame

    def nodes(self, form: Form, frame: Frame, live: set[Node]) -> None:
        """Walk the nodes that are read."""
        for node in form.nodes:
            if node not in live:
                continue
            if isinstance(node, Det):
                self.det(node, frame)
            elif isinstance(node, Factor):
                self.factor(node, frame)
            elif isinstance(node, Loop):
                loop(self, node, frame)
            elif isinstance(node, Branch):
                branch(self, node, frame)
            elif node.observed is not None:
                self.observe(node, frame)
            elif self.job.sums(node):
                self.summand(node, frame)
            else:
                self.keep(node, frame)

    # Values.

    def plates(self, values: Sequence[Value]) -> tuple[Plate, ...]:
        """The summed sites that some values depend on."""
        return self.pool.ordered(p for value in values for v in parts(value) for p in v.plates)

    def axes_of(self, value: Var, plate: Plate) -> Axes | None:
        """Where the elements of a site stand in a value; None where it does not depend on the site."""
        if plate not in value.plates:
            return None
        return self.axes.get(value, {}).get(plate, ())

    def copy(self, node: Node, frame: Frame) -> None:
        """Write a node that no summed site reaches."""
        mapping = {v: x for v in node.ins if isinstance(x := frame.env[v], Var)}
        self.block.nodes.append(renamed(node, mapping))
        frame.env |= {v: mapping[v] for v in node.outs}

    def det(self, node: Det, frame: Frame) -> None:
        """Compute a function for all values of the sites that it depends on."""
        values = [frame.env[v] for v in node.ins]
        if not self.plates(values):
            inline = frame.steps is not None
            self.copy(replace(node, address=None) if inline else node, frame)
            return
        frame.env |= zip(node.outs, self.compute(node.function, values, node.label), strict=True)

    def compute(self, function: Any, values: Sequence[Value], label: str) -> list[Value]:
        """Apply a function of arrays that gives a tuple, by the plates of its operands."""
        plates = self.plates(values)
        single = isinstance(function, Equation) and not function.is_call
        if any(isinstance(value, Terms) for value in values):
            return self.of_sums(function, values) if single else self.unfolded(function, values)
        arrays = [v for value in values for v in parts(value)]
        abstract = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in arrays]
        shapes = [tuple(v.shape) for v in arrays]
        kinds: dict[Plate, list[Axes | None]] = {}
        for plate in plates:
            if self.pool.summands[plate].shape:
                try:
                    kinds[plate] = flow(function, shapes, [self.axes_of(v, plate) for v in arrays], abstract)
                except Mixed as error:
                    raise Conflict(self.pool.summands[plate], str(error)) from error
        if any(SUM in own for own in kinds.values()):
            return [self.before_sum(arrays[0], kinds)] if single else self.unfolded(function, values)
        first = {p: own[0] for p, own in kinds.items()}
        if single and (found := computed_once(self, function, arrays, first)) is not None:
            return [found]
        outs = self.block.det(function, *arrays, label=label, plates=plates)
        return [self._settled(out, {p: own[i] for p, own in kinds.items()}) for i, out in enumerate(outs)]

    def _settled(self, value: Var, known: dict[Plate, Axes | None]) -> Value:
        """Note where the elements of sites stand in a value; of those that it turns out not to depend on it is free."""
        for plate in [p for p, axes in known.items() if axes is None]:
            left = tuple(p for p in value.plates if p != plate)
            value = self.block.det(lambda lanes: lanes[0], value, label="first", plates=left)
        self.axes[value] = {p: axes for p, axes in known.items() if axes is not None}
        return value

    def derive(self, function: Callable[..., Any], *values: Value, label: str) -> Value:
        """Apply a function of arrays that gives one array."""
        return self.compute(Tupled(function), values, label)[0]

    def unfolded(self, function: Any, values: Sequence[Value]) -> list[Value]:
        """Apply a function operation by operation."""
        shapes = [((), parts(v)[0].dtype) if isinstance(v, Terms) else (v.shape, v.dtype) for v in values]
        form = unfold(function, *(jax.ShapeDtypeStruct(*s) for s in shapes))
        frame = self.run(form, values, form.outputs, None, ())
        return [frame.env[v] for v in form.outputs]

    def before_sum(self, value: Var, kinds: dict[Plate, list[Axes | None]]) -> Terms:
        """Sum the axes that are no elements, and hold the others."""
        held = {a for p in kinds for a in self.axes_of(value, p) or ()}
        spare = tuple(a for a in range(len(value.shape)) if a not in held)
        out = self.block.det(lambda x: jnp.sum(x, axis=spare), value, label="sum", plates=value.plates)
        moved = {p: self.axes_of(value, p) or () for p in kinds}
        self.axes[out] = {p: tuple(a - sum(s < a for s in spare) for a in own) for p, own in moved.items()}
        return Terms((out,))

    def of_sums(self, equation: Equation, values: Sequence[Value]) -> list[Value]:
        """Apply an operation that is linear in the sums among its operands, term by term."""
        row, full = equation.row, equation.operands(values, self.number)
        varies = [isinstance(v, Terms) for v in full]
        if row.signs is not None:
            signed = [(sign, v) for sign, value in zip(row.signs, full, strict=True) for v in parts(value)]
            return [Terms(tuple(v if sign > 0 else self.map(jnp.negative, v) for sign, v in signed))]
        if (row.moves or row.totals) and len(full) == 1:
            return [full[0]]
        if equation.linear(varies):
            together = [equation.linear([*varies[:k], True, *varies[k + 1 :]]) for k in range(len(full))]
            given = [v for v, own in zip(full, together, strict=True) if not own and isinstance(v, Var)]
            return [
                Terms(
                    tuple(
                        self.map(_alone(equation, k, together), v, *given)
                        for k, own in enumerate(together)
                        if own
                        for v in parts(full[k])
                    )
                )
            ]
        terms = (t for v in full if isinstance(v, Terms) for t in v.terms)
        plate = next(p for t in terms for p in t.plates if self.pool.summands[p].shape)
        raise Conflict(self.pool.summands[plate], f"'{equation.name}' reads a sum over its elements")

    def number(self, literal: Sequence[Any]) -> Var:
        """Write a number of the program."""
        return self.block.constant(np.asarray(literal[0], *literal[1:2]))

    def map(self, function: Callable[..., Any], term: Var, *scalars: Var) -> Var:
        """Apply a function to a term and to scalars beside it."""
        out = self.block.det(function, term, *scalars, label="term", plates=self.plates([term, *scalars]))
        self.axes[out] = dict(self.axes.get(term, {}))
        return out

    # Statements.

    def weigh(self, value: Value, guard: Var | None) -> None:
        """Add a log weight, counted where the guard holds."""
        for term in parts(value):
            if guard is not None:
                term = self.map(lambda x, runs: jnp.where(runs, x, 0), term, guard)
            if term.plates:
                self.pool.add(term, self.axes.get(term, {}))
            else:
                self.pool.totals.append(self.block.det(jnp.sum, term, label="sum") if term.shape else term)

    def factor(self, node: Factor, frame: Frame) -> None:
        """A factor of the program."""
        term = frame.env[node.term]
        if isinstance(term, Var) and not term.plates and frame.steps is None:
            self.block.nodes.append(replace(node, term=term))
        else:
            self.weigh(term, frame.guard)

    def observe(self, node: Site, frame: Frame) -> None:
        """An observation."""
        assert node.observed is not None
        observed = frame.env[node.observed]
        parameters = [frame.env[v] for v in node.parameters]
        if frame.steps is None and not self.plates([observed, *parameters]):
            self.copy(node, frame)
            return
        frame.env[node.out] = observed
        self.weigh(self.density(node.law, [observed, *parameters], node), frame.guard)

    def density(self, law: Any, operands: Sequence[Value], node: Site) -> Value:
        """The log density of a value, kept apart for each element of the sites that it depends on."""
        label = f"log p({show_address(node.address)})"
        if law.units:
            try:
                return self.compute(Tupled(law.log_prob_units), operands, label)[0]
            except Conflict:
                pass
        return self.compute(LogProb(law), operands, label)[0]

    def summand(self, node: Site, frame: Frame) -> None:
        """A site that is summed: its values are a plate, its law a table."""
        law, shape = node.law, tuple(node.out.shape)
        parameters = [frame.env[v] for v in node.parameters]
        together = node.address in self.job.together or law.element_values is None
        size = len(law.element_values) if not together else law.atoms
        if size is None:  # another arm draws the site from finitely many values
            raise UnsupportedProgramError(
                f"site '{show_address(node.address)}' ({node.source}) cannot be summed: {law.label} has infinitely "
                "many values, or as many as others say. Fix: leave it out of enumerate=[...], or give each arm's site "
                "its own name.",
                site=node.address,
            )
        why = self.job.together.get(node.address)
        most = self.job.cap if why is None else self.job.few
        if size > most:
            raise too_many(show_address(node.address), size, most, why or f"its law is {law.label}")
        label = self.job.label(node.address)
        plate = Plate(f"values of {show_address(label)}", size)
        own = () if together else tuple(a for a, n in enumerate(shape) if n != 1)  # one element is spread over others
        summand = Summand(node.address, plate, tuple(shape[a] for a in own), label)
        values, masses = self._listed(law, parameters, together)
        self.pool.declare(summand)
        inner = tuple(p for p in masses.plates if p != plate)
        prior = self._spread(masses, inner, plate, own)
        value = self._spread(values, values.plates, plate, own)
        if own:
            value = listed_once(self, value, own)
        frame.env[node.out] = value
        if frame.guard is not None:
            prior = self.map(_where_it_runs(size), prior, frame.guard, self._index(plate))
        self.pool.add(prior, self.axes[prior])
        self.sites.append(Found(node.address, frame.steps or (), summand, value, frame.guard))

    def _listed(self, law: Any, parameters: Sequence[Value], together: bool) -> tuple[Var, Var]:
        """List the values of a site, and their log masses, along a first axis."""
        if together:
            values, masses = self.compute(Tupled(law.enumerate), parameters, "values")
        else:
            support = law.element_values.astype(law.dtype)
            column = support.reshape((-1,) + (1,) * len(law.shape))
            values = self.block.constant(np.broadcast_to(column, (len(support), *law.shape)))
            masses = self.compute(Tupled(law.element_masses), parameters, "log masses")[0]
        if isinstance(values, Terms) or isinstance(masses, Terms):
            raise UnsupportedProgramError(f"a law of {law.label} depends on a sum over elements.")
        return values, masses

    def _spread(self, value: Var, inner: tuple[Plate, ...], plate: Plate, own: Sequence[int]) -> Var:
        """Turn the first axis of a value into the plate of a site."""
        out = self.block.det(lambda x: x, value, label="values", plates=inner, adds=(plate,))
        before = self.axes.get(value, {})
        if any(0 in axes for axes in before.values()):
            first = next(p for p, axes in before.items() if 0 in axes)
            raise Conflict(self.pool.summands[first], "the values of another site depend on it")
        self.axes[out] = {p: tuple(a - 1 for a in axes) for p, axes in before.items()} | {plate: tuple(own)}
        return out

    def _index(self, plate: Plate) -> Var:
        return self.block.det(lambda: jnp.arange(plate.size), label="index", adds=(plate,))

    def keep(self, node: Site, frame: Frame) -> None:
        """A site that stays; where its parameters depend on summed sites, its law is a mixture."""
        values = [frame.env[v] for v in node.parameters]
        plates = self.plates(values)
        if not plates:
            self.copy(node, frame)
            return
        parameters = [v for value in values for v in parts(value)]
        out, written = node.out.like(), len(self.block.nodes)
        terms = self.density(node.law, [out, *values], node)
        later = self.block.nodes[written:]
        del self.block.nodes[written:]
        if isinstance(terms, Terms) or len(parameters) < len(values):
            raise Conflict(self._elements(plates), f"the law of '{show_address(node.address)}' reads a sum over them")
        weights, own = self.pool.onto(plates), self.pool.summands[plates[0]].shape
        if own:
            places = self.axes_of(terms, plates[0]) or ()
            if any(n != 1 and a not in places for a, n in enumerate(terms.shape)):
                raise Conflict(
                    self._elements(plates), f"'{show_address(node.address)}' has parts that share an element"
                )
            order, shape = tuple(np.argsort(places)), terms.shape
            weights = self.block.det(
                lambda x: jnp.transpose(x, order).reshape(shape), weights, label="order", plates=plates
            )
        weights = flat(self.block, weights, plates)
        many = tuple(bool(v.plates) for v in parameters)
        law = MixtureLaw(node.law, weights.shape[0], many, tuple(node.law.units) if own else ())
        spread = [flat(self.block, v, plates) if v.plates else v for v in parameters]
        self.block.nodes.append(replace(node, law=law, parameters=(weights, *spread), out=out))
        self.block.nodes.extend(later)
        frame.env[node.out] = out
        self.weigh(terms, None)
        self.pool.totals.append(self.block.det(_minus(law), out, weights, *spread, label="minus its mixture"))

    def _elements(self, plates: Sequence[Plate]) -> Summand:
        first = next((p for p in plates if self.pool.summands[p].shape), plates[0])
        return self.pool.summands[first]

    # The end of a scope.

    def finish(self) -> None:
        """Eliminate all sites that are left, and write what remains as one factor."""
        self.pool.eliminate({p for t in self.pool.tables for p in t.term.plates})
        if self.pool.totals:
            label = self.job.label(("~total", *(self.sites[0].summand.label if self.sites else ())))
            self.block.factor((PREFIX, *label), total(self.block, self.pool.totals))

    def child(self) -> Walk:
        """Start a walk over a body."""
        return Walk(self.job, self.scope)


def _alone(equation: Equation, place: int, together: Sequence[bool]) -> Callable[..., Any]:
    """Make the function of one of the operands in which an operation is linear together, the others being zero."""

    def part(term: jax.Array, *given: jax.Array) -> jax.Array:
        rest = iter(given)
        operands = [
            term if k == place else jnp.zeros((), term.dtype) if own else next(rest) for k, own in enumerate(together)
        ]
        return jnp.vectorize(lambda *numbers: equation.bare(*numbers)[0])(*operands)

    return part


def _where_it_runs(size: int) -> Callable[..., Any]:
    """The law of a site whose arm may not run: it has one value then."""

    def masses(prior: jax.Array, runs: jax.Array, index: jax.Array) -> jax.Array:
        return jnp.where(runs, prior, jnp.where(index == 0, 0.0, -jnp.inf))

    return masses


def _minus(law: MixtureLaw) -> Callable[..., Any]:
    """Take back the density of a mixture, which the sum over the tables holds too; an impossible value stays so."""

    def minus(value: jax.Array, *parameters: jax.Array) -> jax.Array:
        term = law.log_prob(value, *parameters)
        return jnp.where(jnp.isneginf(term), 0.0, -term)

    return minus
