"""Models in NumPyro's language, as its users write them, each with what it stands for and data of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.contrib.control_flow import cond, scan
from numpyro.infer.reparam import LocScaleReparam, TransformReparam


@dataclass(frozen=True)
class Case:
    """A model, its arguments, and what has to be given beside them."""

    model: Callable[..., Any]
    args: tuple[Any, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    subsample: dict[str, Any] = field(default_factory=dict)
    finite: bool = False


def orchard(height):
    """Trees in rows: a plate inside a plate."""
    grand = numpyro.sample("grand", dist.Normal(2.0, 1.0))
    spread = numpyro.sample("spread", dist.HalfNormal(1.0))
    with numpyro.plate("row", 3, dim=-2):
        level = numpyro.sample("level", dist.Normal(grand, spread))
        numpyro.deterministic("excess", level - grand)
        with numpyro.plate("tree", 4, dim=-1):
            numpyro.sample("height", dist.Normal(level, 0.5), obs=height)


def parcels(weight):
    """A post office weighs a part of its parcels, by the plate's own rows."""
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    with numpyro.plate("parcel", 6, subsample_size=3) as rows:
        numpyro.sample("kilo", dist.Exponential(rate), obs=weight[rows])


def letters(weight):
    """The same, where the rows are taken by a statement; every letter has a stamp of its own."""
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    with numpyro.plate("letter", 6, subsample_size=2):
        part = numpyro.subsample(weight, event_dim=0)
        stamp = numpyro.sample("stamp", dist.Beta(2.0, 3.0))
        numpyro.sample("gram", dist.Exponential(rate * stamp), obs=part)


def ballots(yes, total):
    """Old elections count less, by one number, then by one for each."""
    share = numpyro.sample("share", dist.Beta(1.0, 1.0))
    with handlers.scale(scale=0.5):
        numpyro.sample("old", dist.Binomial(total[0], share), obs=yes[0])
        with numpyro.plate("election", 2), handlers.scale(scale=jnp.array([1.0, 2.0])):
            numpyro.sample("yes", dist.Binomial(total[1:], share), obs=yes[1:])


def gauge(level, known):
    """A gauge that failed at times: what it said then is masked out, whatever it is."""
    river = numpyro.sample("river", dist.Normal(0.0, 2.0))
    with numpyro.plate("hour", 4), handlers.mask(mask=known):
        numpyro.sample("level", dist.StudentT(4.0, river, 1.0), obs=level)
    with handlers.mask(mask=False):
        numpyro.sample("unused", dist.Normal(river, 1.0), obs=3.0)


def diary(mood, kept):
    """A diary with days left out, which nobody asks for again."""
    calm = numpyro.sample("calm", dist.Normal(0.0, 1.0))
    with numpyro.plate("day", 4):
        numpyro.sample("mood", dist.Normal(calm, 0.7), obs=mood, obs_mask=kept)


def relay(first, seen, second):
    """A first measurement that is missing at places drives a second one."""
    with numpyro.plate("runner", 3):
        a = numpyro.sample("a", dist.Normal(1.0, 1.0), obs=first, obs_mask=seen)
        numpyro.sample("b", dist.Normal(2.0 * a, 0.5), obs=second)


def garden(x):
    """Weights by hand: one for the whole, one for each bed, one for each bed from a single number."""
    size = numpyro.sample("size", dist.LogNormal(0.0, 0.5))
    numpyro.factor("taste", -0.5 * (size - 1.5) ** 2)
    with numpyro.plate("bed", 3), handlers.scale(scale=2.0):
        numpyro.factor("yield", -x * size)
        with handlers.mask(mask=jnp.array([True, False, True])):
            numpyro.factor("each", -0.1 * size)


def tide(length):
    """A level that wanders; what was measured is put on by a handler around the loop."""
    drift = numpyro.sample("drift", dist.Normal(0.0, 0.3))

    def hour(level, _):
        level = numpyro.sample("level", dist.Normal(level + drift, 0.4))
        with numpyro.plate("buoy", 2):
            numpyro.sample("mark", dist.Normal(level, 0.2))
        numpyro.deterministic("double", 2.0 * level)
        return level, level

    return scan(hour, 0.0, None, length=length)[1]


