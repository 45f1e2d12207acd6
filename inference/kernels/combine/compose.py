"""Compose: kernels made of kernels.

Law: kernels that keep one target keep it one after the other, and picked at random. A mixture of reversible kernels and
a repeated reversible kernel are reversible; a cycle is not.

A cycle and a mixture tell each number of all parts together, and of each part as `<number>@<position>_<kernel>`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.form import Form, Var
from lawful.form.builder import Block
from lawful.form.liveness import without_dead_code

from ...contract import Contract
from ...findings.move_statistics import OF
from ...laws.picks import PickLaw
from ...registered import stored_as
from ...representations.absent_elements import keeps_absent
from ...representations.kernel_form import KernelForm, exact, scoped, state_inputs, unweighed
from ..base.base import Kernel, finished
from .mh import as_kernel


@stored_as("kernels.cycle")
@dataclass(frozen=True)
class Cycle:
    """Kernels one after the other."""

    kernels: tuple[Kernel, ...]

    @property
    def contract(self) -> Contract:
        """Invariant where all parts are; reversible only where there is one part."""
        return joint(self.kernels, len(self.kernels) == 1)

    @property
    def keeps_absent(self) -> bool:
        """Whether all parts leave what is absent where it is."""
        return all(map(keeps_absent, self.kernels))

    def build(self, program: Form) -> KernelForm:
        """Write the kernels in a row."""
        built = [exact(kernel.build(program), "cycle").on_states for kernel in self.kernels]
        block, inputs, given = _start(program, built[0])
        carried, numbers, apart = given, list[Mapping[str, Var]](), dict[str, Var]()
        for position, part in enumerate(built):
            state = built[position - 1].left(block, inputs, carried)
            carried, info = _step(block, part, inputs, state, ("~cycle", str(position)))
            numbers.append(info)
            apart |= by_part(position, self.kernels[position], info)
        return _close(block, built[-1], (*inputs, *given), carried, {**together(block, numbers), **apart})

    def plan(self, program: Form) -> list[str]:
        """Say what each kernel moves."""
        return _plans(self.kernels, program, [f"{i + 1}. " for i in range(len(self.kernels))])

    def __repr__(self) -> str:
        """Show the kernels."""
        return f"cycle({', '.join(map(repr, self.kernels))})"


@stored_as("kernels.mixture")
@dataclass(frozen=True)
class Mixture:
    """One of several kernels, picked at random at each step."""

    weights: tuple[float, ...]
    kernels: tuple[Kernel, ...]

    @property
    def contract(self) -> Contract:
        """What all parts claim."""
        return joint(self.kernels, True)

    @property
    def keeps_absent(self) -> bool:
        """Whether all parts leave what is absent where it is."""
        return all(map(keeps_absent, self.kernels))

    def build(self, program: Form) -> KernelForm:
        """Write the pick and the branch."""
        built = [exact(kernel.build(program), "mixture").on_states for kernel in self.kernels]
        block, inputs, state = _start(program, built[0])
        left = next((part for part in built if part.leave is not None), built[0])
        infos = [dict(zip(part.info, part.step.outputs[part.size :], strict=True)) for part in built]
        infos = [_told(position, self.kernels[position], info) for position, info in enumerate(infos)]
        shapes = {name: v.shape for info in infos for name, v in info.items()}
        names = tuple(shapes)
        weights = block.constant(np.asarray(self.weights, jnp.result_type(float)))
        law = PickLaw(len(built), shared=True)
        pick = block.site(("~mixture", "pick"), law, (weights,))
        arms = []
        for position, part in enumerate(built):
            inside = Block()
            own_inputs, own_state = tuple(v.like() for v in inputs), tuple(v.like() for v in state)
            where = ("~mixture", str(position))
            here = own_state if part.leave is not None else left.left(inside, own_inputs, own_state)
            after, info = _step(inside, part, own_inputs, here, where)
            info = _told(position, self.kernels[position], info)
            found = [
                inside.det(_number, info[name], label=name)
                if name in info
                else inside.constant(np.full(shapes[name], _absent(name), jnp.result_type(float)))
                for name in names
            ]
            arms.append(without_dead_code(inside.form((*own_inputs, *own_state), (*after, *found))))
        outs = block.branch(pick, arms, (*inputs, *state), arms[0].outputs, label="which kernel")
        numbers = dict(zip(names, outs[len(state) :], strict=True))
        numbers = {name: block.det(_kinds(name), v, label=name) for name, v in numbers.items()}
        return _close(block, left, (*inputs, *state), outs[: len(state)], numbers)

    def plan(self, program: Form) -> list[str]:
        """Say what each kernel moves, and how often."""
        return _plans(self.kernels, program, [f"{w:.3g}: " for w in self.weights])

    def __repr__(self) -> str:
        """Show weights and kernels."""
        return f"mixture({list(self.weights)}, {', '.join(map(repr, self.kernels))})"


@stored_as("kernels.repeat")
@dataclass(frozen=True)
class Repeat:
    """One kernel several times, counted as one step."""

    kernel: Kernel
    times: int

    @property
    def contract(self) -> Contract:
        """What the kernel claims."""
        return joint((self.kernel,), True)

    @property
    def keeps_absent(self) -> bool:
        """Whether the kernel leaves what is absent where it is."""
        return keeps_absent(self.kernel)

    def build(self, program: Form) -> KernelForm:
        """Write the loop."""
        part = unweighed(self.kernel.build(program), "repeat")
        block, operands = Block(), tuple(v.like() for v in part.step.inputs)
        inputs, carry = operands[: -part.carried], operands[-part.carried :]
        after, stacked = block.loop(scoped(part.step, ("~repeat",)), self.times, inputs, carry, ())
        numbers = {name: block.det(_Reduce(name), v, label=name) for name, v in zip(part.info, stacked, strict=True)}
        return _close(block, part, operands, after, numbers)

    def plan(self, program: Form) -> list[str]:
        """Say what the kernel moves."""
        return [f"{self.times} times {line}" for line in self.kernel.plan(program)]

    def __repr__(self) -> str:
        """Show the kernel."""
        return f"repeat({self.kernel!r}, {self.times})"


def cycle(*kernels: Any) -> Cycle:
    """Apply kernels one after the other, as one step.

    Args:
        kernels: kernels; a bare proposal is wrapped in `mh`.

    >>> from lawful.inference import kernels
    >>> cycle(kernels.random_walk(0.5), kernels.mh())
    cycle(mh(random_walk(0.5)), mh(single_site()))
    """
    if not kernels:
        raise LawfulError("cycle: expected one kernel or more, got none.")
    return Cycle(tuple(map(as_kernel, kernels)))


def mixture(weights: Sequence[float | int], *kernels: Any) -> Mixture:
    """Apply one of several kernels, picked at random with the given weights.

    All chains pick the same kernel at a step, so that only this one is computed; each of them alone is such a chain.

    Args:
        weights: a positive number for each kernel; they are divided by their sum.
        kernels: kernels; a bare proposal is wrapped in `mh`.

    >>> from lawful.inference import kernels
    >>> mixture([3, 1], kernels.mh(), kernels.random_walk(0.5))
    mixture([0.75, 0.25], mh(single_site()), mh(random_walk(0.5)))
    """
    given = tuple(float(w) for w in weights)
    if len(given) != len(kernels) or not kernels or not all(0 < w < float("inf") for w in given):
        raise LawfulError(
            f"mixture: expected one positive weight for each of the {len(kernels)} kernels, got {list(given)}."
        )
    return Mixture(tuple(w / sum(given) for w in given), tuple(map(as_kernel, kernels)))


def repeat(kernel: Any, times: int) -> Repeat:
    """Apply a kernel several times, as one step.

    >>> from lawful.inference import kernels
    >>> repeat(kernels.mh(), 10)
    repeat(mh(single_site()), 10)
    """
    if not isinstance(times, int | np.integer) or times < 1:
        raise LawfulError(f"repeat: expected an integer of 1 or more, got {times!r}.")
    return Repeat(as_kernel(kernel), int(times))


def joint(kernels: Sequence[Any], reversible: bool) -> Contract:
    """Claim what all parts claim."""
    contracts = [kernel.contract for kernel in kernels]
    rough = next((c for c in contracts if not c.exact), None)
    if rough is not None:
        return rough
    both = reversible and all(c.reversible for c in contracts)
    return Contract(
        "invariant_kernel",
        target=contracts[0].target,
        reversible=True if both else None,
        parametric=all(c.parametric for c in contracts),
    )


def _start(program: Form, built: KernelForm) -> tuple[Block, tuple[Var, ...], tuple[Var, ...]]:
    return Block(), tuple(v.like() for v in program.inputs), state_inputs(built.choices).flat


def _step(
    block: Block, built: KernelForm, inputs: Sequence[Var], state: Sequence[Var], scope: tuple[str, ...]
) -> tuple[tuple[Var, ...], Mapping[str, Var]]:
    """Append a step of a kernel that carries a state, under a scope; gives what it carries, and its numbers by name."""
    outs = block.splice(scoped(built.step, scope), [*inputs, *state])
    return outs[: built.size], dict(zip(built.info, outs[built.size :], strict=True))


def _close(
    block: Block, left: KernelForm, given: Sequence[Var], carried: Sequence[Var], numbers: Mapping[str, Var]
) -> KernelForm:
    """Make a kernel that is entered and left as one of its parts is."""
    form = finished(block.form(given, (*carried, *numbers.values())))
    return replace(left, step=form, info=tuple(numbers))


def _plans(kernels: Sequence[Kernel], program: Form, marks: Sequence[str]) -> list[str]:
    return [mark + line for kernel, mark in zip(kernels, marks, strict=True) for line in kernel.plan(program)]


def together(block: Block, numbers: Sequence[Mapping[str, Var]]) -> dict[str, Var]:
    """Bring the numbers of several kernels together by name."""
    names = dict.fromkeys(name for info in numbers for name in info if OF not in name)
    found = {}
    for name in names:
        values = [info[name] for info in numbers if name in info]
        found[name] = block.det(_Joined(name), *values, label=name)
    return found


def by_part[T](position: int, kernel: object, info: Mapping[str, T]) -> dict[str, T]:
    """Name the numbers of one part; what a warm-up reads is told once, of all parts."""
    found = re.match(r"\w+", repr(kernel))
    part = f"{position}_{found.group() if found else 'kernel'}"
    names = {name: name.partition(OF) for name in info if not name.startswith("~")}
    return {f"{own}{OF}{part}{inner and '_'}{inner}": info[name] for name, (own, _, inner) in names.items()}


def _told[T](position: int, kernel: Kernel, info: Mapping[str, T]) -> dict[str, T]:
    """Name the numbers of one part twice, for all parts together and for this one."""
    return {**{n: v for n, v in info.items() if OF not in n}, **by_part(position, kernel, info)}


def _absent(name: str) -> float:
    """Tell of a kernel that did not run: it counted nothing, and nothing else is known of it."""
    return float("nan") if OF in name and not name.startswith("n_") else 0.0


def _reduction(name: str, kind: Any) -> Callable[..., jax.Array]:
    """How numbers of several steps become one: counts add up, truths hold where any does, others are averaged.

    What a warm-up reads is that of the last step.
    """
    if name.startswith("n_"):
        return lambda x: jnp.sum(x, axis=0, dtype=jnp.int32)
    if name.startswith("~"):
        return lambda x: x[-1]
    mean = jnp.nanmean if OF in name else jnp.mean  # of a part that did not always run
    return (lambda x: jnp.any(x, axis=0)) if kind == jnp.dtype(bool) else (lambda x: mean(x, axis=0))


@dataclass(frozen=True)
class _Reduce:
    """Reduce the numbers of many steps."""

    name: str

    def __call__(self, values: jax.Array) -> jax.Array:
        return _reduction(self.name, values.dtype)(values)


@dataclass(frozen=True)
class _Joined:
    """Reduce the numbers of several kernels."""

    name: str

    def __call__(self, *values: jax.Array) -> jax.Array:
        return _Reduce(self.name)(jnp.stack(values))


def _number(value: jax.Array) -> jax.Array:
    return value.astype(jnp.result_type(float))


def _kinds(name: str) -> Callable[[jax.Array], jax.Array]:
    """Give a number that arms passed as a float its own type back."""
    if name.startswith("n_"):
        return _as_count
    return _as_truth if name in ("accepted", "diverging") else _as_is


def _as_count(value: jax.Array) -> jax.Array:
    return value.astype(jnp.int32)


def _as_truth(value: jax.Array) -> jax.Array:
    return value > 0


def _as_is(value: jax.Array) -> jax.Array:
    return value
