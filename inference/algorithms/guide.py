"""Guide: a law of all choices that is fitted to a program, and the answer that its weights correct.

Law: the corrected answer is properly weighted, whatever the guide is: E[Z-hat] = Z and E[ sum_i w_i f(x_i) ] is the
integral of f, for every f. The guide alone is another law than the posterior, and its result says so.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from lawful.form import Form

from ..contract import Contract
from ..plans.engine import Engine
from ..plans.guides.fit import Objective
from ..plans.guides.guide_plan import guides
from ..plans.plan import Plan
from ..plans.setting_types import Count, Steps
from .importance import Importance
from .method import PROPERLY_WEIGHTED, Method, call, method

type FamilyName = Literal["lowrank", "normal", "laplace", "pathfinder"]
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

    Args:
        family: "lowrank", a normal law with up to ten directions of correlation; "normal", independent normals;
            "laplace", the normal law at the highest maximum; "pathfinder", the mixture of the laws on all paths.
        objective: what a fit goes uphill on: "elbo"; "importance", the bound by means of several weights; or
            "forward", the density of the guide at weighed draws, which makes it cover what the program has.
        paths: number of searches.
        path_steps: most steps of a search.
        steps: most steps of the fit; it rests where windows of 100 steps gain no more.
        noise: draws of a step of the fit.
        particles: draws of a run that are weighed.
        runs: independent runs of the draws from one guide; they are ArviZ's chains and give the error of the evidence.
        corrected: whether the draws of the result are those of the posterior, by their weights; False gives those of
            the guide as they are, and the verdict says how far off they are.
        mesh: a `jax.sharding.Mesh` of one axis, whose devices share the paths evenly; None: one device.

    Returns: a plan; `plan(key, *args)` gives a `Result`, whose `stats` hold `elbo` and `eubo` of each run, between
        which log Z lies in the mean.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     sigma = lawful.sample("sigma", dist.HalfNormal(2.0))
    ...     with lawful.plate("i", 3):
    ...         lawful.sample("y", dist.Normal(0.0, sigma), obs=y)
    >>> result = guide(model)(jax.random.key(0), jax.numpy.array([0.4, -1.0, 1.2]))
    >>> result.ok, result.guide, bool(result.stats["elbo"].mean() <= result.log_evidence_pooled)
    (True, Guide('lowrank', sigma), True)
    """

    family: FamilyName = "lowrank"
    objective: Objective = "elbo"
    paths: Count = 8
    path_steps: Steps = 200
    steps: Steps = 3000
    noise: Count = 16
    particles: Count = 2000
    runs: Count = 4
    corrected: bool = True

    shared: ClassVar[str] = "paths"
    independent: ClassVar[bool] = True

    @property
    def contract(self) -> Contract:
        """Properly weighted, where the answer is corrected."""
        return PROPERLY_WEIGHTED if self.corrected else RAW

    @property
    def composition(self) -> str:
        """Family and objective, as people read them."""
        return f"{self.family} from {self.paths} paths"

    @cached_property
    def correction(self) -> Importance:
        """What draws from the guide, and weighs."""
        return Importance(particles=self.particles, runs=self.runs, on_fault=self.on_fault)

    def engine(self, form: Form, plan: Plan) -> Engine:
        """Write the fit for the form of a program."""
        return guides(plan, form)


guide = call(FittedGuide)
