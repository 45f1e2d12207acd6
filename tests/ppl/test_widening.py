"""A widened draw has the scalar draw's law in every lane, its lanes are independent, and it uses one key.

False alarms: ALPHA = 1e-8 for each of about 180 tests of a p-value, so at most 2e-6 for the file. With 10,000 lanes a
Kolmogorov distance of 0.04 is found with a probability above 0.99.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from lawful.distributions.sampling.batched_draw import widen
from lawful.distributions.sampling.categorical import sample_categorical
from lawful.errors import LawfulError
from tests.structure.programs import equations

ALPHA = 1e-8
LANES = 10_000
KEY = jax.random.key(20_262)
pytestmark = pytest.mark.reuses_keys

# name: (distribution of its arguments, (low, high) of each argument, distribution function)
CONTINUOUS = {
    "Normal": (dist.Normal, ((-1, 1), (0.5, 2)), lambda x, m, s: stats.norm.cdf(x, m, s)),
    "LogNormal": (dist.LogNormal, ((-1, 1), (0.5, 1)), lambda x, m, s: stats.norm.cdf(np.log(x), m, s)),
    "StudentT": (dist.StudentT, ((2, 9), (-1, 1), (0.5, 2)), lambda x, d, m, s: stats.t.cdf(x, d, m, s)),
    "Gamma": (dist.Gamma, ((0.3, 4), (0.5, 2)), lambda x, a, b: stats.gamma.cdf(x, a, scale=1 / b)),
    "Beta": (dist.Beta, ((0.5, 3), (0.5, 3)), lambda x, a, b: stats.beta.cdf(x, a, b)),
    "Exponential": (dist.Exponential, ((0.5, 2),), lambda x, r: stats.expon.cdf(x, scale=1 / r)),
    "Laplace": (dist.Laplace, ((-1, 1), (0.5, 2)), lambda x, m, s: stats.laplace.cdf(x, m, s)),
    "Cauchy": (dist.Cauchy, ((-1, 1), (0.5, 2)), lambda x, m, s: stats.cauchy.cdf(x, m, s)),
    "HalfNormal": (dist.HalfNormal, ((0.5, 2),), lambda x, s: stats.halfnorm.cdf(x, scale=s)),
    "Uniform": (dist.Uniform, ((-1, 0), (1, 2)), lambda x, a, b: (x - a) / (b - a)),
    "TruncatedNormal": (
        lambda m, s: dist.TruncatedNormal(m, s, low=0.0),
        ((-1, 1), (0.5, 2)),
        lambda x, m, s: stats.truncnorm.cdf(x, -m / s, np.inf, m, s),
    ),
    "Weibull": (dist.Weibull, ((0.5, 2), (0.7, 3)), lambda x, s, c: stats.weibull_min.cdf(x, c, scale=s)),
    "Pareto": (dist.Pareto, ((0.5, 2), (1, 4)), lambda x, s, a: stats.pareto.cdf(x, a, scale=s)),
    "InverseGamma": (dist.InverseGamma, ((1, 4), (0.5, 2)), lambda x, a, b: stats.invgamma.cdf(x, a, scale=b)),
    "VonMises": (dist.VonMises, ((-1, 1), (0.5, 3)), lambda x, m, k: turned(x, m, k)),
}
DISCRETE = {
    "BernoulliProbs": (dist.BernoulliProbs, ((0.1, 0.9),), lambda x, p: stats.bernoulli.cdf(x, p)),
    "BernoulliLogits": (dist.BernoulliLogits, ((-2, 2),), lambda x, t: stats.bernoulli.cdf(x, 1 / (1 + np.exp(-t)))),
    "Poisson": (dist.Poisson, ((0.5, 12),), lambda x, r: stats.poisson.cdf(x, r)),
    "Binomial": (lambda p: dist.BinomialProbs(p, 9), ((0.1, 0.9),), lambda x, p: stats.binom.cdf(x, 9, p)),
}
FALLBACKS = {"VonMises", "Poisson", "Binomial"}
FAMILIES = CONTINUOUS | DISCRETE
every_family = pytest.mark.parametrize("name", FAMILIES)
VARIANTS = {"scalar in float32": (False, jnp.float32), "laned in float64": (True, jnp.float64)}


@pytest.fixture
def precision():
    """Switches to float32 mode for the length of a test."""
    before = jax.config.jax_enable_x64
    yield lambda dtype: jax.config.update("jax_enable_x64", dtype == jnp.float64)
    jax.config.update("jax_enable_x64", before)


def turned(x, mean, concentration):
    """The distribution function of the angle from the mean, in (-pi, pi]."""
    return stats.vonmises.cdf((x - mean + np.pi) % (2 * np.pi) - np.pi, concentration)


def drawing(name):
    make = FAMILIES[name][0]
    return lambda key, *arguments: make(*arguments).sample(key)


def arguments_of(name, laned, dtype):
    """Arguments spread over their ranges, in an order of its own for each; the last one stays common to all lanes."""
    rng = np.random.default_rng(1)
    ranges = FAMILIES[name][1]
    flags = [laned and (i < len(ranges) - 1 or i == 0) for i in range(len(ranges))]
    values = [rng.permutation(np.linspace(low, high, LANES)) if f else low * 0.4 + high * 0.6
              for (low, high), f in zip(ranges, flags, strict=True)]  # fmt: skip
    return [jnp.asarray(v, dtype) for v in values], flags


def draw_all(name, variant):
    laned, dtype = VARIANTS[variant]
    arguments, flags = arguments_of(name, laned, dtype)
    widened = widen(drawing(name), [jnp.zeros((), dtype)] * len(flags), flags, LANES)
    draws = jax.jit(widened.function)(KEY, *arguments)
    assert draws.shape == (LANES,)
    assert not jnp.issubdtype(draws.dtype, jnp.floating) or draws.dtype == dtype
    return widened, np.asarray(draws), [np.asarray(a, np.float64) for a in arguments]


def ranks(name, draws, arguments):
    """The probability integral transform, made continuous by a uniform inside each jump."""
    cdf = FAMILIES[name][2]
    high = cdf(draws, *arguments)
    if name in CONTINUOUS:
        return high
    low = np.where(draws > 0, cdf(draws - 1, *arguments), 0.0)
    return low + np.random.default_rng(2).random(LANES) * (high - low)


@pytest.mark.rest_slow
@every_family
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_lane_has_the_law_of_the_scalar_draw_and_lanes_are_independent(name, variant, precision):
    precision(VARIANTS[variant][1])
    widened, draws, arguments = draw_all(name, variant)
    assert widened.fallback == (name in FALLBACKS)
    uniform = ranks(name, draws.astype(np.float64), arguments)
    assert stats.kstest(uniform, "uniform").pvalue > ALPHA
    if name in CONTINUOUS and draws.dtype == jnp.float64:
        assert len(np.unique(draws)) == LANES
    z = stats.norm.ppf(np.clip(uniform, 1e-9, 1 - 1e-9))
    for lag in (1, 2, LANES // 2):
        assert stats.pearsonr(z[lag:], z[:-lag]).pvalue > ALPHA


def categorical_by(kind):
    if kind == "library":
        return lambda key, logits: sample_categorical(key, logits)
    if kind == "probs":
        return lambda key, logits: dist.CategoricalProbs(jax.nn.softmax(logits)).sample(key)
    return lambda key, logits: dist.CategoricalLogits(logits).sample(key)


@pytest.mark.rest_slow
@pytest.mark.parametrize("kind", ["probs", "logits", "library"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_categorical_lanes_have_their_own_probabilities(kind, dtype, precision):
    precision(dtype)
    rows = np.random.default_rng(3).normal(size=(4, 3))
    logits = jnp.asarray(np.repeat(rows, LANES // 4, axis=0), dtype)
    widened = widen(categorical_by(kind), [jnp.zeros(3, dtype)], [True], LANES)
    assert not widened.fallback
    draws = np.asarray(jax.jit(widened.function)(KEY, logits)).reshape(4, -1)
    for row, block in zip(rows, draws, strict=True):
        expected = np.exp(row) / np.exp(row).sum() * block.size
        assert stats.chisquare(np.bincount(block, minlength=3), expected).pvalue > ALPHA


@pytest.mark.rest_slow
@pytest.mark.parametrize("laned", [False, True])
def test_dirichlet_lanes_have_beta_marginals(laned):
    rng = np.random.default_rng(4)
    alpha = rng.uniform(0.5, 3, size=(LANES, 3)) if laned else np.array([0.5, 1.0, 2.5])
    widened = widen(lambda key, a: dist.Dirichlet(a).sample(key), [jnp.zeros(3)], [laned], LANES)
    draws = np.asarray(jax.jit(widened.function)(KEY, jnp.asarray(alpha)))
    assert not widened.fallback
    np.testing.assert_allclose(draws.sum(axis=1), 1, rtol=1e-6)
    for i in range(3):
        marginal = stats.beta.cdf(draws[:, i], alpha[..., i], alpha.sum(axis=-1) - alpha[..., i])
        assert stats.kstest(marginal, "uniform").pvalue > ALPHA


@pytest.mark.parametrize("laned", [False, True])
def test_multivariate_normal_lanes_are_white_after_whitening(laned):
    rng = np.random.default_rng(5)
    means = rng.normal(size=(LANES, 3)) if laned else rng.normal(size=3)
    factor = np.tril(rng.normal(size=(3, 3))) + 3 * np.eye(3)

    def draw(key, mean, scale):
        return dist.MultivariateNormal(mean, scale_tril=scale).sample(key)

    widened = widen(draw, [jnp.zeros(3), jnp.zeros((3, 3))], [laned, False], LANES)
    draws = np.asarray(jax.jit(widened.function)(KEY, jnp.asarray(means), jnp.asarray(factor)))
    white = np.linalg.solve(factor, (draws - means).T)
    assert not widened.fallback
    for row in white:
        assert stats.kstest(row, "norm").pvalue > ALPHA
    assert stats.kstest((white**2).sum(axis=0), stats.chi2(3).cdf).pvalue > ALPHA


def is_key(aval):
    return jnp.issubdtype(aval.dtype, jax.dtypes.prng_key)


@pytest.mark.parametrize("name", ["Normal", "LogNormal", "Laplace", "TruncatedNormal"])
def test_one_block_of_random_bits_serves_all_lanes(name):
    arguments, flags = arguments_of(name, True, jnp.float64)
    widened = widen(drawing(name), [jnp.zeros(())] * len(flags), flags, LANES)
    found = list(equations(jax.make_jaxpr(widened.function)(KEY, *arguments).jaxpr))
    (bits,) = [e for e in found if e.primitive.name == "random_bits"]
    assert bits.params["shape"][0] == LANES
    assert all(v.aval.shape == () for e in found for v in (*e.invars, *e.outvars) if is_key(v.aval))


@pytest.mark.rest_slow
@every_family
def test_no_key_gets_a_lane_unless_the_plan_says_so(name):
    arguments, flags = arguments_of(name, True, jnp.float64)
    widened = widen(drawing(name), [jnp.zeros(())] * len(flags), flags, LANES)
    found = equations(jax.make_jaxpr(widened.function)(KEY, *arguments).jaxpr)
    with_lanes = any(LANES in v.aval.shape for e in found for v in (*e.invars, *e.outvars) if is_key(v.aval))
    assert with_lanes == widened.fallback


def test_a_normal_draw_is_the_batched_draw_bit_by_bit():
    widened = widen(lambda key: dist.Normal(0.0, 1.0).sample(key), [], [], 100)
    np.testing.assert_array_equal(jax.jit(widened.function)(KEY), dist.Normal(0.0, 1.0).sample(KEY, (100,)))


@pytest.mark.rest_slow
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_the_shape_of_one_value_follows_the_lanes(shape):
    scale = jnp.ones(shape)
    for laned in (False, True):
        given = jnp.broadcast_to(scale, (5, *shape)) if laned else scale
        for make in (lambda s: dist.Normal(0.0, s), lambda s: dist.Gamma(s, 1.0)):
            widened = widen(lambda key, s, make=make: make(s).sample(key), [scale], [laned], 5)
            draws = jax.jit(widened.function)(KEY, given)
            assert draws.shape == (5, *shape)
            assert len(np.unique(draws)) == draws.size


def sum_over_inner_keys(key, scale):
    """A draw that maps over keys of its own."""
    return scale * jax.vmap(jax.random.normal)(jax.random.split(key, 4)).sum() / 2


def through_a_loop(key, scale):
    """Deterministic loops and branches after the draw."""
    x = jax.random.normal(key) * scale
    doubled = jax.lax.fori_loop(0, 2, lambda i, y: y * 2, x)
    halved, _ = jax.lax.scan(lambda y, _: (y / 2, None), doubled, length=2)
    return jax.lax.cond(halved > 0, lambda y: y, lambda y: -(-y), halved)


@jax.custom_jvp
def _custom_normal(key, scale):
    return jax.random.normal(key) * scale


_custom_normal.defjvp(lambda primals, tangents: (_custom_normal(*primals), tangents[1]))


def gammas_at_inner_keys(key, scale):
    """Two gamma variates from a block of keys; the first is a chi-square, turned normal."""
    drawn = jax.vmap(lambda k: jax.random.gamma(k, 0.5))(jax.random.split(key, 2))
    sign = jnp.where(jax.random.bernoulli(jax.random.fold_in(key, 1)), 1.0, -1.0)
    return scale * sign * jnp.sqrt(2 * drawn[0])


def by_rejection(key, scale):
    """A loop over keys: one normal draw at the end of a random number of steps."""

    def again(state):
        key, _, _ = state
        key, one, two = jax.random.split(key, 3)
        return key, jax.random.normal(one), jax.random.bernoulli(two, 0.5)

    return scale * jax.lax.while_loop(lambda state: ~state[2], again, (key, 0.0, jnp.array(False)))[1]


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("draw", "fallback"),
    [
        (sum_over_inner_keys, False),
        (through_a_loop, False),
        (_custom_normal, False),
        (jax.checkpoint(through_a_loop), False),
        (gammas_at_inner_keys, False),
        (by_rejection, True),
        (lambda key, scale: scale * jax.random.normal(jax.random.wrap_key_data(jax.random.key_data(key))), True),
    ],
    ids=["inner keys", "loops", "custom jvp", "checkpoint", "gammas", "rejection", "key data"],
)
def test_any_program_of_keys_widens_or_falls_back(draw, fallback):
    scale = np.linspace(1, 2, LANES)
    widened = widen(draw, [jnp.zeros(())], [True], LANES)
    assert widened.fallback == fallback
    draws = np.asarray(jax.jit(widened.function)(KEY, jnp.asarray(scale))) / scale
    assert stats.kstest(draws, "norm").pvalue > ALPHA
    assert len(np.unique(draws)) == LANES


def test_a_key_per_lane_as_an_argument_falls_back():
    keys = jax.random.split(KEY, 3)
    draw = lambda key, own: jax.random.normal(own) + jax.random.normal(key)
    widened = widen(draw, [KEY], [True], 3)
    assert widened.fallback
    assert len(np.unique(widened.function(KEY, keys))) == 3


def test_the_same_key_gives_the_same_lanes_and_another_key_others():
    widened = widen(drawing("StudentT"), [3.0, 0.0, 1.0], [False] * 3, 50)
    function = jax.jit(lambda key: widened.function(key, 3.0, 0.0, 1.0))
    np.testing.assert_array_equal(function(KEY), function(KEY))
    assert not np.isin(function(KEY), function(jax.random.key(1))).any()


def test_runs_can_be_mapped_over_keys():
    widened = widen(lambda key, s: dist.Normal(0.0, s).sample(key), [1.0], [False], 6)
    keys = jax.random.split(KEY, 4)
    together = jax.vmap(widened.function, in_axes=(0, None))(keys, 2.0)
    np.testing.assert_array_equal(together[2], widened.function(keys[2], 2.0))


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("make", "law"), [(lambda a: dist.Normal(a, 1.0), stats.norm), (lambda a: dist.Gamma(a, 1.0), stats.gamma)]
)
def test_derivatives_pass_through_the_lanes(make, law):
    """A draw moves with its parameter as the quantile that it is, in its own lane only."""
    at = jnp.array([0.5, 2.0, 3.0])
    widened = widen(lambda key, a: make(a).sample(key), [jnp.zeros(())], [True], 3)
    slopes = jax.jacobian(lambda a: widened.function(KEY, a))(at)
    x, a, step = np.asarray(widened.function(KEY, at)), np.asarray(at), 1e-5
    moved = -(law.cdf(x, a + step) - law.cdf(x, a - step)) / (2 * step) / law.pdf(x, a)
    np.testing.assert_allclose(slopes, np.diag(moved), rtol=1e-4, atol=1e-12)


def test_a_draw_without_randomness_is_repeated():
    for laned in (False, True):
        widened = widen(lambda key, v: dist.Delta(v).sample(key), [0.0], [laned], 3)
        given = jnp.arange(3.0) if laned else 7.0
        np.testing.assert_array_equal(widened.function(KEY, given), [0, 1, 2] if laned else [7, 7, 7])


def test_randomness_that_the_value_ignores_is_an_error():
    with pytest.raises(LawfulError, match="does not depend on them"):
        widen(lambda key, x: x + 0 * jnp.size(jax.random.normal(key)), [1.0], [False], 3)


@pytest.mark.parametrize(
    "draw", [lambda key: jax.random.normal(KEY), lambda key: jax.random.normal(jax.random.key(0))], ids=["kept", "made"]
)
def test_a_key_from_elsewhere_is_an_error(draw):
    with pytest.raises(LawfulError, match="a key that it was not given"):
        widen(draw, [], [], 3)
