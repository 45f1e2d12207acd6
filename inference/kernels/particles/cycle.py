"""Population cycle: kernels one after the other, of which some take their scales from the particles.

Law: kernels that keep a measure keep it one after the other, so the cycle keeps the measure of its point for given
scales. These are those of the particles, so estimates are consistent in their number, not unbiased.

Numbers are told of all parts together, and of each part as `<number>@<position>_<kernel>`, as of `kernels.cycle`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lawful.errors import LawfulError
from lawful.form import Form, Plate, Var
from lawful.form.builder import Block

from ...contract import Contract
from ...registered import stored_as
from ...representations.absent_elements import keeps_absent
from ...representations.densities_of import scoped
from ...transformers.rejuvenation import Move, density, is_fitted, move_of
from ...transformers.temper import OnPath
from ..base.base import state_inputs
from ..combine.compose import by_part, joint, together
from ..combine.mh import as_kernel


@stored_as("population_cycle")
@dataclass(frozen=True)
class PopulationCycle:
    """Kernels one after the other, one of them at least fitted to the particles."""

    kernels: tuple[Any, ...]

    @property
    def contract(self) -> Contract:
        """What all parts claim, which is what those that are fitted do."""
        return joint(self.kernels, False)

    @property
    def keeps_absent(self) -> bool:
        """Whether all parts leave what is absent where it is."""
        return all(map(keeps_absent, self.kernels))

    def fit(self, block: Block, on: OnPath, plate: Plate) -> Move:
        """Append the fits of all parts, and write the parts in a row."""
        moves = [move_of(kernel, block, on, plate) for kernel in self.kernels]
        inner, given = Block(), tuple(v.like() for v in (*on.inputs, on.block, on.power))
        own = [tuple(v.like() for v in move.shared) for move in moves]
        rest, slope = Var((), on.power.dtype), Var((), on.power.dtype)
        state = start = (*state_inputs(on.tempered.choices).flat[:-1], rest, slope)
        numbers, apart = list[Mapping[str, Var]](), dict[str, Var]()
        learn, memory, follows = None, None, "acceptance_rate"
        for position, (move, kernel, shared) in enumerate(zip(moves, self.kernels, own, strict=True)):
            body = scoped(move.form, ("~cycle", str(position)))
            if move.carries_parts:
                out = inner.splice(body, (*shared, *state))
                state = out[: len(state)]
            else:
                log_density = inner.det(density, given[-1], *state[-2:], label="log density")
                out = inner.splice(body, (*shared, *state[:-2], log_density))
                parts = (*given[:-1], *out[: len(on.tempered.choices)])
                state = (*out[: len(state) - 2], *inner.splice(on.tempered.parts(), parts)[:2])
            info = dict(zip(move.info, out[len(out) - len(move.info) :], strict=True))
            if move.learn is not None:
                learn, memory = move.learn, move.memory
                (follows,) = by_part(position, kernel, {move.follows: info[move.follows]})
            numbers.append(info)
            apart |= by_part(position, kernel, info)
        found = {**together(inner, numbers), **apart}
        form = inner.form((*given, *(v for part in own for v in part), *start), (*state, *found.values()))
        inputs = (*on.inputs, on.block, on.power, *(v for move in moves for v in move.shared))
        return Move(form, inputs, tuple(found), carries_parts=True, memory=memory, learn=learn, follows=follows)

    def plan(self, program: Form) -> list[str]:
        """Say what each kernel moves."""
        return [f"{i + 1}. {line}" for i, kernel in enumerate(self.kernels) for line in kernel.plan(program)]

    def __repr__(self) -> str:
        """Show the kernels."""
        return f"population_cycle({', '.join(map(repr, self.kernels))})"


def population_cycle(*kernels: Any) -> PopulationCycle:
    """Apply kernels one after the other, as one step, where some of them are fitted to a population.

    Small moves with scales of the particles and rare long ones go together: `population_hmc` within a mode, and a
    proposal that leads from one to another.

    Args:
        kernels: kernels of a population, as `population_hmc()`, and others, as `kernels.mh()`; one at most adapts. The
            kernels of a cycle among them stand in its place.

    Raises: LawfulError without a kernel of a population (`kernels.cycle` serves then), and for two that adapt.

    >>> from lawful.inference import kernels, population_hmc
    >>> population_cycle(population_hmc(0.3, 5), kernels.mh())
    population_cycle(population_hmc(0.3, 5), mh(single_site()))
    """
    if not any(map(is_fitted, kernels)):
        raise LawfulError(
            f"population_cycle: none of the {len(kernels)} kernels is fitted to a population, as population_hmc() is. "
            "Fix: take kernels.cycle(...)."
        )
    flat: list[Any] = []
    for kernel in kernels:
        inner = kernel.kernels if isinstance(kernel, PopulationCycle) else (kernel,)
        flat += [part if is_fitted(part) else as_kernel(part) for part in inner]
    if sum(getattr(part, "adapt", False) for part in flat) > 1:
        raise LawfulError("population_cycle: two kernels adapt, and one number is remembered. Fix: let one adapt.")
    return PopulationCycle(tuple(flat))
