"""Twelve discrete or mixed programs as people would write them, each with its data, for `inference.infer`.

Each is small enough that its truth is found another way: by a sum over all assignments, a closed form, a recursion or a
quadrature, in `test_infer_programs.py`.
"""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful import factor, plate, sample, scan, scope

# ---- 1: a mixture with unknown means, in order

HEIGHTS = jnp.array([-2.1, -1.4, -1.9, -2.6, 1.2, 0.7, 1.9, 1.4, 2.2, 1.1, 0.3, 1.6])
SHARE = jnp.array([0.4, 0.6])


def mixture_of_means(y):
    prior = dist.Normal(jnp.array([-1.0, 0.0]), jnp.array([2.0, 1.0])).to_event(1)
    mu = sample("mu", dist.TransformedDistribution(prior, dist.transforms.OrderedTransform()))
    with plate("point", len(y)):
        z = sample("z", dist.Categorical(SHARE))
        sample("y", dist.Normal(mu[z], 0.8), obs=y)


# ---- 2: a mixture whose components are known

COMPONENTS = jnp.array([[-1.0, 0.5], [0.5, 1.0], [3.0, 0.7]])  # means and scales
SHARES = jnp.array([0.2, 0.5, 0.3])


def known_mixture(y):
    with plate("point", len(y)):
        z = sample("z", dist.Categorical(SHARES))
        sample("y", dist.Normal(COMPONENTS[z, 0], COMPONENTS[z, 1]), obs=y)


# ---- 3 and 4: hidden Markov chains

INITIAL = jnp.array([0.5, 0.3, 0.2])
MOVES = jnp.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.25, 0.05, 0.7]])
EMITS = jnp.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1], [0.05, 0.05, 0.3, 0.6]])
SYMBOLS = jnp.array([0, 0, 1, 1, 2, 1, 3, 3, 2, 3, 0, 0, 0, 1, 0, 2, 3, 3, 3, 2])


def hidden_markov(y):
    z = sample("first", dist.Categorical(INITIAL))

    def step(z, y):
        sample("y", dist.Categorical(EMITS[z]), obs=y)
        z = sample("z", dist.Categorical(MOVES[z]))
        return z, None

    scan(step, z, y)


LEVELS = jnp.array([0.2, -0.3, 0.4, 0.1, 2.9, 2.2, 2.6, 3.1, 2.4, 0.3, -0.5, 0.0, 0.6, 2.3, 2.8])


def unknown_hidden_markov(y):
    with plate("state", 2):
        change = sample("change", dist.Beta(2.0, 6.0))
    low = sample("low", dist.Normal(0.0, 1.0))
    gap = sample("gap", dist.Gamma(4.0, 2.0))

    def step(z, y):
        p = jnp.where(z == 1, 1 - change[1], change[0])
        z = sample("z", dist.Bernoulli(p))
        sample("y", dist.Normal(low + gap * z, 0.7), obs=y)
        return z, None

    scan(step, 0, y)


# ---- 5: a change in a series of counts

COUNTS = jnp.array([4, 5, 3, 6, 4, 5, 2, 4, 1, 0, 2, 1, 1, 0, 3, 1, 0, 1, 2, 1])


def changepoint(y):
    early = sample("early", dist.Gamma(2.0, 1.0))
    late = sample("late", dist.Gamma(2.0, 1.0))
    when = sample("when", dist.DiscreteUniform(1, len(y) - 1))  # number of counts before the change
    with plate("year", len(y)):
        sample("y", dist.Poisson(jnp.where(jnp.arange(len(y)) < when, early, late)), obs=y)


# ---- 6: Ising 4x4

FIELD = 0.3 * jnp.array([[1.0, -1, 0, 1], [0, 2, -1, 0], [-2, 0, 1, 1], [0, 1, 0, -1]])


def ising(field, coupling=0.4):
    """Spins in plates, and what neighbours weigh in two factors."""
    with plate("row", 4, dim=-2), plate("column", 4):
        up = sample("up", dist.Bernoulli(0.5))
    spin = 2 * up - 1
    factor("field", jnp.sum(field * spin))
    factor("across", coupling * jnp.sum(spin[:, 1:] * spin[:, :-1]))
    factor("down", coupling * jnp.sum(spin[1:] * spin[:-1]))


def ising_by_site(field, coupling=0.4):
    """The same, where a Python loop names every spin."""
    spin = {}
    for i in range(4):
        for j in range(4):
            spin[i, j] = 2 * sample(f"up{i}{j}", dist.Bernoulli(0.5)) - 1
            factor(f"field{i}{j}", field[i, j] * spin[i, j])
            if i:
                factor(f"down{i}{j}", coupling * spin[i, j] * spin[i - 1, j])
            if j:
                factor(f"across{i}{j}", coupling * spin[i, j] * spin[i, j - 1])


# ---- 7: a sprinkler


def sprinkler(wet):
    cloudy = sample("cloudy", dist.Bernoulli(0.5))
    on = sample("sprinkler", dist.Bernoulli(jnp.where(cloudy == 1, 0.1, 0.5)))
    rain = sample("rain", dist.Bernoulli(jnp.where(cloudy == 1, 0.8, 0.2)))
    sample("wet", dist.Bernoulli(jnp.array([[0.001, 0.9], [0.9, 0.99]])[on, rain]), obs=wet)


