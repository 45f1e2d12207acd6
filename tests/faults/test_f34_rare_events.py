"""Row 34: events below 1e-7 have their probability in float32 too; no draw compares one uniform number of 23 bits.

Exactly, from the law of the words that a draw is made of; draws of a million rare items are in
tests/regressions/test_r04_rare_items.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers, sample
from lawful.backends.xla import compiled
from lawful.distributions.sampling.coins import flip, heads
from lawful.distributions.sampling.integer_weights import cumulative, integer_masses

pytestmark = pytest.mark.usefixtures("single_precision")
STEP = 2.0**-23  # of a uniform number in float32
GRID = jnp.arange(2**16, dtype=jnp.float32) * 2.0**-16


@pytest.mark.fault(34)
@pytest.mark.parametrize("p", [1e-12, 3e-10, 1e-8, 1.1e-7, 3e-7, 0.3, 1.0 - 2.0**-24])
def test_f34_a_coin_has_the_probability_that_it_was_given(p):
    """The two parts of a uniform are listed: which first parts decide, and how many second parts do at the edge."""
    p = jnp.float32(p)
    below = int(np.float64(p) / STEP)  # first parts that give heads whatever the second is
    edge = float(jnp.mean(heads(jnp.float32(below * STEP), GRID, p)))
    assert bool(heads(jnp.float32((below - 1) * STEP), GRID, p).all()) or below == 0
    assert not bool(heads(jnp.float32((below + 1) * STEP), GRID, p).any()) or below == 2**23 - 1
    assert (below + edge) * STEP == pytest.approx(float(p), abs=STEP * 2.0**-16)


def test_f34_the_ends_are_certain():
    for u in (0.0, 1.0 - STEP):
        assert not bool(heads(jnp.float32(u), GRID, jnp.float32(0.0)).any())
        assert bool(heads(jnp.float32(u), GRID, jnp.float32(1.0)).all())


def site(law):
    sample("x", law)


LAWS = {
    "probs": lambda p: dist.Bernoulli(jnp.float32(p)),
    "logits": lambda p: dist.Bernoulli(logits=jnp.log(jnp.float32(p))),
    "other side": lambda p: dist.Bernoulli(logits=-jnp.log(jnp.float32(p))),
}


@pytest.mark.parametrize("law", LAWS)
def test_f34_coins_at_sites_are_those_coins(law, monkeypatch):
    """A site draws by `flip` on its rarer side, in plates, particles and eager runs alike."""
    seen = []

    def watched(key, probability, shape=()):
        seen.append(float(jnp.max(probability)))
        return flip(key, probability, shape)

    monkeypatch.setattr("lawful.distributions.law.flip", watched)
    with jax.disable_jit():
        value = handlers.seed(lambda: sample("x", LAWS[law](1e-9)), jax.random.key(0))()
    assert seen == [pytest.approx(1e-9, rel=1e-5)]
    assert int(value) == (law == "other side")


@pytest.mark.slow
def test_f34_a_million_lanes_do_not_show_what_cannot_be():
    """With this key the default sampler of JAX shows an event of 1e-12 (it has 2**-23 there); a site does not."""
    lanes, rare = 2**22, jnp.float32(1e-12)
    usual = jax.jit(lambda key: jnp.sum(jax.random.bernoulli(key, rare, (lanes,))))
    key = next(key for key in jax.random.split(jax.random.key(34), 30) if int(usual(key)))
    form = lawful.trace(lambda p: jax.vmap(lambda _: sample("x", dist.Bernoulli(p)))(jnp.zeros(lanes)), rare)
    assert int(jnp.sum(compiled(form)(key, rare)[0][0])) == 0


@pytest.mark.parametrize("p", [1e-7, 1e-9, 1e-11])
def test_f34_a_rare_item_has_its_share_of_the_words(p):
    sums = cumulative(integer_masses(jnp.array([1.0, p], jnp.float32)))
    edges = np.asarray(sums.high).astype(np.int64) * 2**32 + np.asarray(sums.low).astype(np.int64)
    assert (edges[1] - edges[0]) / edges[1] == pytest.approx(p / (1 + p), rel=1e-4)


def test_f34_in_double_precision_coins_are_as_they_were():
    with jax.enable_x64(True):
        key, p = jax.random.key(5), jnp.full(1000, 0.3)
        np.testing.assert_array_equal(flip(key, p, (1000,)), jax.random.bernoulli(key, p))
