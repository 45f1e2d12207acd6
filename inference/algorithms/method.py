"""Method: the settings of an algorithm as one frozen record, and the families of methods: of particles, and of chains.

Law: what is said of a method is read off its fields: the signature and the documentation of its call, what is checked
and how it is read, what is printed, what a checkpoint tells, and what an eager run refuses. A population method is a
transformer of the program, and is properly weighted where its parts keep the measure; a method of chains is a kernel
that keeps the posterior. The register has each under its name: a new one says how it is composed, and no more.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Concatenate

import numpy as np
from jax.sharding import Mesh

from lawful.errors import LawfulError
from lawful.form import Form

from ..contract import Contract, Transformer
from ..devices.island_resampling import NAMES, Islands
from ..devices.mesh import checked_mesh
from ..laws.resampling_schemes import EssBelow
from ..laws.resampling_schemes import scheme as scheme_named
from ..laws.systematic_resampling import systematic
from ..plans.chains.chain_plan import ChainMethod, chains
from ..plans.engine import Engine
from ..plans.enumerated_plan import starts_beside, summed
from ..plans.plan import Plan
from ..plans.populations.population_plan import population
from ..plans.refusals import EAGER, USUAL, refuse
from ..plans.setting_types import Count, Keep, Mode, NonFinite, OnFault, Options, Scheme, Start, Steps, Sums, read
from ..registered import METHODS
from ..running.bar import with_bar
from ..running.environment import person_watches
from ..running.options import RunOptions
from ..transformers.enumeration import Enumeration
from ..transformers.temper import ADAPTIVE
from .eager.plans import EagerPlan, EagerPopulationPlan
from .signatures import EXECUTION, documentation, signature

PROPERLY_WEIGHTED = Contract("properly_weighted", target="the program's measure", parametric=True)
UNTOLD = (*EXECUTION, "init")  # a checkpoint has the start of its chains
NO_SETTINGS = (*EXECUTION[1:], "init")  # of a recipe


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """What all methods have in common: how a run of them is executed.

    Args:
        on_fault: "raise" an error where a run meets what has no meaning, or "flag": a result that is not ok, without
            the draws concerned.
        enumerate: names of finite sites to sum out exactly, or "all": the method runs on the marginal of the others,
            and the result holds draws of the summed sites from their exact conditional. What `marginalise` takes, or a
            transformer that sums sites, as it makes them; [] sums nothing.
        mode: "staged" compiles the program; "eager" runs it in plain Python, whatever its structure; methods that
            rewrite the program have no eager mode.
        run: how the run is divided, watched and kept; then Ctrl-C ends it with what is finished. None: one compiled
            call, with the same draws.
        progress: None shows a bar in a terminal or a notebook, once a run has taken 3 s: there it goes in chunks, and
            Ctrl-C ends it with what is finished; True shows it at once; False never.
        mesh: a `jax.sharding.Mesh` of one axis, whose devices share the particles or the chains evenly; None: one
            device. With `run` its devices are those of one process.
    """

    on_fault: OnFault = field(default="raise", metadata={EAGER: ("raise",)})
    enumerate: Sums | None = field(default=None, metadata={EAGER: (None,)})
    mode: Mode = "staged"
    run: Options | None = None
    progress: bool | None = None
    mesh: Mesh | None = field(default=None, metadata={EAGER: (None,)})

    name: ClassVar[str] = ""
    shared: ClassVar[str] = ""  # the number that devices share: "particles" or "chains"
    devices: ClassVar[int] = 1  # where no mesh is given
    independent: ClassVar[bool] = False  # whether particles are, so that the tail of their weights tells
    runs_eagerly: ClassVar[bool] = False
    sums: ClassVar[bool] = False  # whether it gives sums alone: nothing is drawn

    def __post_init__(self) -> None:
        """Read the settings that are given by their types, and refuse those that do not go together."""
        kind: Any = type(self)
        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not f.default}
        if given:
            vars(self).update(read(kind, given))
        if any(getattr(self, name, usual) is not usual for name, usual in USUAL.items()):
            refuse(kind, vars(self))
        if self.mesh is not None:
            checked_mesh(self.mesh, **{self.shared: getattr(self, self.shared)})
            self.set("devices", int(self.mesh.size))

    def set(self, name: str, value: Any) -> None:
        """Set what is read, while the record is made."""
        object.__setattr__(self, name, value)

    def fill(self, **usual: Any) -> None:
        """Set settings that are not given, before all are read."""
        for name, value in usual.items():
            if getattr(self, name) is None:
                self.set(name, value)

    @functools.cached_property
    def watched(self) -> RunOptions | None:
        """The options of a run, with a bar where a person watches."""
        if self.progress is False or not (self.progress or person_watches()):
            return self.run
        one_by_one = getattr(self, "chain_method", None) == "sequential"
        return with_bar(self.run, self.mesh, at_once=bool(self.progress), one_by_one=one_by_one)

    @property
    @abstractmethod
    def contract(self) -> Contract:
        """What the method claims."""

    @property
    @abstractmethod
    def composition(self) -> str:
        """What the method is composed of, as people read it."""

    def program(self, model: Any) -> Any:
        """Give the program that is run for a model; by default the model."""
        return model

    @abstractmethod
    def engine(self, form: Form, plan: Plan) -> Engine:
        """Write and compile the algorithm for the form of the program."""

    def written(self, form: Form, plan: Plan) -> Engine:
        """Write and compile it, on the marginal where sites are summed."""
        return self.engine(form, plan) if self.enumerate is None else summed(plan, form, self.enumerate)

    def eager(self, model: Any) -> Any:
        """Give the plan that runs the program as it is."""
        raise LawfulError(f"{self.name}: mode: expected 'staged', got 'eager', which this method does not have.")

    def beside(self, summed: Enumeration) -> Any:
        """Give the same method for the marginal of the sites that are not summed."""
        return replace(self, enumerate=None)

    def told(self, **texts: str) -> dict[str, Any]:
        """Tell the settings, without those that change no draw, in types that a file can hold; `texts` of some."""
        said = {f.name: (getattr(self, f.name), f.default) for f in fields(self) if f.name not in UNTOLD}
        known = {name: value for name, (value, usual) in said.items() if value is not None or usual is not None}
        return {name: texts[name] if name in texts else _told(value) for name, value in known.items()}

    def recipe(self) -> dict[str, Any]:
        """Give the settings from which the method is built again, without those that a resumed run is given anew."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NO_SETTINGS}

    def on(self, model: Any) -> Any:
        """Give the plan that runs the method on a model; in mode "eager" one that runs the program as it is."""
        return self.eager(model) if self.mode == "eager" else self.planned(model)

    def planned(self, model: Any, asked: Any = None, reasons: tuple[str, ...] = ()) -> Plan:
        """Give the plan of the compiled program, which may be a part of one for what was `asked`; see `Plan`."""
        run = self.watched
        title = f"{self.name}({self.composition})"  # what cannot be composed is refused here
        program = model if self.enumerate is not None else self.program(model)
        return Plan(model, self, program, title, run, asked or self, reasons)


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

    def told(self, **texts: str) -> dict[str, Any]:
        """Tell the settings; of a scheme by its name."""
        said = super().told(**texts)
        said.pop("resampling", None)
        islands = {"islands": str(self.scheme)} if isinstance(self.scheme, Islands) else {}
        return {**said, "scheme": self.drawing, **islands}

    def engine(self, form: Form, plan: Plan) -> Engine:
        """Write the population for the form of a program."""
        return population(plan, form, self.transformer, self.mover, self.drawing)

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
        assert self.scheme is not None  # it is read here, and refused where it is none

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


def method[Kind: type[Method]](name: str) -> Callable[[Kind], Kind]:
    """Register a method under the name of its call.

    Args:
        name: of the call, by which results, files and the command line speak of the method, for good.
    """

    def register(kind: Kind) -> Kind:
        kind.name, METHODS[name] = name, kind
        kind.__init__.__qualname__ = name  # which Python names where an argument is missing or unknown
        return kind

    return register


def call[**P](kind: Callable[P, Method]) -> Callable[Concatenate[Any, P], Plan]:
    """Make the call that users write, `smc(model, particles=1000)`, of the class of a method.

    Its signature is that of the fields, after the model, and its documentation that of the class and its bases.
    """

    def build(model: Any, *args: P.args, **settings: P.kwargs) -> Plan:
        plan: Plan = kind(*args, **settings).on(model)
        return plan

    made: Any = kind
    build.__name__ = build.__qualname__ = made.name
    build.__module__, build.__doc__ = made.__module__, documentation(made)
    # Python reads this attribute of any function, but the types of functions do not list it
    build.__signature__ = signature(made)  # type: ignore[attr-defined]
    return build


def _told(value: Any) -> bool | int | float | str | None:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, bool | int | float | str | None) else repr(value)