def lamp(bright):
    """A lamp of one of two kinds."""
    kind = numpyro.sample("kind", dist.Bernoulli(0.3))

    def bulb(watt):
        return numpyro.sample("light", dist.Gamma(watt, 1.0))

    def tube(watt):
        return numpyro.sample("light", dist.Gamma(2.0 * watt, 2.0))

    light = cond(kind == 1, bulb, tube, 3.0)
    numpyro.sample("bright", dist.Normal(light, 0.5), obs=bright)


def spring(stretch):
    """A parameter that a prior is put on from outside, beside one that stays."""
    stiff = numpyro.param("stiff", 1.0, constraint=dist.constraints.positive)
    rest = numpyro.param("rest", 0.25)
    with numpyro.plate("trial", 3):
        numpyro.sample("stretch", dist.Normal(rest + 1.0 / stiff, 0.2), obs=stretch)


def oven(heat):
    """Parameters whose values are given."""
    gain = numpyro.param("gain", lambda key: jnp.ones(2))
    warm = numpyro.sample("warm", dist.Normal(gain[0], jnp.exp(gain[1])))
    numpyro.sample("heat", dist.Normal(warm, 1.0), obs=heat)


def team(score):
    """Players around their team, in other coordinates."""
    mean = numpyro.sample("mean", dist.Normal(0.0, 2.0))
    with numpyro.plate("player", 3):
        skill = numpyro.sample("skill", dist.Normal(mean, 1.5))
        luck = numpyro.sample(
            "luck", dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.AffineTransform(0.0, 0.5))
        )
        numpyro.sample("score", dist.Normal(skill + luck, 1.0), obs=score)


def _half(name, length):
    with numpyro.plate("stone", 2):
        side = numpyro.sample(name, dist.HalfCauchy(1.0))
        return numpyro.sample("length", dist.Normal(side, 1.0), obs=length)


def twins(left, right):
    """One part used twice, under two prefixes, one of them inside the other."""
    handlers.scope(_half, prefix="left")("side", left)
    with handlers.scope(prefix="outer"):
        handlers.scope(_half, prefix="right")("side", right)


def bees(size):
    """Bees of two kinds, known by their size."""
    share = numpyro.sample("share", dist.Dirichlet(jnp.array([2.0, 2.0])))
    with numpyro.plate("bee", 3):
        kind = numpyro.sample("kind", dist.Categorical(share), infer={"enumerate": "parallel"})
        numpyro.sample("size", dist.Normal(jnp.array([1.0, 2.0])[kind], 0.5), obs=size)


def weather(wet):
    """Dry and wet spells, of which a dull eye sees a sign."""

    def day(state, wet):
        state = numpyro.sample("state", dist.Categorical(jnp.array([[0.8, 0.2], [0.3, 0.7]])[state]))
        numpyro.sample("wet", dist.Bernoulli(jnp.array([0.1, 0.9])[state]), obs=wet)
        return state, None

    scan(day, 0, wet)


def dice(sum_of):
    """Two dice and a referee: a finite program outside plates."""
    first = numpyro.sample("first", dist.Categorical(jnp.full(6, 1 / 6)))
    second = numpyro.sample("second", dist.Categorical(jnp.full(6, 1 / 6)))
    numpyro.sample("sum", dist.Normal(first + second + 2.0, 1.0), obs=sum_of)


def workshop(pairs):
    """Arrays in one site: by sample_shape, by to_event, masked within an event; a matrix and its data."""
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0), sample_shape=(2,))
    numpyro.sample("scales", dist.HalfNormal(1.0).expand([3, 2]).to_event(2))
    root = numpyro.sample("root", dist.LKJCholesky(2, 2.0))
    numpyro.sample("inside", dist.Normal(0.0, 1.0).expand([2]).mask(jnp.array([True, False])).to_event(1), obs=loc)
    with numpyro.plate("pair", 4):
        numpyro.sample("pairs", dist.MultivariateNormal(loc, scale_tril=root), obs=pairs)


