"""Chain loop: many chains of one kernel in one compiled loop that keeps the states it is asked for.

Law: the chains are those of a loop over all steps, state by state; between two draws no state is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lawful.backends.site_keys import Keys, keys_of, step_keys
from lawful.backends.xla import broadcast_plates, run_nodes
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block
from lawful.form.rewriting import with_addresses
from lawful.passes.add_plate import lift

from ...kernels.base.base import KernelForm
from ...running.memory import bytes_of, peak_bytes


@dataclass(frozen=True)
class ChainLoop:
    """One step of many chains, and how often to take it.

    Attributes:
        body: the step: inputs are the program's, then the state of each chain; outputs the state, then numbers.
        inputs: how many inputs are the program's.
        size: number of values of the state.
        plate: the chains.
        warmup: steps before the first draw, all of whose states are kept.
        draws: states kept after that.
        thin: steps per draw.
    """

    body: Form
    inputs: int
    size: int
    plate: Plate
    warmup: int
    draws: int
    thin: int

    @property
    def steps(self) -> int:
        """All steps."""
        return self.warmup + self.draws * self.thin

    def __call__(self, key: jax.Array, inputs: Sequence[Any], state: Sequence[Any]) -> dict[str, Any]:
        """Run all steps.

        Returns: the "last" state; "kept", the states (step, chain, ...) for `parts`; "numbers" (step, chain), of all.
        """
        rows, unstack = self.keys(key, jnp.arange(self.steps))

        def kept(state: Any, keys: Any) -> Any:
            state, numbers = self.step(inputs, state, unstack(keys))
            return state, (state, numbers)

        def draw(state: Any, keys: Any) -> Any:
            state, numbers = jax.lax.scan(lambda s, k: self.step(inputs, s, unstack(k)), state, keys)
            return state, (state, numbers)

        state = [jnp.asarray(x) for x in state]
        if self.thin == 1:
            state, (states, numbers) = jax.lax.scan(kept, state, rows, length=self.steps)
            return {"last": state, "kept": [states], "numbers": numbers}
        early = [k[: self.warmup] for k in rows]
        late = [k[self.warmup :].reshape((self.draws, self.thin, *k.shape[1:])) for k in rows]
        state, (warm, first) = jax.lax.scan(kept, state, early, length=self.warmup)
        state, (drawn, second) = jax.lax.scan(draw, state, late, length=self.draws)
        second = [x.reshape((self.draws * self.thin, *x.shape[2:])) for x in second]
        numbers = [jnp.concatenate([a, b]) for a, b in zip(first, second, strict=True)]
        return {"last": state, "kept": [warm, drawn], "numbers": numbers}

    def memory(self) -> tuple[int, int]:
        """Tell the bytes of all states and numbers that are kept, and those that a step takes beside them."""
        sizes = [bytes_of(v) * (1 if self.plate in v.plates else self.plate.size) for v in self.body.outputs]
        numbers = (
            sum(sizes[self.size :]) * self.steps * (1 if self.thin == 1 else 2)
        )  # put behind each other at the end
        return sum(sizes[: self.size]) * (self.warmup + self.draws) + numbers, peak_bytes(self.body)

    def parts(self, kept: Sequence[Sequence[Any]]) -> tuple[list[Any], list[Any]]:
        """Give the states of the warmup and the draws, from what a run kept."""
        if len(kept) == 1:
            return [x[: self.warmup] for x in kept[0]], [x[self.warmup :] for x in kept[0]]
        warm, drawn = kept
        return list(warm), list(drawn)

    def keys(self, key: jax.Array, steps: Any) -> tuple[list[jax.Array], Callable[[Sequence[jax.Array]], Keys]]:
        """Give the keys of the sites at some steps, as a loop gives them."""
        sites = [site.address for site in self.body.sites() if site.observed is None]
        return step_keys(keys_of(key, sites), steps)

    def step(self, inputs: Sequence[Any], state: Sequence[Any], keys: Keys) -> tuple[list[jax.Array], list[jax.Array]]:
        """Take one step of all chains."""
        outputs, _ = run_nodes(self.body, [*inputs, *state], keys)
        out = self.body.outputs[self.size :]
        numbers = [
            broadcast_plates(x, v, v.like((self.plate, *v.plates)) if self.plate not in v.plates else v)
            for x, v in zip(outputs[self.size :], out, strict=True)
        ]
        return outputs[: self.size], numbers


def chain_loop(kernel: KernelForm, chains: int, warmup: int, draws: int, thin: int) -> ChainLoop:
    """Lift a kernel to many chains."""
    plate = Plate("chain", chains)
    own = len(kernel.form.inputs) - kernel.size
    plated = [False] * own + [True] * kernel.size
    carried = [True] * kernel.size + [False] * len(kernel.info)
    body = lift(kernel.form, plate, plated, carried=carried).form
    return ChainLoop(body, own, kernel.size, plate, warmup, draws, thin)


def loop_form(loop: ChainLoop) -> Form:
    """Write the loop as one Form: the algorithm as a program.

    Inputs: the program's, then the state of each chain. Outputs: the last state, then the states that are kept and the
    kernel's numbers of all steps, stacked along the steps. Where draws are thinned the warmup is a loop of its own, and
    `warmup` stands before the names of its sites.
    """
    block = Block()
    constants = tuple(v.like() for v in loop.body.inputs[: loop.inputs])
    init = tuple(v.like() for v in loop.body.inputs[loop.inputs :])
    step = _step(loop, loop.size)
    if loop.thin == 1:
        last, kept = block.loop(step, loop.steps, constants, init, ())
        return block.form((*constants, *init), (*last, *kept))
    state, warm = init, tuple[Var, ...]()
    if loop.warmup:
        warming = with_addresses(step, lambda address: ("warmup", *address))
        state, warm = block.loop(warming, loop.warmup, constants, init, ())
    inner = Block()
    shared, before = (tuple(v.like() for v in values) for values in (constants, init))
    after, numbers = inner.loop(_step(loop, 0), loop.thin, shared, before, ())
    draw = inner.form((*shared, *before), (*after, *after, *numbers))
    last, late = block.loop(draw, loop.draws, constants, state, ())
    flat = [block.det(_joined, v, label="steps", plates=v.plates) for v in late[loop.size :]]
    kept = (*late[: loop.size], *flat)
    if warm:
        kept = tuple(
            block.det(_after, *pair, label="kept", plates=pair[0].plates) for pair in zip(warm, kept, strict=True)
        )
    return block.form((*constants, *init), (*last, *kept))


def _step(loop: ChainLoop, kept: int) -> Form:
    """Return one step as the body of a loop, which stacks the first `kept` values of the state and its numbers."""
    block = Block()
    outputs = block.splice(loop.body, loop.body.inputs)
    state, numbers = outputs[: loop.size], outputs[loop.size :]
    return block.form(loop.body.inputs, (*state, *state[:kept], *numbers))


def _joined(steps: jax.Array) -> jax.Array:
    """Make one axis of draws and of their steps."""
    return steps.reshape((-1, *steps.shape[2:]))


def _after(first: jax.Array, second: jax.Array) -> jax.Array:
    return jnp.concatenate([first, second])


def stepper(loop: ChainLoop) -> Callable[..., list[jax.Array]]:
    """Compile one step of a loop by its number: `(key, inputs, state, step) -> state`."""

    @jax.jit
    def run(key: jax.Array, inputs: Any, state: Any, step: Any) -> list[jax.Array]:
        rows, unstack = loop.keys(key, step[None])
        return loop.step(inputs, state, unstack([k[0] for k in rows]))[0]

    return run
