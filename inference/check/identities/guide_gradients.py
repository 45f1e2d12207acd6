"""Guide gradients (tier 0b): what a fit of a guide estimates has the mean that it should, by all that may be drawn.

Law: the mean of the estimates over all noise at the corners of a cube and all values of finite sites is the objective,
and the mean of their gradients its gradient. The log density is quadratic in the coordinate given the finite sites, so
that corners are all noise that there is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.form.choices import choices_of
from lawful.passes.condition import conditioned
from lawful.tracing.trace import trace

from ...contract import Contract
from ...kernels.base.frame import Frame, frame_of
from ...plans.guides.families import Family
from ...plans.guides.fit import Objective, Uphill
from ...plans.guides.tables import Tables
from ...transformers.propose.guide import is_finite
from ..statistics.report import Report
from ..statistics.repro import line

TOLERANCE = 1e-10


@dataclass(frozen=True)
class GuideGradient:
    """How the gradient of a bound of the evidence is estimated: objective, draws, and whether values are summed."""

    objective: Objective = "elbo"
    draws: int = 1
    sums: bool = False

    name: ClassVar[str] = "guide"
    contract: ClassVar[Contract] = Contract("bound", target="log Z", remarks="its gradient has no bias")


class Corner(dist.Distribution):
    """A normal law of one number whose noise is given."""

    def __init__(self, loc: jax.Array, scale: jax.Array, noise: jax.Array) -> None:
        self.loc, self.scale, self.noise = loc, scale, noise
        super().__init__((), jnp.shape(loc), validate_args=False)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Give the noise (draws,) in units of the law."""
        return self.loc + self.scale * self.noise[:, None]

    def log_prob(self, value: Any) -> jax.Array:
        """Score."""
        return dist.Normal(self.loc, self.scale).to_event(1).log_prob(value)


@dataclass(frozen=True, eq=False)
class Given(Tables):
    """Tables from which certain numbers are drawn, and nothing is summed."""

    numbers: Any = ()
    all = None

    def draw(self, key: jax.Array, tables: Any, count: int) -> Any:
        """Give them."""
        return self.numbers


class Parts(NamedTuple):
    """A program, and its finite sites apart."""

    tables: Tables
    frame: Frame
    args: tuple[Any, ...]

    def estimate(self, objective: Objective, p: Any, noise: jax.Array, numbers: Any) -> jax.Array:
        """Give what a fit estimates from noise (draws,) and numbers (draws,) of each site; None sums all."""
        family = Family("corners", lambda q: Corner(q["loc"], jnp.exp(q["log_scale"]), noise))
        own = self.tables if numbers is None else Given(self.tables.choices, numbers)
        return Uphill(self.frame, family, objective, len(noise), own).estimate(p, self.args, jax.random.key(0))

    def log_weight(self, p: Any, noise: jax.Array, numbers: Any) -> jax.Array:
        """The log density of the program over that of the guide."""
        loc, scale = p["law"]["loc"][0], jnp.exp(p["law"]["log_scale"][0])
        x = loc + scale * noise
        each = tuple(values[0] for values in self.tables.values(tuple(number[None] for number in numbers)))
        log_p = self.frame.log_density((*self.args, *each), x[None])
        return log_p - dist.Normal(loc, scale).log_prob(x) - self.log_share(p, numbers)

    def log_share(self, p: Any, numbers: Any) -> jax.Array:
        """The log of the probability of numbers, by the tables themselves and not by what the fit makes of them."""
        log_shares = (jax.nn.log_softmax(p["tables"][choice.name]) for choice in self.tables.choices)
        return sum((jnp.sum(own[number]) for own, number in zip(log_shares, numbers, strict=True)), jnp.zeros(()))

    def every(self, draws: int) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """All noise and numbers of some draws."""
        one = [*itertools.product([-1.0, 1.0], *(range(len(values)) for values in self.tables.listed))]
        rows = np.array([*itertools.product(one, repeat=draws)])
        numbers = (jnp.asarray(rows[..., 1 + place], int) for place in range(len(self.tables.choices)))
        return jnp.asarray(rows[..., 0]), tuple(numbers)


def guide_gradients(
    model: Callable[..., Any],
    args: Sequence[Any],
    at: Any,
    *,
    how: GuideGradient,
    tolerance: float = TOLERANCE,
) -> Report:
    """Check that what a fit goes uphill on is unbiased, with its gradient.

    Args:
        model: a program of one continuous site of one number, in whose log density it is quadratic, and finite ones of
            one element each.
        args: its arguments.
        at: parameters: `{"law": {"loc": (1,), "log_scale": (1,)}, "tables": {name: log masses}}`.
        how: the gradient is estimated; values of finite sites that are not summed are drawn, and gradients have scores.
        tolerance: largest difference, relative to the larger of 1 and the truth; for float64.
    """
    at, objective, draws = jax.tree.map(jnp.asarray, at), how.objective, how.draws
    form = trace(model, *args)
    finite = tuple(choice for choice in choices_of(form) if is_finite(choice))
    given = conditioned(form, {choice.address for choice in finite}).form
    parts = Parts(Tables(finite), frame_of(given, "guide"), tuple(map(jnp.asarray, args)))
    noise, numbers = parts.every(draws)

    def truth(p: Any) -> jax.Array:
        each = jax.vmap(jax.vmap(lambda *one: parts.log_weight(p, one[0], one[1:])))(noise, *numbers)
        found = jnp.mean(each, 1) if objective == "elbo" else jax.nn.logsumexp(each, axis=1) - jnp.log(draws)
        return jnp.sum(jnp.exp(jax.vmap(lambda *own: parts.log_share(p, own))(*numbers)) * 0.5**draws * found)

    share = jnp.exp(jax.vmap(lambda *own: parts.log_share(at, own))(*numbers)) * 0.5**draws

    def mean(p: Any) -> jax.Array:
        if how.sums:
            return parts.estimate(objective, p, jnp.array([-1.0, 1.0]), None)
        return share @ jax.vmap(lambda noise, *own: parts.estimate(objective, p, noise, own))(noise, *numbers)

    errors = {"the objective": _apart(mean(at), truth(at))}
    pairs = zip(*(jax.tree.leaves(jax.grad(each)(at)) for each in (mean, truth)), strict=True)
    errors["its gradient"] = max(_apart(own, other) for own, other in pairs)
    worst = max(errors, key=lambda part: errors[part])
    name = getattr(model, "__name__", type(model).__name__)
    return Report(
        status="passed" if errors[worst] <= tolerance else "failed",
        law=f"{name}: estimates of {objective} from {draws} draws, and their gradients, have the mean that they should",
        level="identities",
        measure_error=errors[worst],
        instances=len(noise),
        worst=(worst, errors[worst]),
        repro=line(guide_gradients, "model", "args", "at", how=how),
    )


def _apart(own: Any, other: Any) -> float:
    own, other = np.asarray(own), np.asarray(other)
    return float(np.max(np.abs(own - other) / np.maximum(1.0, np.abs(other))))
