"""Involutions (tier 0b): a map of a kernel at generated points, against what the kernel says of it.

Law: phi(phi(z)) = z; the log |det J| that the kernel accepts by is that of the forward-mode Jacobian of the user's map,
over the coordinates that are there; its ratio is that of the densities of the two programs, scored apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.log_density import scored
from lawful.backends.xla import compile
from lawful.errors import UnsupportedProgramError
from lawful.form import Form, Var
from lawful.form.arguments.arrays import split_arguments
from lawful.form.builder import Block
from lawful.form.choices import by_name
from lawful.passes.record import record
from lawful.passes.thread_sites import interpose
from lawful.tracing.trace import trace

from ...kernels.base.base import flag_per_choice, initial_state
from ...kernels.base.proposal_rules import Score
from ...kernels.jumps.involutive import Involutive, Parts
from ...representations.kernel_form import state_inputs
from ..statistics.keys import key_of
from ..statistics.report import Report
from ..statistics.repro import line, named

TOLERANCE = 1e-9


def involution(kernel: Any, model: Any, *args: Any, points: int = 20, tolerance: float = TOLERANCE) -> Report:
    """Check the map of an involutive kernel: it leads back, and its Jacobian and ratio are what they have to be.

    At points z = (x, v), with x from the prior and v from the auxiliary program: `map(map(z)) = z`; the `log |det J|`
    that the kernel uses, computed or declared, is the slogdet of the Jacobian of the user's own function over the
    coordinates that are there, which have to be as many after the map as before; and the kernel's log ratio is
    `log pi(x') + log q(v' | x') - log pi(x) - log q(v | x) + log |det J|`, where each density is computed apart.

    Args:
        kernel: `kernels.involutive(...)` or `kernels.jump(...)`.
        model: a program.
        args: its arguments.
        points: number of generated points; those that the map leads out of the support say nothing, and do not count.
        tolerance: largest difference, relative to 1 + the value.

    Raises: UnsupportedProgramError for another kernel.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def model():
    ...     lawful.sample("x", dist.Gamma(2.0, 1.0))
    >>> def factor(current):
    ...     lawful.sample("t", dist.Normal(0.0, 0.5))
    >>> def stretch(choices, auxiliary):
    ...     return {"x": choices["x"] * jnp.exp(auxiliary["t"])}, {"t": -auxiliary["t"]}
    >>> involution(kernels.involutive(stretch, factor), model).passed
    True
    >>> wrong = kernels.involutive(stretch, factor, log_jacobian=lambda x, v: -v["t"])
    >>> involution(wrong, model).status
    'failed'
    """
    form = trace(model, *args)
    inputs, _, _ = split_arguments(args)
    made = kernel.involutive(form) if hasattr(kernel, "involutive") else kernel
    if not isinstance(made, Involutive):
        raise UnsupportedProgramError(
            f"involution: expected an involutive kernel, got {kernel!r}; see check.invariant."
        )
    parts = made.parts(form)
    opened = _Opened(made, form, parts)
    key, worst, seen, problems = key_of(f"involution {kernel!r}"), {name: 0.0 for name in FAULTS}, 0, []
    for point in range(points):
        z = opened.point(jax.random.fold_in(key, point), inputs)
        found = opened.faults(z, inputs)
        if found is None:
            continue
        seen += 1
        for name, size in found.items():
            if not size <= tolerance and worst[name] <= tolerance:
                problems.append(f"{FAULTS[name]} ({size:.3g} at point {point}: {opened.described(z)})")
            worst[name] = max(worst[name], math.inf if math.isnan(size) else size)
    name, size = max(worst.items(), key=lambda pair: pair[1])
    return Report(
        status="failed" if problems else "passed" if seen else "inconclusive",
        law=f"{kernel!r}: phi(phi(z)) = z, with its Jacobian and its ratio",
        level="identities",
        measure_error=size,
        instances=seen,
        worst=(name, size),
        repro=line(involution, "kernel", named(model, "model"), "*args", points=points, tolerance=tolerance),
        remarks="\n".join(problems) or ("" if seen else "the map led out of the support from every point"),
    )


FAULTS = {
    "distance from the start": "the map applied twice does not give the start",
    "coordinates": "another number of continuous coordinates is there after the map: choices that begin need auxiliary "
    "choices that they come from, and choices that stop need auxiliary choices that hold them",
    "log |det J|": "the log |det J| that the kernel uses is not that of the map",
    "ratio": "the log ratio is not that of the densities",
}


@dataclass(frozen=True)
class _Point:
    """A state, auxiliary values, and their flags."""

    state: list[Any]
    values: list[Any]


class _Opened:
    """A kernel whose auxiliary choices are inputs, beside the programs that its ratio is made of."""

    def __init__(self, kernel: Involutive, form: Form, parts: Parts) -> None:
        self.kernel, self.form, self.parts = kernel, form, parts
        self.start = compile(initial_state(form))
        self.draw = compile(record(parts.auxiliary, ("sample",)).form)
        self.own = len(parts.auxiliary.outputs)
        block, inputs = Block(), tuple(v.like() for v in form.inputs)
        state = state_inputs(parts.choices)
        drawn = [Var(c.full_shape, c.dtype) for c in parts.drawn]
        flags = flag_per_choice(block, parts.choices, state.flags)
        operands = kernel.operands(block, form, parts.choices, inputs, state.values, flags)
        back = interpose(parts.auxiliary, Score()).spliced(block, [*operands, *drawn])
        moved = kernel.moved(block, form, parts, inputs, state, drawn, back.values, back.flags)
        numbers = (moved.log_ratio, moved.log_jacobian, moved.error)
        outputs = (*numbers, *moved.state.flat, *moved.auxiliary, *moved.before, *moved.after)
        self.run = compile(block.form((*inputs, *state.flat, *drawn), outputs))
        self.size = len(state.flat)
        self.free = [i for i, e in enumerate(parts.map.entries) if e.continuous]
        self.differentiate, self.applied = jax.jit(self._blocks), jax.jit(self._applied)

    def point(self, key: jax.Array, inputs: Sequence[Any]) -> _Point:
        """Draw a state from the prior and auxiliary choices at it."""
        state = list(self.start(jax.random.fold_in(key, 0), *inputs)[0])
        z = _Point(state, [])
        out = self.draw(jax.random.fold_in(key, 1), *self._operands(z, inputs))[0]
        return _Point(state, list(out[self.own : self.own + len(self.parts.drawn)]))

    def _operands(self, z: _Point, inputs: Sequence[Any]) -> list[Any]:
        """List what the auxiliary program is given."""
        current = self._masked(z.state)
        return [*(current[name] for name in sorted(current)), *self.kernel.taken(self.form, inputs)]

    def _masked(self, state: Sequence[Any]) -> dict[str, Any]:
        found = by_name(self.parts.choices, state)
        there = {c.name: found.flags.get(c.name, jnp.ones(c.loops, bool)) for c in self.parts.choices}
        return {
            name: jnp.where(_spread(there[name], value), value, jnp.zeros_like(value))
            for name, value in found.values.items()
        }

    def faults(self, z: _Point, inputs: Sequence[Any]) -> dict[str, float] | None:
        """Measure what is wrong at a point; None where the map leads out of the support."""
        ratio, log_jacobian, error, *rest = self.run(jax.random.key(0), *inputs, *z.state, *z.values)[0]
        n, m = len(self.parts.choices), len(self.parts.drawn)
        there, rest = rest[: self.size + m], rest[self.size + m :]
        before, after = rest[: n + m], rest[n + m :]
        new = _Point(list(there[: self.size]), list(there[self.size :]))
        matrix = self._jacobian(z, before, after)
        density_forth, density_back = (self._log_density(p, inputs) for p in (z, new))
        if not density_back > -math.inf:
            return None
        found = {name: 0.0 for name in FAULTS}
        found["distance from the start"] = self._distance(z, new, before, after)
        if matrix.shape[0] != matrix.shape[1]:
            found["coordinates"] = float(abs(matrix.shape[0] - matrix.shape[1]))
            return found
        truth = float(np.linalg.slogdet(matrix)[1]) if matrix.size else 0.0
        found["log |det J|"] = abs(float(log_jacobian) - truth) / (1 + abs(truth))
        expected = density_back - density_forth + truth
        if float(error) <= self.kernel.tolerance_in_use():
            found["ratio"] = abs(float(ratio) - expected) / (1 + abs(expected))
        return found

    def _both(self, z: _Point, flags: Sequence[Any]) -> list[dict[str, Any]]:
        """Choices and auxiliary choices by name, zero where they do not run."""
        n = len(self.parts.choices)
        values = [*z.state[:n], *z.values]
        shown = [jnp.where(_spread(f, v), v, jnp.zeros_like(v)) for v, f in zip(values, flags, strict=True)]
        groups = (self.parts.choices, shown[:n]), (self.parts.drawn, shown[n:])
        return [dict(zip((c.name for c in cs), vs, strict=True)) for cs, vs in groups]

    def _applied(self, both: Sequence[Mapping[str, Any]]) -> list[Any]:
        out = self.kernel.map(*both)
        return [jnp.asarray(out[e.group].get(e.choice.name, both[e.group][e.choice.name])).astype(e.choice.dtype)
                for e in self.parts.map.entries]  # fmt: skip

    def _distance(self, z: _Point, new: _Point, before: Sequence[Any], after: Sequence[Any]) -> float:
        """Measure how far the user's function, applied to the new point, ends from the start."""
        again = self.applied(self._both(new, after))
        n, worst = len(self.parts.choices), 0.0
        for entry, old, value, flag in zip(
            self.parts.map.entries, [*z.state[:n], *z.values], again, before, strict=True
        ):
            old, value, there = (np.asarray(x) for x in (old, value, _spread(flag, old)))
            off = np.abs(value - old) / (1 + np.abs(old)) if entry.continuous else np.where(value == old, 0, np.inf)
            worst = max(worst, float(np.max(np.where(there, off, 0.0), initial=0.0)))
        return worst

    def _jacobian(self, z: _Point, before: Sequence[Any], after: Sequence[Any]) -> np.ndarray:
        """Differentiate the user's own function over the coordinates that are there before and after."""
        entries, both = self.parts.map.entries, self._both(z, before)
        free = self.free
        if not free:
            return np.zeros((0, 0))
        blocks = self.differentiate(both)
        sizes = [math.prod(entries[i].choice.full_shape) for i in free]
        matrix = np.zeros((sum(sizes), sum(sizes)))
        ends = np.cumsum([0, *sizes])
        for r, row in enumerate(blocks):
            for c, block in enumerate(row):
                matrix[ends[r] : ends[r + 1], ends[c] : ends[c + 1]] = np.asarray(block).reshape(sizes[r], sizes[c])
        keep = [np.concatenate([np.broadcast_to(_spread(flags[i], np.zeros(entries[i].choice.full_shape)),
                                                entries[i].choice.full_shape).reshape(-1) for i in free] or
                               [np.zeros(0, bool)]) for flags in (after, before)]  # fmt: skip
        return matrix[keep[0]][:, keep[1]]

    def _blocks(self, both: list[dict[str, jax.Array]]) -> Any:
        """Differentiate each continuous result by each continuous value."""
        entries = self.parts.map.entries

        def rows(values: list[jax.Array]) -> list[jax.Array]:
            moved = [dict(group) for group in both]
            for i, value in zip(self.free, values, strict=True):
                moved[entries[i].group][entries[i].choice.name] = value
            out = self._applied(moved)
            return [out[i] for i in self.free]

        return jax.jacfwd(rows)([both[entries[i].group][entries[i].choice.name] for i in self.free])

    def _log_density(self, z: _Point, inputs: Sequence[Any]) -> float:
        """Score both programs at a point."""
        program, auxiliary = scored(self.form)[1], scored(self.parts.auxiliary)[1]
        prior, likelihood, _ = program(list(inputs), z.state[: len(self.parts.choices)])
        return float(prior) + float(likelihood) + float(auxiliary(self._operands(z, inputs), z.values)[0])

    def described(self, z: _Point) -> str:
        """Show a point."""
        pairs = zip(
            (*self.parts.choices, *self.parts.drawn), [*z.state[: len(self.parts.choices)], *z.values], strict=True
        )
        return ", ".join(f"{c.name} = {np.asarray(v).round(4).tolist()}" for c, v in list(pairs)[:6])


def _spread(flag: Any, value: Any) -> Any:
    return jnp.reshape(flag, np.shape(flag) + (1,) * (np.ndim(value) - np.ndim(flag)))
