"""Chosen plan: chains of the kernel that `default_kernel` chooses for a program, once its arguments are known.

Law: that of the plan that is chosen, of chains or of chains on a marginal; options of a run change no draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax

from lawful.form import Form

from ...checkpoints.checkpoints import Checkpoint
from ...contract import Contract
from ...kernels.default_kernel import DefaultKernel, default_kernel
from ...results.result import Result
from ...running.driver import Chunk
from ...running.options import RunOptions
from ...summing.enumerate_sites import Enumeration
from ..enumerated_plan import EnumeratedPlan, starts_beside
from ..plan import Builder
from .chain_plan import ChainPlan

type Chains = Callable[..., ChainPlan]  # (model, kernel, init) -> plan


class ChosenPlan:
    """Chains whose kernel the program decides: call it with a key and the model's arguments.

    Attributes:
        run: how the run is divided, watched and kept.
    """

    contract = Contract("invariant_kernel", target="the program's posterior", parametric=True)

    def __init__(self, model: Any, chains: Chains, init: Any, run: RunOptions | None) -> None:
        """Keep the parts; nothing is traced before the first call."""
        self.run, self._chains, self._init = run, chains, init
        self.prepare = Builder(model, self._build)

    def chosen(self, *args: Any, **named: Any) -> ChainPlan | EnumeratedPlan:
        """Return the plan that is run for the given arguments.

        >>> import numpyro.distributions as dist, lawful
        >>> from lawful import inference
        >>> inference.mcmc(lambda: lawful.sample("x", dist.Normal(0.0, 1.0))).chosen()
        mcmc(nuts(max_depth=10) with tuned step, tuned diagonal mass)
        """
        found: ChainPlan | EnumeratedPlan = self.prepare(args, named=named).built
        return found

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Run the chains; raises as `ChainPlan` does."""
        return self.chosen(*args, **named)(key, *args, **named)

    def iterate(self, key: Any, *args: Any, **named: Any) -> Iterator[Chunk]:
        """Run the chains chunk by chunk; see `ChainPlan.iterate`."""
        return self.chosen(*args, **named).iterate(key, *args, **named)

    def resumed(self, found: Checkpoint, options: RunOptions, args: tuple[Any, ...]) -> Result:
        """Go on from a checkpoint; see `inference.resume`."""
        return self.chosen(*args).resumed(found, options, args)

    def sampler(self, *args: Any, **named: Any) -> Callable[..., dict[str, jax.Array]]:
        """Return the plan as a function that JAX can map, compile or combine with others."""
        return self.chosen(*args, **named).sampler(*args, **named)

    def memory(self, *args: Any, **named: Any) -> int:
        """Estimate the bytes that a run takes at its peak; nothing is run."""
        return self.chosen(*args, **named).memory(*args, **named)

    def plan(self, *args: Any, **named: Any) -> str:
        """Say what was chosen for which site, and why."""
        return self.chosen(*args, **named).plan(*args, **named)

    def form(self, *args: Any, **named: Any) -> Form:
        """Return the algorithm itself as a Form; where sites are summed, that on the marginal."""
        return self.chosen(*args, **named).form(*args, **named)

    def __repr__(self) -> str:
        """Tell that the program decides."""
        return "mcmc(kernel chosen by the program)"

    def _build(self, form: Form) -> ChainPlan | EnumeratedPlan:
        choice = default_kernel(form, sums=self.run is None or self.run.store is None)
        if choice.sums is None:
            return chosen_chains(self._chains, self.prepare.model, choice, self._init)

        def chains(summed: Enumeration) -> ChainPlan:
            return chosen_chains(self._chains, summed.marginal, choice, starts_beside(summed, self._init))

        return EnumeratedPlan(self.prepare.model, choice.sums, chains, self.run, told=False)


def chosen_chains(chains: Chains, model: Any, choice: DefaultKernel, init: Any) -> ChainPlan:
    """Build chains of a kernel that was chosen; they say why, and are built again by choosing again."""
    plan = chains(model, choice.kernel, init)
    plan.reasons = choice.reasons
    method, options = plan.recipe
    plan.recipe = method, {**options, "kernel": None}
    return plan
