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
from lawful.backends.xla import compile
from lawful.distributions.law import law_of
from lawful.distributions.sampling.integer_weights import cumulative, integer_masses

pytestmark = pytest.mark.usefixtures("single_precision")
STEP = 2.0**-23  # of a uniform number in float32


@pytest.mark.fault(34)
def test_f34_a_coin_has_the_probability_that_it_was_given():
    """Between two first parts of a uniform the second decides: at half way it shows heads where it is below a half."""
    key, many = jax.random.key(3), 2**14
    first, second = jax.random.uniform(key, (2, many), jnp.float32)
    p = first + 0.5 * STEP  # exact below a quarter
    drawn = drawn_by_lanes(key, p)
    fine = np.asarray(first < 0.25)
    np.testing.assert_array_equal(drawn[fine], np.asarray(second < 0.5)[fine])
    assert 0.45 < drawn[fine].mean() < 0.55  # one part alone would show heads everywhere


def test_f34_the_ends_are_certain():
    certain = jnp.repeat(jnp.float32([0.0, 1.0]), 2**14)
    np.testing.assert_array_equal(drawn_by_lanes(jax.random.key(4), certain), np.asarray(certain) == 1)


def drawn_by_lanes(key, p):
    """What one site of many elements draws."""
    law, parameters = law_of(dist.Bernoulli(p))
    return np.asarray(law.draw(key, *parameters)) == 1


def site(law):
    sample("x", law)


LAWS = {
    "probs": lambda p: dist.Bernoulli(jnp.float32(p)),
    "logits": lambda p: dist.Bernoulli(logits=jnp.log(jnp.float32(p))),
    "other side": lambda p: dist.Bernoulli(logits=-jnp.log(jnp.float32(p))),
}


@pytest.mark.parametrize("law", LAWS)
def test_f34_coins_at_sites_are_those_coins(law, monkeypatch):
    """A site draws in two parts on its rarer side, in plates, particles and eager runs alike."""
    seen, high = [], jax.random.bernoulli

    def watched(key, probability, shape, mode="low"):
        if mode == "high":
            seen.append(float(jnp.max(probability)))
        return high(key, probability, shape, mode)

    monkeypatch.setattr("jax.random.bernoulli", watched)
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
    assert int(jnp.sum(compile(form)(key, rare)[0][0])) == 0


@pytest.mark.parametrize("p", [1e-7, 1e-9, 1e-11])
def test_f34_a_rare_item_has_its_share_of_the_words(p):
    sums = cumulative(integer_masses(jnp.array([1.0, p], jnp.float32)))
    edges = np.asarray(sums.high).astype(np.int64) * 2**32 + np.asarray(sums.low).astype(np.int64)
    assert (edges[1] - edges[0]) / edges[1] == pytest.approx(p / (1 + p), rel=1e-4)
