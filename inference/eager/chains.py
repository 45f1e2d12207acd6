"""Chains of single-site trace moves on a program of any structure.

Law: every chain starts at a run of positive density; warm-up steps are never draws.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lawful.addresses import Address, as_address, show_address
from lawful.errors import NoFiniteStartError
from lawful.messages import SampleMessage, Surroundings, only, placed, surroundings

from ..collect import from_chains
from ..findings import Finding
from ..plan import one_key
from ..result import Result, Warmup
from . import trace_mh
from .columns import Table, dims_of, table_of
from .drawing import Draws
from .plans import EagerPlan
from .run import Run
from .running import placed_in, run
from .trace_mh import Move, move

TRIES = 100
START_SCOPE = "~start"


class EagerChainPlan(EagerPlan):
    """Markov chains on runs of the program: call it with a key and the model's arguments."""

    contract = trace_mh.CONTRACT
    name = "mcmc"

    def __init__(self, model: Any, settings: dict[str, Any], init: Mapping[Any, Any] | None) -> None:
        """Keep the parts."""
        self.model, self.settings = model, settings
        self.init = {as_address(name): value for name, value in (init or {}).items()}

    def __call__(self, key: Any, *args: Any) -> Result:
        """Run the chains, one after the other; the result holds the draws and the traces.

        Raises:
            NoFiniteStartError: no start of positive density was found, naming where the weight vanished.
            ObservationError: the data do not fit their sites.
            UnsupportedProgramError: a run of the program makes no choice.
        """
        start = time.perf_counter()
        with only(Draws(one_key(key))):
            chains = []
            for number in range(self.settings["chains"]):
                with placed(Surroundings(indices=(number,))):
                    chains.append(list(self._steps(args)))
        return self._collect(chains, args, time.perf_counter() - start)

    def plan(self, *args: Any) -> str:
        """Say what will be done."""
        return (
            f"mcmc: {self.settings['chains']} chains of single-site moves: one choice of the run, any with equal "
            "probability, is drawn again from its prior, and the program is run again in plain Python"
        )

    def _steps(self, args: tuple[Any, ...]) -> Iterator[Move]:
        here = started(self.model, args, self.init)
        for step in range(self.settings["warmup"] + self.settings["draws"] * self.settings["thin"]):
            moved = move(self.model, args, here, step)
            here = moved.run
            yield moved

    def _collect(self, chains: Sequence[Sequence[Move]], args: tuple[Any, ...], seconds: float) -> Result:
        warm, thin = self.settings["warmup"], self.settings["thin"]
        early = [chain[:warm] for chain in chains]
        late = [chain[warm + thin - 1 :: thin] for chain in chains]
        drawn = [[moved.run for moved in chain] for chain in late]
        flat = [run for chain in drawn for run in chain]
        table = table_of(flat)
        before = table_of([moved.run for chain in early for moved in chain])
        count = sum(moved.n_nonfinite for chain in chains for moved in chain)
        message = f"{count} proposals had a NaN density; they were rejected, so the target is restricted to the rest."
        return from_chains(
            _by_chain(table, len(chains)),
            stats=_numbers(late),
            warmup=Warmup(_by_chain(before, len(chains)), _numbers(early)) if warm else None,
            found=(Finding("NONFINITE_DENSITY", message, (), count, 0),) if count else (),
            dims=dims_of(table, before),
            traces=tuple(map(tuple, drawn)),
            **self.common(args, flat, seconds),
        )


def started(model: Any, args: tuple[Any, ...], init: Mapping[Address, Any]) -> Run:
    """Find a start: runs of the program, with the choices that are given, until one has positive density.

    Raises: NoFiniteStartError naming where the weight vanished.
    """
    around = surroundings()
    vanished: dict[str, None] = {}

    def keep(message: SampleMessage) -> bool:
        return message.address in init

    for attempt in range(TRIES):
        with placed(replace(around, scopes=(*around.scopes, START_SCOPE), indices=(*around.indices, attempt))):
            place = placed_in(last=0)
        first = run(model, args, place, after=Run(dict(init)), keep=keep, scored=True, nonfinite="dead")
        if np.isfinite(first.log_density):
            return first
        bad = [show_address(a) for a, p in first.log_probs.items() if not np.isfinite(p)]
        vanished.update(dict.fromkeys([first.vanished] if first.dead else [f"choice '{name}'" for name in bad]))
    raise NoFiniteStartError(
        f"no start of positive density in {TRIES} runs of the program from its prior; the weight vanished at "
        f"{', '.join(list(vanished)[:5])}. Fix: give init={{name: value}}, or check the observations and the supports "
        "of these sites.",
        sites=tuple(vanished),
    )


def _by_chain(table: Table, chains: int) -> dict[str, np.ndarray]:
    return {name: array.reshape(chains, -1, *array.shape[1:]) for name, array in table.values.items()}


def _numbers(chains: Sequence[Sequence[Move]]) -> dict[str, np.ndarray]:
    return {
        "lp": np.array([[moved.run.log_density for moved in chain] for chain in chains]),
        "acceptance_rate": np.array([[moved.acceptance for moved in chain] for chain in chains]),
        "accepted": np.array([[moved.accepted for moved in chain] for chain in chains]),
        "n_choices": np.array([[len(moved.run.choices) for moved in chain] for chain in chains]),
        "n_nonfinite": np.array([[moved.n_nonfinite for moved in chain] for chain in chains]),
    }
