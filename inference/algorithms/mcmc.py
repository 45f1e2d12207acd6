"""MCMC, Markov chain Monte Carlo: many chains of one kernel in one compiled loop.

Law: the kernel keeps the posterior; in mode "eager", and with sites summed out, the law is that of the same chains.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from lawful.errors import LawfulError
from lawful.form import Form

from ..contract import Contract
from ..kernels.combine.mh import mh
from ..kernels.default_kernel import default_kernel
from ..plans.chains.chain_plan import chains
from ..plans.engine import Engine
from ..plans.enumerated_plan import summed
from ..plans.plan import Plan
from ..plans.setting_types import Kernel
from .eager.chains import EagerChainPlan
from .eager.plans import EagerPlan
from .method import MarkovChains, call, method


@method("mcmc")
@dataclass(frozen=True, kw_only=True)
class Mcmc(MarkovChains):
    """Build Markov chains of a kernel.

    Args:
        kernel: a kernel, as `kernels.mh(kernels.random_walk(0.5))`; a bare proposal is wrapped in `mh`. Default: chosen
            by the program, once its arguments are known: NUTS for continuous sites with a gradient; beside it finite
            sites are summed out where that is cheap, else drawn from exact conditionals; what is left moves one part at
            a time. The plan says what was chosen, and why.
        mode: "staged" compiles the program; "eager" runs it in plain Python, whatever its structure, and moves one
            choice at a time. Then `result.traces` holds the runs, and a choice that a run did not make is NaN.
        mesh: a `jax.sharding.Mesh` of one axis, whose devices share the chains evenly; None: one device. Draws are
            those of one device, up to rounding. With `run` its devices are those of one process.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> from lawful.inference import kernels
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    ...     lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> walk = kernels.mh(kernels.random_walk(1.0))
    >>> result = mcmc(model, walk, chains=2, warmup=10, draws=20)(jax.random.key(0), 0.3)
    >>> result.posterior["mu"].shape
    (2, 20)
    """

    kernel: Kernel | None = field(default=None, kw_only=False)

    runs_eagerly: ClassVar[bool] = True

    def compose(self) -> Any:
        """The kernel is the method."""
        return self.kernel

    @cached_property
    def composition(self) -> str:
        """The kernel, as people read it."""
        return "kernel chosen by the program" if self.kernel is None else repr(self.kernel)

    def told(self, **texts: str) -> dict[str, Any]:
        """Tell the settings; the kernel as people read it."""
        return super().told(kernel=self.composition, **texts)

    @property
    def contract(self) -> Contract:
        """What the kernel claims."""
        chosen = Contract("invariant_kernel", target="the program's posterior", parametric=True)
        return chosen if self.kernel is None else super().contract

    def engine(self, form: Form, plan: Plan) -> Engine:
        """Write the chains, of a kernel that the program chooses where none is given."""
        if self.kernel is not None:
            return chains(plan, form, self.kernel, plan.reasons)
        sums = plan.asked.enumerate is None and (plan.run is None or plan.run.store is None)
        choice = default_kernel(form, sums=sums)
        if choice.sums is None:
            return chains(plan, form, choice.kernel, choice.reasons)
        return summed(plan, form, choice.sums, replace(self, kernel=choice.kernel), choice.reasons)

    def eager(self, model: Any) -> EagerPlan:
        """Give the plan that runs the program as it is, of moves of one choice at a time."""
        kernel = mh()
        if self.kernel not in (None, kernel):
            raise LawfulError(
                f"mcmc: kernel={self.kernel!r} needs mode='staged'. Fix: with mode='eager' give {kernel!r}.",
                option="kernel",
            )
        return EagerChainPlan(model, {**self.told(), "kernel": repr(kernel)}, self.init, self.watched)


mcmc = call(Mcmc)
