"""Chains of single-site trace moves on a program of any structure.

Law: every chain starts at a run of positive density; warm-up steps are never draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lawful.addresses import Address, as_address, show_address
from lawful.errors import LawfulError, NoFiniteStartError
from lawful.messages import SampleMessage, placed, surroundings

from ...eager import trace_mh
from ...eager.columns import Table, dims_of, table_of
from ...eager.run import Run
from ...eager.running import placed_in, run
from ...eager.trace_mh import Move, move
from ...findings.findings import Finding
from ...results.collect import from_chains
from ...results.record import Warmup
from ...results.result import Result
from ...running.chunks import Portion
from ...running.options import RunOptions
from .courses import EagerChains
from .plans import EagerPlan, observed_in_all

TRIES = 100
START_SCOPE = "~start"


class EagerChainPlan(EagerPlan):
    """Markov chains on runs of the program."""

    contract = trace_mh.CONTRACT

    def __init__(
        self, model: Any, settings: dict[str, Any], init: Mapping[Any, Any] | None, run: RunOptions | None = None
    ) -> None:
        super().__init__("mcmc", model, settings, run)
        self.init = {as_address(name): value for name, value in (init or {}).items()}

    def plan(self, *args: Any, **named: Any) -> str:
        """Say what will be done."""
        return (
            f"mcmc: {self.settings['chains']} chains of single-site moves: one choice of the run, any with equal "
            "probability, is drawn again from its prior, and the program is run again in plain Python"
        )

    def _course(self, key: Any, args: tuple[Any, ...]) -> EagerChains:
        start = partial(started, self.model, args, self.init)
        return EagerChains(key, start, partial(move, self.model, args), self.settings)

    def _shown(self, course: EagerChains, portion: Portion) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        chains = [chain[len(chain) - course.last :] for chain in course.moves]
        kept = [chain[course.thin - 1 :: course.thin] for chain in chains] if portion.number else chains
        if self.run is None or not self.run.callbacks:  # nobody looks back
            course.moves = [[] for _ in chains]
        return _draws(kept), _numbers(kept)

    def _drawn(self, course: EagerChains) -> Mapping[str, Any]:
        return _draws(self._late(course.moves))

    def _late(self, chains: Sequence[Sequence[Move]]) -> list[Sequence[Move]]:
        warm, thin = self.settings["warmup"], self.settings["thin"]
        return [chain[warm + thin - 1 :: thin] for chain in chains]

    def _collect(self, course: EagerChains, args: tuple[Any, ...], run: Mapping[str, Any], **fields: Any) -> Result:
        chains = course.moves
        early, late = [chain[: self.settings["warmup"]] for chain in chains], self._late(chains)
        drawn = [[moved.run for moved in chain] for chain in late]
        flat = [run for chain in drawn for run in chain]
        table, before = (table_of([moved.run for chain in part for moved in chain]) for part in (late, early))
        warmup = Warmup(_by_chain(before, len(chains)), _numbers(early)) if early[0] else None
        draws = _by_chain(table, len(chains))
        if warmup is not None and not flat:  # it was ended in its warm-up, the draws of which are none
            draws = {name: array[:, :0] for name, array in warmup.posterior.items()}
        count = sum(moved.n_nonfinite for chain in chains for moved in chain)
        message = f"{count} proposals had a NaN density; they were rejected, so the target is restricted to the rest."
        return from_chains(
            draws,
            stats=_numbers(late),
            warmup=warmup,
            found=(Finding("NONFINITE_DENSITY", message, (), count, 0),) if count else (),
            dims=dims_of(observed_in_all(flat)) | dims_of(table, before),
            traces=tuple(map(tuple, drawn)),
            **self.common(args, flat, run),
            **fields,
        )


def started(model: Any, args: tuple[Any, ...], init: Mapping[Address, Any]) -> Run:
    """Find a start: runs of the program, with the choices that are given, until one has them and positive density.

    Raises: NoFiniteStartError naming where the weight vanished; LawfulError where no run made a choice that is given.
    """
    around = surroundings()
    vanished: dict[str, None] = {}
    unused, known, alive = set(init), dict[str, None](), False

    def keep(message: SampleMessage) -> bool:
        return message.address in init

    for attempt in range(TRIES):
        with placed(replace(around, scopes=(*around.scopes, START_SCOPE), indices=(*around.indices, attempt))):
            place = placed_in(last=0)
        first = run(model, args, place, after=Run(dict(init)), keep=keep, scored=True, nonfinite="dead")
        known |= dict.fromkeys(map(show_address, first.choices))
        unused -= set(first.choices)
        if np.isfinite(first.log_density):
            if init.keys() <= first.choices.keys():
                return first
            alive = True
        bad = [show_address(a) for a, p in first.log_probs.items() if not np.isfinite(p)]
        vanished.update(dict.fromkeys([first.vanished] if first.dead else [f"choice '{name}'" for name in bad]))
    if unused and alive:
        raise LawfulError(
            f"init: no run of {TRIES} made the choice {', '.join(map(show_address, unused))}; they made: "
            f"{', '.join(list(known)[:20]) or 'none'}. Fix: give values of these alone; a choice without one is drawn.",
            names=tuple(unused),
        )
    raise NoFiniteStartError(
        f"no start of positive density in {TRIES} runs of the program from its prior; the weight vanished at "
        f"{', '.join(list(vanished)[:5])}. Fix: give init={{name: value}}, or check the observations and the supports "
        "of these sites.",
        sites=tuple(vanished),
    )


def _draws(chains: Sequence[Sequence[Move]]) -> dict[str, np.ndarray]:
    return _by_chain(table_of([moved.run for chain in chains for moved in chain]), len(chains))


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
