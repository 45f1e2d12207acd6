"""15.4: a head of weight 0.9 and a million items of 1e-7 each: the tail has 0.1, in single precision too.

The default categorical sampler of JAX gives the tail 0.0575, and a sequential cumulative sum 0.1192. Every draw of an
index, of a site, an ancestor or a final pick, finds the tail as often as it should.

False alarms: ALPHA for each binomial test; each finds a tail of 0.0575 with a probability above 0.999.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import handlers, inference, sample
from lawful.backends.xla import compile
from lawful.distributions.sampling.categorical import sample_categorical
from lawful.distributions.sampling.integer_weights import cumulative, integer_masses
from lawful.inference.check import ALPHA, key_of
from lawful.inference.laws.picks import PickLaw
from lawful.inference.laws.resampling_schemes import SCHEMES
from tests.tiers import rest_slow

DRAWS, ITEMS = 4_000, 1_000_000
WEIGHTS = np.concatenate([[0.9], np.full(ITEMS, 1e-7)])
pytestmark = pytest.mark.reuses_keys


@pytest.fixture(params=[jnp.float32, jnp.float64], ids=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == jnp.float64):
        yield request.param


def one_site(logits):
    return sample("x", dist.Categorical(logits=logits))


def mapped_site(key, logits):
    """A site of a compiled program with a lane for each draw."""
    form = lawful.trace(lambda logits: jax.vmap(lambda _: one_site(logits))(jnp.zeros(DRAWS)), logits)
    return jax.jit(compile(form))(key, logits)[0][0]


def particles(key, logits):
    """A site of a program with a particle for each draw."""
    return inference.importance(one_site, particles=DRAWS)(key, logits).weighted.values["x"][0]


def eager_site(key, logits):
    """The interpreter, once for each draw."""
    run = jax.jit(lambda keys, logits: jax.lax.map(lambda key: handlers.seed(one_site, key)(logits), keys))
    return run(jax.random.split(key, DRAWS), logits)


def final_pick(key, logits):
    """One index by weight, as a collapsed population draws it."""
    pick = jax.jit(lambda keys, weights: jax.lax.map(lambda key: PickLaw(ITEMS + 1).draw(key, weights), keys))
    return pick(jax.random.split(key, DRAWS), jnp.exp(logits))


def ancestors(key, logits):
    """Independent ancestors."""
    return jax.jit(SCHEMES["multinomial"].draw, static_argnums=2)(key, jnp.exp(logits), DRAWS)


def the_sampler(key, logits):
    """What all of them are made of."""
    return jax.jit(sample_categorical, static_argnums=2)(key, logits, (DRAWS,))


SAMPLERS = [the_sampler, mapped_site, particles, ancestors, final_pick, eager_site]


@pytest.mark.regression("15.4a")
@pytest.mark.parametrize("sampler", rest_slow(SAMPLERS, 2), ids=lambda s: s.__name__)
def test_a_tail_of_a_million_rare_items_has_its_mass(sampler, dtype):
    draws = np.asarray(sampler(key_of(f"r04/{sampler.__name__}"), jnp.asarray(np.log(WEIGHTS), dtype)))
    assert draws.shape == (DRAWS,) and draws.min() == 0 and draws.max() <= ITEMS
    assert stats.binomtest(int((draws > 0).sum()), DRAWS, 0.1).pvalue > ALPHA


@pytest.mark.regression("15.4a")
def test_a_tail_that_lacks_two_fifths_of_its_mass_would_be_found():
    assert stats.binom.cdf(stats.binom.ppf(ALPHA / 2, DRAWS, 0.1) - 1, DRAWS, 0.0575) > 0.999


@pytest.mark.rest_slow
@pytest.mark.regression("15.4b")
@pytest.mark.parametrize("shuffled", [False, True])
def test_the_implied_probability_of_every_item_is_right(dtype, shuffled):
    """From the cumulative sums themselves, so without a draw."""
    logits = np.log(WEIGHTS).astype(dtype)
    if shuffled:
        logits = np.random.default_rng(0).permutation(logits)
    sums = jax.jit(lambda x: cumulative(integer_masses(jnp.exp(x - jnp.max(x)))))(jnp.asarray(logits))
    edges = np.asarray(sums.high).astype(np.int64) * 2**32 + np.asarray(sums.low).astype(np.int64)
    implied = np.diff(edges, prepend=0) / edges[-1]
    weights = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(implied, weights / weights.sum(), rtol=1e-4)


@pytest.mark.regression("15.4c")
def test_no_module_uses_the_biased_sampler(root):
    """Nor the Gumbel trick by hand, nor a distribution's own draw of an index."""
    for folder in ("ppl", "inference", "models"):
        for file in (root / folder).rglob("*.py"):
            text = file.read_text()
            assert not re.search(r'random\.categorical\((?!.*mode="high")', text), file
            assert not re.search(r"random\.(gumbel|choice)\(", text), file
