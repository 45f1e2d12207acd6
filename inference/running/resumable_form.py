"""Resumable form: one that runs a few steps at a time; all that stands between two portions is one pytree of arrays.

Law: outputs and log weight are those of the whole, bit for bit, however its steps are divided: the key of a step is
that of its number, and the program that takes the steps does not know where a portion begins.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.site_keys import Keys, step_keys
from lawful.backends.xla import DEFAULT, Run, loop_start, loop_step, root_keys
from lawful.errors import LawfulError
from lawful.form import Form, Loop, Node, Var
from lawful.form.liveness import has_weight
from lawful.form.operations.compensated_sum import Sum
from lawful.form.pipeline import through

from .placing import OneDevice, Placing
from .row_stacks import Stacks, in_portion, pieces, steps_of_call, written
from .timed_program import Program


class Pause(NamedTuple):
    """A run between two of its steps.

    Attributes:
        part: number of the loop that is running; the number of loops once all have run.
        step: how many of its steps are done.
        key: the key of the run.
        values: what the loop and the nodes after it read.
        weight: the log weight before the loop, None where the form has none.
        carry: what the loop carries.
        inner: the log weight of its steps so far, None where they have none.
        held: the loop's stacked values that later nodes read, at full length.
    """

    part: Any
    step: Any
    key: jax.Array
    values: list[jax.Array]
    weight: Sum | None
    carry: list[jax.Array]
    inner: Sum | None
    held: list[jax.Array]


@dataclass(frozen=True, eq=False)
class Part:
    """A loop that is cut, with the nodes before it.

    Attributes:
        nodes: the nodes between the loop before and this one.
        loop: the loop.
        live: values from before the loop that it and the nodes after it read.
        held: positions of the stacked values that later nodes read.
        kept: positions of those that only the outputs show.
    """

    nodes: tuple[Node, ...]
    loop: Loop
    live: tuple[Var, ...]
    held: tuple[int, ...]
    kept: tuple[int, ...]


class _Places(NamedTuple):
    """Where what stands between two steps of a loop lies: live values, the carry, and stacks of rows."""

    values: list[Any]
    carry: list[Any]
    held: list[Any]
    kept: list[Any]


class Portions:
    """A form cut at its loops; compiled once per loop, whatever the lengths of the portions.

    Args:
        form: the form.
        cut: which loops are cut, others run as a whole; by default those of two steps or more that carry or weigh.
        longest: most steps of one call of a compiled loop; by default as many as leave 16 MiB of rows.
        placing: where values lie, if not on one device; then the form is what one of the devices runs, rolled.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def walk(y):
    ...     def step(x, y):
    ...         x = lawful.sample("x", dist.Normal(x, 1.0))
    ...         lawful.sample("y", dist.Normal(x, 1.0), obs=y)
    ...         return x, x
    ...     return lawful.scan(step, 0.0, y)[1]
    >>> form, y = lawful.trace(walk, jnp.zeros(5)), jnp.zeros(5)
    >>> portions = Portions(form)
    >>> pause = portions.begin(jax.random.key(0), [y])
    >>> pause, first = portions.advance(pause, 2)
    >>> pause, rest = portions.advance(pause, 3)
    >>> kept = [[np.concatenate([a, b]) for a, b in zip(first, rest)]]
    >>> (path,), log_weight = portions.outputs(pause, kept)
    >>> bool((path == lawful.backends.xla.emit(form)(jax.random.key(0), y)[0][0]).all())
    True
    """

    def __init__(
        self, form: Form, cut: Callable[[Loop], bool] | None = None, longest: int | None = None,
        placing: Placing | None = None,
    ) -> None:  # fmt: skip
        """Find the loops; nothing is compiled yet."""
        self.form = through(form, DEFAULT if placing is None else ())
        self.longest = longest
        self.placing: Placing = OneDevice() if placing is None else placing
        self.programs: dict[Any, Program] = {}
        self.stacks: dict[int, Stacks] = {}
        self.length = 16  # of the last portion that a driver took
        self.parts, self.rest = _parts(self.form, _carries if cut is None else cut)
        shown = {y: (k, i) for k, part in enumerate(self.parts) for i, j in enumerate(part.kept) for y in [_y(part, j)]}
        self._shown = {position: shown[v] for position, v in enumerate(self.form.outputs) if v in shown}

    @property
    def compile_seconds(self) -> float:
        """Seconds spent on compiling so far."""
        return sum((program.seconds for program in self.programs.values()), start=0.0)

    @property
    def busy_seconds(self) -> float:
        """Seconds so far in which compiled programs ran."""
        return sum((program.busy for program in self.programs.values()), start=0.0)

    def total(self, part: int) -> int:
        """Number of steps of a loop."""
        return self.parts[part].loop.length

    def ended(self, pause: Pause) -> bool:
        """Tell whether the loop in which a run stands has taken all its steps."""
        return int(pause.step) == self.total(int(pause.part))

    def begin(self, key: jax.Array, inputs: Sequence[Any]) -> Pause:
        """Run up to the first loop."""
        values = [jnp.asarray(x) for x in inputs]
        if len(values) != len(self.form.inputs):
            raise LawfulError(f"a form of {len(self.form.inputs)} inputs was called with {len(values)} arrays.")
        weight = Sum.zero() if has_weight(self.form) else None
        return self._enter(0, Pause(np.int64(-1), np.int64(0), key, values, weight, [], None, []))

    def advance(
        self, pause: Pause, steps: int, into: Sequence[np.ndarray] | None = None
    ) -> tuple[Pause, Sequence[np.ndarray]]:
        """Take some steps of the loop that is running, or as many as are left of it; at its end enter the next one.

        The pause that is given must not be used again, since its arrays are written over.

        Args:
            pause: where the run stands.
            steps: how many.
            into: where the rows are written; new arrays by default.

        Returns: the next pause; and of each value that only the outputs show its rows (step, ...), in the order in
            which the steps were taken, on the host.
        """
        if self.ended(pause):
            pause = self._enter(int(pause.part) + 1, pause)
        number = int(pause.part)
        left = min(steps, self.total(number) - int(pause.step))
        if into is None:
            into = [np.empty((left, *shape), dtype) for shape, dtype in self.rows(number)]
        for start, count in pieces(left, self.capacity(number)):
            pause = self._portion(pause, count, [array[start : start + count] for array in into])
        return pause, into

    def outputs(self, pause: Pause, kept: Sequence[Sequence[np.ndarray]]) -> tuple[list[Any], jax.Array]:
        """Give outputs and log weight of a run whose last loop has ended.

        `kept` has of each loop the rows of all its steps, as `advance` gave them.
        """
        pause = self._ended(pause)
        found = self.unshown(pause)
        for position, (number, place) in self._shown.items():
            part = self.parts[number]
            rows = kept[number][place]
            rows = rows[::-1] if part.loop.reverse else rows
            found[position] = np.moveaxis(rows, 0, len(_row(part, part.kept[place]).plates))
        zero = jnp.zeros((), jnp.result_type(float))
        total = zero if pause.weight is None else pause.weight.value()
        return [found[position] for position in range(len(found))], total

    def unshown(self, pause: Pause) -> dict[int, Any]:
        """Give by position the outputs, of a run whose last loop has ended, that are no rows of a loop."""
        positions = [i for i in range(len(self.form.outputs)) if i not in self._shown]
        return dict(zip(positions, self._ended(pause).values, strict=True))

    def shown(self, part: int) -> dict[int, int]:
        """Say at which outputs the rows of a loop are shown: position of the output to place among the rows."""
        return {position: place for position, (number, place) in self._shown.items() if number == part}

    def rows(self, part: int) -> list[tuple[tuple[int, ...], Any]]:
        """Give shape and type of a row of each value that only the outputs show."""
        one = self.parts[part]
        return [(self.placing.shape(v), v.dtype) for v in (_row(one, j) for j in one.kept)]

    def results(self) -> list[tuple[tuple[int, ...], Any]]:
        """Give shape and type of each output."""
        return [(self.placing.shape(v), v.dtype) for v in self.form.outputs]

    def expected(self, part: int, key: jax.Array, inputs: Sequence[Any]) -> Pause:
        """Describe the arrays of a pause in a loop, by shapes and types; nothing is run."""
        weight = Sum.zero() if has_weight(self.form) else None
        found: Any = jax.eval_shape(self._entering(0), key, [jnp.asarray(x) for x in inputs], weight, [], None, [])
        for number in range(1, part + 1):
            found = jax.eval_shape(self._entering(number), key, *found)
        return Pause(np.int64(0), np.int64(0), key, *found)

    def capacity(self, part: int) -> int:
        """Most steps that one call of a compiled loop takes."""
        size = sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in self.rows(part))
        return steps_of_call(size, self.total(part), self.longest)

    def _ended(self, pause: Pause) -> Pause:
        return pause if int(pause.part) == len(self.parts) else self._enter(len(self.parts), pause)

    def _enter(self, number: int, pause: Pause) -> Pause:
        """Run the nodes between two loops."""
        program = self._program(("enter", number), lambda: self._entering(number))
        found = program(pause.key, pause.values, pause.weight, pause.carry, pause.inner, pause.held)
        entered = Pause(np.int64(number), np.int64(0), pause.key, *found)
        empty = number < len(self.parts) and not self.total(number)
        return self._enter(number + 1, entered) if empty else entered

    def _entering(self, number: int) -> Callable[..., Any]:
        """Give the program between two loops."""
        everywhere = self.placing.place(None)
        if number:
            before = self._places(self.parts[number - 1])
            ins = everywhere, before.values, everywhere, before.carry, everywhere, before.held
        else:
            ins = everywhere, self._placed(self.form.inputs), everywhere, [], everywhere, []
        if number < len(self.parts):
            after = self._places(self.parts[number])
            outs = after.values, everywhere, after.carry, everywhere, after.held
        else:
            shown = [v for i, v in enumerate(self.form.outputs) if i not in self._shown]
            outs = self._placed(shown), everywhere, [], everywhere, []
        return self.placing.mapped(functools.partial(self._between, number), ins, outs)

    def _places(self, part: Part) -> _Places:
        """Say where what stands between two steps of a loop lies."""
        return _Places(
            self._placed(part.live),
            self._placed(part.loop.carry_out),
            [self.placing.place(_row(part, j), rows=True) for j in part.held],
            [self.placing.place(_row(part, j), rows=True) for j in part.kept],
        )

    def _placed(self, values: Sequence[Var]) -> list[Any]:
        return [self.placing.place(v) for v in values]

    def _between(self, number: int, key: Any, values: Any, weight: Any, carry: Any, inner: Any, held: Any) -> Any:
        if number:
            before = self.parts[number - 1]
            known = dict(zip(before.live, values, strict=True))
            known |= zip(before.loop.carry_out, carry, strict=True)
            for j, rows in zip(before.held, held, strict=True):
                known[_y(before, j)] = jnp.moveaxis(rows, 0, len(_row(before, j).plates))
            weight = weight if inner is None else weight.plus(inner)
        else:
            known = dict(zip(self.form.inputs, values, strict=True))
        known |= self._constants()
        nodes = self.parts[number].nodes if number < len(self.parts) else self.rest
        run = Run(root_keys(nodes, key), weight)
        run.through(nodes, known)
        weight = run.weight
        if number == len(self.parts):
            return [known[v] for i, v in enumerate(self.form.outputs) if i not in self._shown], weight, [], None, []
        part = self.parts[number]
        carry, inner = _typed(loop_start(part.loop, [known[v] for v in part.loop.init]))
        shapes = _row_shapes(part.loop, known, key)
        held = [jnp.zeros((part.loop.length, *shapes[j].shape), shapes[j].dtype) for j in part.held]
        return [known[v] for v in part.live], weight, carry, inner, held

    def _portion(self, pause: Pause, count: int, into: Sequence[np.ndarray]) -> Pause:
        number = int(pause.part)
        part, capacity = self.parts[number], self.capacity(number)
        reads, places, everywhere = set(part.loop.ins), self._places(part), self.placing.place(None)
        read = [i for i, v in enumerate(part.live) if v in reads]
        state = places.values, (places.carry, everywhere), places.held, places.kept
        ins = everywhere, [places.values[i] for i in read], everywhere, *state[1:]
        program = self._program(
            ("steps", number),
            lambda: self.placing.mapped(functools.partial(self._steps, part, capacity), ins, state[1:]),
            donated=(4, 5),
        )
        if number not in self.stacks:
            self.stacks[number] = Stacks([((capacity, *shape), dtype) for shape, dtype in self.rows(number)])
        at, stacks = (np.int32(pause.step), np.int32(count)), self.stacks[number]
        given = pause.values, (pause.carry, pause.inner), pause.held, stacks.taken()
        values, *rest = self.placing.put(given, state)
        pair, held, rows = program(pause.key, [values[i] for i in read], at, *rest)
        stacks.read(rows, count, into)
        step = np.int64(int(pause.step) + count)
        return pause._replace(step=step, values=values, carry=pair[0], inner=pair[1], held=held)

    def _steps(
        self, part: Part, capacity: int, key: Any, values: Any, at: Any, state: Any, held: Any, stacks: Any
    ) -> Any:
        (start, count), pair = at, state
        loop = part.loop
        reads = set(loop.ins)
        known = dict(zip([v for v in part.live if v in reads], values, strict=True)) | self._constants()
        xs = _scanned(loop, known)
        own = root_keys((loop,), key)

        def number(i: Any) -> Any:
            return loop.length - 1 - start - i if loop.reverse else start + i

        rows: Any = own
        unstack: Callable[..., Keys] = dict
        if not loop.unrolled:
            rows, unstack = step_keys(own, number(jnp.arange(capacity, dtype=jnp.int32)))
        take = loop_step(loop, [known[v] for v in loop.constants])

        def step(i: Any, state: Any) -> Any:
            pair, held = state
            t = number(i)
            keys = jax.tree.map(lambda row: row[t if loop.unrolled else i], rows)
            pair, ys = take(pair, [jax.lax.dynamic_index_in_dim(x, t, 0, keepdims=False) for x in xs], unstack(keys))
            held = [written(x, ys[j], t) for x, j in zip(held, part.held, strict=True)]
            return (pair, held), [ys[j] for j in part.kept]

        (pair, held), kept = in_portion(step, (pair, held), count, stacks)
        return _typed(pair), held, kept

    def _constants(self) -> dict[Var, jax.Array]:
        return {v: jnp.asarray(array) for v, array in self.form.constants}

    def _program(self, name: Any, build: Callable[[], Callable[..., Any]], donated: tuple[int, ...] = ()) -> Program:
        if name not in self.programs:
            self.programs[name] = Program(build(), donated)
        return self.programs[name]


def _parts(form: Form, cut: Callable[[Loop], bool]) -> tuple[list[Part], tuple[Node, ...]]:
    """Cut a form at its loops; also the nodes after the last of them."""
    places = [i for i, node in enumerate(form.nodes) if isinstance(node, Loop) and cut(node)]
    constants = {v for v, _ in form.constants}
    shown: set[Var] = set()  # stacked values that are on the host, since only outputs show them
    parts = []
    for last, place in itertools.pairwise([-1, *places]):
        loop, before = form.nodes[place], form.nodes[:place]
        assert isinstance(loop, Loop)
        later = {v for node in form.nodes[place + 1 :] for v in node.ins}
        known = [*form.inputs, *(v for node in before for v in node.outs)]
        wanted = later | {v for v in (*loop.ins, *form.outputs) if v not in shown}
        live = tuple(v for v in dict.fromkeys(known) if v in wanted and v not in constants and v not in shown)
        held = tuple(j for j, y in enumerate(loop.ys) if y in later)
        kept = tuple(j for j, y in enumerate(loop.ys) if y not in later and y in form.outputs)
        shown |= {loop.ys[j] for j in kept}
        parts.append(Part(form.nodes[last + 1 : place], loop, live, held, kept))
    return parts, form.nodes[places[-1] + 1 if places else 0 :]


def _carries(loop: Loop) -> bool:
    return loop.length > 1 and bool(loop.init or has_weight(loop.body))


def _y(part: Part, place: int) -> Var:
    return part.loop.ys[place]


def _row(part: Part, place: int) -> Var:
    """Return the value of the loop's body that a stacked value holds a row of."""
    return part.loop.body.outputs[len(part.loop.init) + place]


def _scanned(loop: Loop, values: dict[Var, jax.Array]) -> list[jax.Array]:
    return [jnp.moveaxis(values[v], len(v.plates), 0) for v in loop.xs]


def _row_shapes(loop: Loop, values: dict[Var, jax.Array], key: jax.Array) -> list[Any]:
    own = root_keys((loop,), key)
    keys = {address: row[0] for address, row in own.items()} if loop.unrolled else own
    take = loop_step(loop, [values[v] for v in loop.constants])
    one = [jnp.zeros(x.shape[1:], x.dtype) for x in _scanned(loop, values)]
    shapes: list[Any] = jax.eval_shape(lambda: take(loop_start(loop, [values[v] for v in loop.init]), one, keys)[1])
    return shapes


def _typed(tree: Any) -> Any:
    """Give every array the type that it has, also where it was a number of Python before: one program serves all."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)
