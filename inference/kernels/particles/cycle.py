"""Population cycle: kernels one after the other, of which some take their scales from the particles.

Law: that of a cycle for given scales. These are those of the particles, so estimates are consistent in their number,
not unbiased.
"""

from __future__ import annotations

from typing import Any

from lawful.errors import LawfulError

from ...transformers.fits import is_fitted
from ..combine.compose import Cycle, cycle


def population_cycle(*kernels: Any) -> Cycle:
    """Apply kernels one after the other, as one step, where some of them are fitted to a population.

    Small moves with scales of the particles and rare long ones go together: `population_hmc` within a mode, and a
    proposal that leads from one to another.

    Args:
        kernels: kernels of a population, as `population_hmc()`, and others, as `kernels.mh()`; one at most adapts. The
            kernels of a cycle among them stand in its place.

    Raises: LawfulError without a kernel of a population (`kernels.cycle` serves then), and for two that adapt.

    >>> from lawful.inference import kernels, population_hmc
    >>> population_cycle(population_hmc(0.3, 5), kernels.mh())
    cycle(population_hmc(0.3, 5), mh(single_site()))
    """
    if not any(map(is_fitted, kernels)):
        raise LawfulError(
            f"population_cycle: none of the {len(kernels)} kernels is fitted to a population, as population_hmc() is. "
            "Fix: take kernels.cycle(...)."
        )
    flat: list[Any] = []
    for kernel in kernels:
        flat += kernel.kernels if isinstance(kernel, Cycle) else (kernel,)
    if sum(getattr(part, "adapt", False) for part in flat) > 1:
        raise LawfulError("population_cycle: two kernels adapt, and one number is remembered. Fix: let one adapt.")
    return cycle(*flat)