def canal(rain, working):
    """A loop with handlers in its body: a prefix, a scale for all sites and one for some, a mask for each step."""

    def week(level, row):
        rain, working = row
        with handlers.scope(prefix="canal"), handlers.mask(mask=working), handlers.scale(scale=0.5):
            level = numpyro.sample("level", dist.Beta(1.0 + level, 2.0))
            with handlers.scale(scale=3.0):
                numpyro.sample("rain", dist.Normal(level, 1.0), obs=rain)
            numpyro.factor("cost", -0.1 * level**2)
        return level, level

    scan(week, 0.0, (rain, working))


def archive(pages):
    """A loop around a loop."""

    def shelf(dust, pages):
        dust = numpyro.sample("dust", dist.Normal(dust, 1.0))

        def book(worn, page):
            worn = numpyro.sample("worn", dist.Normal(worn + dust, 0.5))
            numpyro.sample("page", dist.Normal(worn, 1.0), obs=page)
            return worn, worn

        worn, _ = scan(book, dust, pages)
        return worn, dust

    return scan(shelf, 0.0, pages)[1]


def queue(waits):
    """Data without a plate: independent draws of one distribution."""
    rate = numpyro.sample("rate", dist.Gamma(3.0, 2.0))
    numpyro.sample("wait", dist.Exponential(rate), obs=waits)


def forecast(sales):
    """A loop that runs on after the data end."""

    def day(level, _):
        level = numpyro.sample("level", dist.Normal(level, 0.5))
        numpyro.sample("sale", dist.Normal(level, 1.0))
        return level, None

    handlers.condition(lambda: scan(day, 0.0, None, length=4), data={"sale": sales})()


# Types that both precisions have.
_LEVELS = jnp.array([[0.3, 0.1], [-0.2, 0.0], [0.9, 0.7], [1.4, 1.6]], jnp.float32)

CASES = {
    "orchard": Case(orchard, (np.linspace(1.0, 3.0, 12).reshape(3, 4),)),
    "parcels": Case(
        parcels, (np.array([0.4, 1.0, 2.0, 0.3, 0.7, 0.2]),), subsample={"parcel": jnp.array([4, 0, 2], jnp.int32)}
    ),
    "letters": Case(
        letters, (np.array([0.4, 1.0, 2.0, 0.3, 0.7, 0.2]),), subsample={"letter": jnp.array([5, 1], jnp.int32)}
    ),
    "ballots": Case(ballots, (np.array([3, 7, 4]), np.array([10, 12, 9]))),
    "gauge": Case(gauge, (np.array([0.1, np.nan, 1.0, 0.4]), np.array([True, False, True, True]))),
    "diary": Case(diary, (np.array([0.5, np.nan, -1.0, 0.2]), np.array([True, False, True, True]))),
    "relay": Case(relay, (np.array([0.5, 0.0, 1.5]), np.array([True, False, True]), np.array([1.2, 2.5, 2.9]))),
    "garden": Case(garden, (np.array([0.2, 0.5, 0.1]),)),
    "tide": Case(handlers.condition(tide, data={"mark": _LEVELS}), (4,)),
    "lamp": Case(lamp, (2.5,)),
    "spring": Case(handlers.lift(spring, prior={"stiff": dist.Gamma(2.0, 2.0)}), (np.array([1.2, 0.9, 1.4]),)),
    "oven": Case(oven, (1.5,), params={"gain": np.array([0.5, -0.2])}),
    "team": Case(
        handlers.reparam(team, config={"skill": LocScaleReparam(0), "luck": TransformReparam()}),
        (np.array([0.5, 1.5, -1.0]),),
    ),
    "twins": Case(twins, (np.array([0.5, 1.1]), np.array([2.0, 0.1]))),
    "bees": Case(bees, (np.array([0.8, 2.2, 1.6]),)),
    "weather": Case(weather, (np.array([0, 1, 1, 0]),), finite=True),
    "dice": Case(dice, (8.2,), finite=True),
    "workshop": Case(workshop, (np.array([[0.1, 0.2], [1.0, 0.5], [-0.3, 0.4], [0.0, -1.0]]),)),
    "canal": Case(canal, (np.array([0.3, 1.0, 0.2]), np.array([True, False, True]))),
    "archive": Case(archive, (np.array([[0.3, 0.1, 0.5], [1.0, 0.4, 0.2]]),)),
    "queue": Case(queue, (np.array([0.2, 0.9, 0.4]),)),
}
