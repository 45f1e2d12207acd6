"""Maximise: the mode of a program given its data, or of its marginal, from many starts.

Law: it is a bound: no value that is reported exceeds the maximum, since each is the density of the program at its
point. The density is that on the scale of the values; coordinates without bounds only say how supports are kept.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lawful.errors import UnsupportedProgramError
from lawful.form import Form

from ..contract import Contract
from ..plans.engine import Engine
from ..plans.enumerated_plan import starts_beside
from ..plans.plan import Plan
from ..plans.searches.search_plan import searches
from ..plans.setting_types import Count, Start, Steps, Uphill
from ..transformers.enumeration import Enumeration
from ..transformers.marginalise import Marginal
from .method import Method, call, method

NAMES = {"lbfgs": "L-BFGS", "em": "EM"}
BELOW = Contract("bound", target="the maximum of the log density", remarks="each value is the density at its point")


@method("maximise")
@dataclass(frozen=True, kw_only=True)
class Maximise(Method):
    """Build a search for the maximum of the density of a program, from many starts side by side.

    What is maximised is the density on the scale of the values: without the Jacobian of the coordinates without bounds
    in which the search goes, so that the answer does not depend on them. Where a site has a prior this is the
    most probable value given the data; under flat priors it is the maximum of the likelihood.

    `result.optima` has every distinct optimum, best first: its values and log density, how many searches ended there,
    what lies at an edge of its support, and standard errors where the density has an inner maximum. `result.reasons`
    say where it has none: a ridge, an edge, a density without maximum, starts that disagree. `result.posterior` has
    the best one as a single draw, from which `result.predict` predicts.

    Args:
        starts: number of searches.
        steps: most steps of a search; a step takes one evaluation of the density and its gradient, or a few.
        init: a start by site name; a value with the starts as a further first axis has an entry for each, any other is
            the same for all. A site without a value is drawn from the prior. Default: the best of 16 candidates,
            half of them draws from the prior, half uniform in the cube (-2, 2) of coordinates without bounds.
        method: "lbfgs", which goes along gradients, or "em", expectation maximisation, for programs with summed sites.
            Each of its steps averages the log density over these sites, as they are distributed given the point before,
            and takes each other site in turn to the maximum of that average given the others, the sites on the line
            first (expectation conditional maximisation). So it climbs the same log marginal, and no step lowers it.
            That maximum has to be closed: a normal mean with a normal prior or none; a scale, a rate, a root of a
            covariance; probabilities. Any other site is refused by name, as are sites that are integrated.
        enumerate: names of finite sites to sum out exactly, or "all": the maximum is that of the marginal of the
            others, and the result holds a draw of the summed sites given them. What `marginalise` takes, or a
            transformer that sums sites, as it makes them; [] sums nothing.
        mesh: a `jax.sharding.Mesh` of one axis, whose devices share the searches evenly; None: one device.

    Returns: a plan; `plan(key, *args)` gives a `Result`.

    >>> import jax, numpyro.distributions as dist, lawful
    >>> def model(y):
    ...     p = lawful.sample("p", dist.Beta(2.0, 2.0))
    ...     lawful.sample("y", dist.Binomial(10, p), obs=y)
    >>> result = maximise(model, starts=4)(jax.random.key(0), 7)
    >>> best = result.optima[0]
    >>> round(float(best.values["p"]), 6), best.starts, result.ok  # (7 + 1) / (10 + 2)
    (0.666667, 4, True)
    """

    starts: Count = 16
    steps: Steps = 500
    init: Start | None = None
    method: Uphill = "lbfgs"

    shared: ClassVar[str] = "starts"

    @property
    def contract(self) -> Contract:
        """A bound of the maximum from below."""
        return BELOW

    @property
    def composition(self) -> str:
        """The search, as people read it."""
        return f"{NAMES[self.method]} from {self.starts} starts"

    def beside(self, summed: Enumeration) -> Any:
        """Give the search on the marginal of the sites that are not summed, with starts of these."""
        if self.method == "em" and not all(isinstance(part.apply, Marginal) for part in summed.by.parts):
            raise UnsupportedProgramError(
                f"maximise: method='em' averages over sites that are summed, and {summed.by} integrates sites or does "
                "more. Fix: method='lbfgs', or sum alone, as enumerate=['z'] or marginalise(['z'])."
            )
        return replace(self, enumerate=None, init=starts_beside(summed, self.init))

    def engine(self, form: Form, plan: Plan) -> Engine:
        """Write the searches for the form of a program."""
        return searches(plan, form)


maximise = call(Maximise)