# ---- 8: latent Dirichlet allocation

WORDS = jnp.array([0, 0, 1, 0, 2, 3, 3, 2, 0, 1, 1, 3, 2, 3, 0, 2])
DOCUMENT = jnp.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4])


def lda(words, document):
    """Five documents, two topics, four words."""
    with plate("topic", 2):
        phi = sample("phi", dist.Dirichlet(jnp.full(4, 0.7)))
    with plate("document", 5):
        theta = sample("theta", dist.Dirichlet(jnp.full(2, 0.8)))
    with plate("word", len(words)):
        z = sample("z", dist.Categorical(theta[document]))
        sample("w", dist.Categorical(phi[z]), obs=words)


# ---- 9: a random number of components

SPREAD = np.array([-1.9, -2.2, 1.8, 2.3, 2.0])


def how_many(y):
    """Python decides how many means there are, so that this runs as Python; labels are summed by the mixture."""
    k = 1 + int(sample("extra", dist.Categorical(jnp.array([0.5, 0.3, 0.2]))))
    mu = jnp.stack([sample(f"mu{i}", dist.Normal(0.0, 2.0)) for i in range(k)])
    parts = dist.Normal(mu, 0.5)
    with plate("point", len(y)):
        sample("y", dist.MixtureSameFamily(dist.Categorical(jnp.full(k, 1 / k)), parts), obs=y)


def how_many_in_a_box(y):
    """The same with means of which only as many are used as there are components."""
    k = 1 + sample("extra", dist.Categorical(jnp.array([0.5, 0.3, 0.2])))
    with plate("component", 3):
        mu = sample("mu", dist.Normal(0.0, 2.0))
    shares = jnp.where(jnp.arange(3) < k, 1 / k, 0.0)
    with plate("point", len(y)):
        z = sample("z", dist.Categorical(shares))
        sample("y", dist.Normal(mu[z], 0.5), obs=y)


# ---- 10: a recursion


def visits(seen):
    """A geometric number of visits, of which each is recorded with probability 0.8."""

    def further():
        if sample("stays", dist.Bernoulli(0.6)) == 0:
            return 0
        with scope("again"):
            return 1 + further()

    number = further()
    sample("seen", dist.Binomial(number, 0.8), obs=seen)
    return number


# ---- 11: diseases and findings


def noisy_or_tables():
    """Priors of 8 diseases, and how often each shows each of 10 findings."""
    rng = np.random.default_rng(11)
    shows = rng.uniform(0.1, 0.9, (10, 8)) * (rng.uniform(size=(10, 8)) < 0.4)
    return jnp.asarray(rng.uniform(0.02, 0.2, 8)), jnp.asarray(shows)


PRIORS, SHOWS = noisy_or_tables()
FINDINGS = jnp.array([1, 0, 0, 1, 0, 1, 0, 0, 1, 0])


def noisy_or(findings):
    with plate("disease", 8):
        has = sample("has", dist.Bernoulli(PRIORS))
    absent = 0.98 * jnp.prod(1 - SHOWS * has, axis=-1)
    with plate("finding", 10):
        sample("finding", dist.Bernoulli(1 - absent), obs=findings)


def noisy_or_by_name(findings):
    """The same, a disease a site and a finding a site."""
    has = jnp.stack([sample(f"has{i}", dist.Bernoulli(PRIORS[i])) for i in range(8)])
    for j in range(10):
        sample(f"finding{j}", dist.Bernoulli(1 - 0.98 * jnp.prod(1 - SHOWS[j] * has)), obs=findings[j])


# ---- 12: spike and slab


def regression_data():
    """Thirty rows of six predictors, the first two of which are alike; three matter."""
    rng = np.random.default_rng(12)
    x = rng.normal(size=(30, 6))
    x[:, 1] = 0.9 * x[:, 0] + 0.4 * x[:, 1]
    y = x @ np.array([0.8, 0.0, -0.6, 0.0, 0.25, 0.0]) + rng.normal(size=30)
    return jnp.asarray(x), jnp.asarray(y)


X, RESPONSE = regression_data()


def spike_and_slab(x, y):
    with plate("predictor", 6):
        used = sample("used", dist.Bernoulli(0.3))
        slope = sample("slope", dist.Normal(0.0, 1.0))
    with plate("row", len(y)):
        sample("y", dist.Normal(x @ (used * slope), 1.0), obs=y)


ALL = {
    "mixture_of_means": (mixture_of_means, (HEIGHTS,)),
    "known_mixture": (known_mixture, (HEIGHTS,)),
    "hidden_markov": (hidden_markov, (SYMBOLS,)),
    "unknown_hidden_markov": (unknown_hidden_markov, (LEVELS,)),
    "changepoint": (changepoint, (COUNTS,)),
    "ising": (ising, (FIELD,)),
    "ising_by_site": (ising_by_site, (FIELD,)),
    "sprinkler": (sprinkler, (1,)),
    "lda": (lda, (WORDS, DOCUMENT)),
    "how_many": (how_many, (SPREAD,)),
    "how_many_in_a_box": (how_many_in_a_box, (SPREAD,)),
    "visits": (visits, (3,)),
    "noisy_or": (noisy_or, (FINDINGS,)),
    "noisy_or_by_name": (noisy_or_by_name, (FINDINGS,)),
    "spike_and_slab": (spike_and_slab, (X, RESPONSE)),
}
