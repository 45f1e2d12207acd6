"""One step of a kernel as a function of its state and of its own random choices, and the whole law of a step."""

import itertools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

import lawful
from lawful.addresses import as_address
from lawful.backends.enumeration import emit_worlds
from lawful.backends.log_density import scored
from lawful.backends.xla import emit
from lawful.form.arguments.arrays import split_arguments
from lawful.passes.thread_sites import score


class Transition:
    """A kernel built for a program and its arguments."""

    def __init__(self, program: Any, kernel: Any, *args: Any) -> None:
        self.form = lawful.trace(program, *args)
        self.inputs = split_arguments(args)[0]
        self.kernel = kernel.build(self.form)
        self.choices = self.kernel.choices
        scoring = score(self.kernel.form)
        self.own = [choice.address for choice in scoring.choices]
        run = emit(scoring.form)
        self._step = jax.jit(
            lambda state, given: run(jax.random.key(0), *self.inputs, *state, *given)[0][: scoring.own]
        )
        worlds = emit_worlds(self.kernel.form) if self._finite() else None
        self._law = jax.jit(lambda state: worlds(*self.inputs, *state))

    def _finite(self) -> bool:
        return all(site.law.atoms is not None for site in self.kernel.form.sites())

    def state(self, values: Mapping[Any, Any], absent: Any = 0) -> list[np.ndarray]:
        """The state at given choices, by name or address with steps; a choice that is not given holds `absent`."""
        given = {as_address(name): value for name, value in values.items()}
        arrays = []
        for choice in self.choices:
            array = np.full(choice.full_shape, absent, choice.dtype)
            if choice.address in given:
                array[...] = given[choice.address]
            for cell in np.ndindex(*choice.loops):
                if (*choice.address, *cell) in given:
                    array[cell] = given[(*choice.address, *cell)]
            arrays.append(array)
        prior, likelihood, flags = scored(self.form)[1](self.inputs, arrays)
        return [*arrays, *map(np.asarray, flags), np.asarray(prior + likelihood)]

    def step(self, state: list[Any], given: Mapping[Any, Any]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """The next state and the kernel's numbers, when the kernel's own choices are given by address."""
        assert set(given) == set(self.own), self.own
        out = [np.asarray(x) for x in self._step(state, [given[address] for address in self.own])]
        return out[: self.kernel.size], dict(zip(self.kernel.info, out[self.kernel.size :], strict=True))

    def outcomes(self, state: list[Any]) -> dict[frozenset[Any], float]:
        """The exact law of the active choices after one step."""
        worlds = self._law(state)
        mass = np.exp(np.asarray(worlds.log_mass))
        arrays = [np.asarray(x) for x in worlds.outputs[: self.kernel.size - 1]]
        found: dict[frozenset[Any], float] = {}
        for world in np.flatnonzero(mass > 0):
            outcome = self.active([array[world] for array in arrays])
            found[outcome] = found.get(outcome, 0.0) + float(mass[world])
        return found

    def active(self, state: list[Any]) -> frozenset[Any]:
        """The active choices of a state, as the reference enumerator writes them."""
        flags = iter(state[len(self.choices) :])
        found = []
        for choice, array in zip(self.choices, state, strict=False):
            flag = next(flags) if choice.conditional else np.ones(choice.loops, bool)
            for cell in itertools.product(*map(range, choice.loops)):
                if flag[cell]:
                    value = np.asarray(array)[cell].tolist()
                    found.append(((*choice.address, *cell), tuple(value) if isinstance(value, list) else value))
        return frozenset(found)
