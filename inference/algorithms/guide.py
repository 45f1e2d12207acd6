"""Guide: a law of all choices that is fitted to a program, and the answer that its weights correct.

Law: the corrected answer is properly weighted, whatever the guide is: E[Z-hat] = Z and E[ sum_i w_i f(x_i) ] is the
integral of f, for every f. The guide alone is another law than the posterior, and its result says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar

import jax

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.form.digest import digest

from ..contract import Contract
from ..plans.engine import Engine
from ..plans.guides.build import guides
from ..plans.guides.families import FAMILIES
from ..plans.guides.fit import Objective
from ..plans.guides.programs import as_parameters, name_of
from ..plans.plan import Plan
from ..plans.setting_types import Count, Read, Steps, at_least
from .importance import Importance
from .method import PROPERLY_WEIGHTED, Method, call, method

_size = at_least(1).how


def _family(name: str, value: Any) -> Any:
    if callable(value) or value in FAMILIES:
        return value
    *names, last = map(repr, FAMILIES)
    raise LawfulError(
        f"{name}: expected {', '.join(names)} or {last}, got {value!r}. Fix: give one of these, or a program of your "
        "own with parameters, family=program, parameters=...",
        **{name: value},
    )


def _batch(name: str, value: Any) -> Any:
    sizes = [*value.items()] if isinstance(value, Mapping) else []
    if len(sizes) == 1 and isinstance(sizes[0][0], str):
        return {sizes[0][0]: _size(f"{name}['{sizes[0][0]}']", sizes[0][1])}
    raise LawfulError(
        f"{name}: expected the name of a plate and how many of its elements a step reads, got {value!r}. Fix: "
        f"{name}={{'row': 100}}."
    )


type Batch = Annotated[Any, Read(_batch)]  # of one plate
type Kind = Annotated[Any, Read(_family)]  # the name of a family, or a program
RAW = Contract("bound", target="the program's measure", remarks="draws are those of the guide")


@method("guide")
@dataclass(frozen=True, kw_only=True)
class FittedGuide(Method):
    """Fit a guide to a program, draw from it, and weigh the draws for the program.

    A guide is a law of all choices in coordinates without bounds. Searches uphill go first, and on the way of each the
    normal law with the greatest ELBO is kept; a family that has parameters goes on from the best of these by noisy
    gradients. Draws of the finished guide are weighed as those of importance sampling are, so that the answer is that
    of the program and not of the guide; where the guide is too far off for that, the result is not ok.

    `result.guide` is the guide. It is a value of other programs: `inference.start_from(result.guide)(model)` is the
    model with all choices drawn from it and weighed, which `tempered_smc`, `parallel_tempering` and `mcmc` take as any
    program, and `importance(model, proposal=result.guide)` draws anew; `result.guide(model)` is the guide as a program
    of its own.

    A finite site that `enumerate` does not sum has a table of its values, each element by itself, which the steps of a
    fit move beside the law of the others.

    Args:
        family: "lowrank", a normal law with up to ten directions of correlation; "normal", independent normals;
            "flow", a normal law that layers of splines bend, of the extra `flow`; "laplace", the normal law at the
            highest maximum; "mode", independent normals there, with the scale that each coordinate has while the
            others stay: a start, and the weights tell whether it is more; "pathfinder", the mixture of the laws on
            all paths; "grid", the masses of cells, of one or two coordinates. Or a program of yours,
            `program(parameters, *args)`, which draws the sites of the model from laws
            of its own; a fit begins at `parameters`, without searches.
        parameters: of a program that is the family, where a fit begins: numbers in arrays, tuples or dictionaries. They
            move without bounds, so that a scale is `jnp.exp(parameters["log_scale"])` in the program.
        objective: what a fit goes uphill on: "elbo"; "importance", the bound by means of several weights; or
            "forward", the density of the guide at weighed draws, which makes it cover what the program has.
        paths: number of searches.
        path_steps: most steps of a search.
        steps: most steps of the fit; it rests where windows of 100 steps gain no more.
        noise: draws of a step of the fit.
        batch: minibatches of a plate, by its name, as {"row": 100}: each step of the fit reads the data of so many of
            its elements, drawn without replacement, which count for all; what NumPyro's `subsample_size` is. Searches
            and weights read all data. Not with latent sites in the plate.
        particles: draws of a run that are weighed.
        runs: independent runs of the draws from one guide; they are ArviZ's chains and give the error of the evidence.
        corrected: whether the draws of the result are those of the posterior, by their weights; False gives those of
            the guide as they are, and the verdict says how far off they are.
        mesh: a `jax.sharding.Mesh` of one axis, whose devices share the paths evenly; None: one device.

    Returns: a plan; `plan(key, *args)` gives a `Result`, whose `stats` hold `elbo` and `eubo` of each run, between
        which log Z lies in the mean, and `independence_acceptance`, the share of moves from the guide that a chain at
        the posterior would accept.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     sigma = lawful.sample("sigma", dist.HalfNormal(2.0))
    ...     with lawful.plate("i", len(y)):
    ...         lawful.sample("y", dist.Normal(0.0, sigma), obs=y)
    >>> result = guide(model)(jax.random.key(0), jax.numpy.array([0.4, -1.0, 1.2]))
    >>> result.ok, result.guide, bool(result.stats["elbo"].mean() <= result.log_evidence_pooled)
    (True, Guide('lowrank', sigma), True)

    Each step of a fit on two of the three data:

    >>> guide(model, family="normal", batch={"i": 2})(jax.random.key(0), jax.numpy.array([0.4, -1.0, 1.2])).ok
    True
    """

    family: Kind = "lowrank"
    parameters: Any = field(default=None, compare=False)
    objective: Objective = "elbo"
    paths: Count = 8
    path_steps: Steps = 200
    steps: Steps = 3000
    noise: Count = 16
    batch: Batch | None = None
    particles: Count = 2000
    runs: Count = 4
    corrected: bool = True

    shared: ClassVar[str] = "paths"
    independent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a program without parameters, and parameters without a program."""
        super().__post_init__()
        if not callable(self.family) and self.parameters is not None:
            raise LawfulError(
                f"guide: parameters are those of a program that is the family, and family={self.family!r} has its own. "
                "Fix: leave them out, or give the program, family=program."
            )
        if callable(self.family) and self.parameters is None:
            name = name_of(self.family)
            raise LawfulError(
                f"guide: family={name} is a program, and parameters are missing, at which its fit begins. Fix: "
                f"parameters={{'loc': 0.0, 'log_scale': 0.0}}, or what else {name}(parameters, ...) takes first."
            )
        if self.batch is not None:
            self._refuse_batch()
        if callable(self.family):
            self.set("parameters", as_parameters(self.parameters, "guide"))

    def _refuse_batch(self) -> None:
        """Refuse batches where nothing reads them, or where their gradient would be biased."""
        fits = callable(self.family) or FAMILIES[self.family].begin is not None
        for bad, what, ways in (
            (self.objective != "elbo", f"objective={self.objective!r}: the mean over batches is not its gradient",
             "objective='elbo'"),
            (not fits, f"family={self.family!r}, which has no steps of a fit", "family='normal', or no batch"),
            (self.enumerate is not None, f"enumerate={self.enumerate!r}: a batch has no marginal of its own",
             "write the law of the data with the sites summed out, as dist.MixtureSameFamily; or no batch"),
        ):  # fmt: skip
            if bad:
                raise LawfulError(
                    f"guide: batch={self.batch!r} with {what}. Expected a fit of the ELBO to the model as it is. Fix: "
                    f"{ways}."
                )

    def told(self, **texts: str) -> dict[str, Any]:
        """Tell the settings; a program by its name, and its parameters by a code."""
        if not callable(self.family):
            return super().told(**texts)
        leaves, tree = jax.tree.flatten(self.parameters)
        parts = {"family": name_of(self.family), "parameters": digest(str(tree), *leaves)[:16]}
        return super().told(**parts, **texts)

    @property
    def contract(self) -> Contract:
        """Properly weighted, where the answer is corrected."""
        return PROPERLY_WEIGHTED if self.corrected else RAW

    @property
    def composition(self) -> str:
        """Family and objective, as people read them."""
        if callable(self.family):
            return f"{name_of(self.family)} from its parameters"
        return f"{self.family} from {self.paths} paths" if FAMILIES[self.family].searches else str(self.family)

    @cached_property
    def correction(self) -> Importance:
        """What draws from the guide, and weighs."""
        return Importance(particles=self.particles, runs=self.runs, on_fault=self.on_fault)

    def engine(self, form: Form, plan: Plan) -> Engine:
        """Write the fit for the form of a program."""
        return guides(plan, form)


guide = call(FittedGuide)
