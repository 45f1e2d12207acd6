"""Families of methods: populations of weighted particles, and Markov chains, with the settings that all of each have.

Law: a population method is a transformer of the program, and is properly weighted where its parts keep the measure; a
method of chains is a kernel that keeps the posterior. A new method says how it is composed, and no more.
"""

import functools
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from lawful.errors import LawfulError
from lawful.form import Form

from ..contract import Contract, Transformer
from ..devices.island_resampling import NAMES, Islands
from ..laws.resampling import EssBelow
from ..laws.resampling import scheme as scheme_named
from ..laws.strata import systematic
from ..plans.chains.chain_plan import ChainMethod, chains
from ..plans.enumerated_plan import starts_beside
from ..plans.method import Method
from ..plans.method_plan import Engine, Plan
from ..plans.populations.path_results import along_path
from ..plans.populations.population_plan import population
from ..plans.refusals import EAGER
from ..plans.setting_types import Count, Keep, NonFinite, Scheme, Start, Steps
from ..results.result import Result
from ..summing.enumerate_sites import Enumeration
from ..transformers.temper import ADAPTIVE
from .eager.plans import EagerPlan, EagerPopulationPlan

PROPERLY_WEIGHTED = Contract("properly_weighted", target="the program's measure", parametric=True)


@dataclass(frozen=True, kw_only=True)
class Populations(Method):
    """Methods of weighted particles.

    Args:
        particles: number of particles.
        runs: number of independent runs; they are ArviZ's chains and give the error of the evidence.
        keep: "paths" gives every choice with its history; "last" gives only what the program returns, in memory
            O(particles).
        nonfinite: what a NaN weight means: "error"; "dead", weight zero and counted; "flag", a result that is not ok.
    """

    particles: Count
    runs: Count = 1
    keep: Keep = "paths"
    nonfinite: NonFinite = field(default="error", metadata={EAGER: ("error", "dead")})

    shared: ClassVar[str] = "particles"
    pauses: ClassVar[bool] = False  # whether particles pause in the program, and are resampled there
    on_path: ClassVar[bool] = False  # whether they go along a path from the prior to the posterior

    @abstractmethod
    def compose(self) -> Transformer:
        """Compose the method of transformers: what it does to the Form of a program."""

    @functools.cached_property
    def transformer(self) -> Transformer:
        """The composition."""
        return self.compose()

    @property
    def composition(self) -> str:
        """The composition, as people read it."""
        return self.transformer.name

    @property
    def contract(self) -> Contract:
        """Properly weighted, where every part keeps the measure."""
        return PROPERLY_WEIGHTED if self.transformer.contract.exact else ADAPTIVE

    @property
    def scheme(self) -> Any:
        """The scheme by which the method resamples, if it does."""
        return systematic

    @property
    def drawing(self) -> Any:
        """The scheme of the draws of equal weight at the end."""
        return systematic if isinstance(self.scheme, Islands) else self.scheme

    @property
    def mover(self) -> Any:
        """The kernel that moves particles, if one does."""
        return getattr(self, "kernel" if self.on_path else "move", None)

    def finished(self, result: Result) -> Result:
        """Finish a result: of particles on a path, that they needed so many stages."""
        return along_path(result) if self.on_path else result

    def told(self) -> dict[str, Any]:
        """Tell the settings; of a scheme by its name."""
        said = super().told()
        said.pop("resampling", None)
        islands = {"islands": str(self.scheme)} if isinstance(self.scheme, Islands) else {}
        return {**said, "scheme": self.drawing, **islands}

    def engine(self, form: Form, plan: Plan) -> Engine:
        """Write the population for the form of a program."""
        return population(plan, form)

    def eager(self, model: Any) -> EagerPlan:
        """Give the plan that runs the program as it is."""
        return EagerPopulationPlan(self.name, self.program(model), self.told(), pauses=self.pauses, run=self.watched)


@dataclass(frozen=True, kw_only=True)
class Resampled(Populations):
    """Methods that resample their particles.

    Args:
        resampling: "multinomial", "systematic", "stratified", "residual", or a scheme object. On many devices also
            "exact", systematic resampling across all of them; "islands", each device its own particles; or
            `Islands(...)`.
    """

    resampling: Scheme = "systematic"

    def __post_init__(self) -> None:
        """Refuse a scheme that is none, and islands that the particles do not fill."""
        super().__post_init__()
        self.set("resampling", self.resampling if self.scheme is not None else None)

    @functools.cached_property
    def scheme(self) -> Any:
        """The scheme by which the method resamples."""
        found = NAMES.get(self.resampling, self.resampling) if isinstance(self.resampling, str) else self.resampling
        if isinstance(found, Islands):
            return found.on(self.devices, self.particles)
        return scheme_named(found)


@dataclass(frozen=True, kw_only=True)
class Filters(Resampled):
    """Methods that resample where too few particles count.

    Args:
        resample_below: resample when the effective sample size is below this fraction of the particles; None: at every
            step.
    """

    resample_below: float | None = 0.5

    pauses: ClassVar[bool] = True

    @property
    def when(self) -> EssBelow | None:
        """The rule."""
        return None if self.resample_below is None else EssBelow(self.resample_below)


@dataclass(frozen=True, kw_only=True)
class MarkovChains(Method):
    """Methods of Markov chains.

    Args:
        chains: number of chains, run side by side in one program.
        warmup: steps before the first draw; kept apart in `result.warmup`.
        draws: number of draws per chain.
        thin: steps per draw.
        init: a start by site name; a value with the chains as a further first axis has an entry for each, any other is
            the same for all (in mode "eager" all are). A site without a value is drawn from the prior, until the
            density is finite. Default: so for all sites; for kernels along gradients, and where the prior is flat,
            starts near where draws are expected (`lawful.backends.initial_values`).
        chain_method: "vectorized" runs the chains side by side; "sequential" one after the other, each with a key of
            its own, in the memory of one; not together with `run`.
    """

    chains: Count = 4
    warmup: Steps = 500
    draws: Steps = 1000
    thin: Count = 1
    init: Start | None = None
    chain_method: ChainMethod = field(default="vectorized", metadata={EAGER: ("vectorized",)})

    shared: ClassVar[str] = "chains"

    def compose(self) -> Any:
        """Compose the method of kernels: what moves the chains."""
        raise LawfulError(
            f"{type(self).__name__}: expected compose(), which gives the kernel of the chains. Fix: write it."
        )

    @functools.cached_property
    def composed(self) -> Any:
        """The kernel."""
        return self.compose()

    @property
    def composition(self) -> str:
        """The kernel, as people read it."""
        return repr(self.composed)

    @property
    def contract(self) -> Contract:
        """What the kernel claims."""
        found: Contract = self.composed.contract
        return found

    def beside(self, summed: Enumeration) -> Any:
        """Give the method for the marginal of the sites that are not summed, with starts of these."""
        return replace(self, enumerate=None, init=starts_beside(summed, self.init))

    def engine(self, form: Form, plan: Plan) -> Engine:
        """Write the chains for the form of a program."""
        return chains(plan, form, self.composed, plan.reasons)
