"""Programs that start from a mixture: its density is exact, names mean nothing to it, and the measure stays."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference.check.rows.kernel_rows import MIXTURE, START, places
from lawful.inference.laws.multivariate_t import MultivariateT
from lawful.inference.laws.symmetric_mixture import SymmetricMixture, log_permanent
from lawful.inference.transformers.propose.laplace_mixture import FREEDOM, SHARE, WIDER

SITES = (("level", 1), ("scale", 1))


def mixture_of(ends=2, elements=3, d=2, seed=0, sites=SITES):
    """A mixture at random."""
    rng = np.random.default_rng(seed)
    roots = np.tril(0.2 * rng.normal(size=(ends, elements, d, d))) + np.eye(d)
    near = MultivariateT(FREEDOM, jnp.asarray(2.0 * rng.normal(size=(ends, elements, d))), jnp.asarray(roots))
    far = MultivariateT(FREEDOM, jnp.asarray(rng.normal(size=d)), 3.0 * jnp.eye(d))
    return SymmetricMixture(jnp.asarray(rng.normal(size=ends)), near, far, sites=sites)


def shares_of(at):
    weight = np.exp(np.asarray(at.log_weight))
    return weight / weight.sum()


def by_all_orders(at, point, near, far):
    """The sum over ends and orders of products of densities."""
    orders, total = list(itertools.permutations(range(len(point)))), 0.0
    for end, share in enumerate(shares_of(at)):
        for order in orders:
            each = [(1 - at.share) * near(x, end, j) + at.share * far(x) for x, j in zip(point, order, strict=True)]
            total += share / len(orders) * np.prod(each)
    return total


def t_densities(at):
    def t(law, at):
        return lambda x: stats.multivariate_t.pdf(x, np.asarray(law.loc)[at], scale_of(law, at), df=FREEDOM)

    def scale_of(law, at):
        root = np.asarray(law.scale_tril)[at]
        return root @ root.T

    return lambda x, end, j: t(at.near, (end, j))(x), lambda x: t(at.far, ())(x)


def test_permanents_are_sums_over_all_orders():
    rng = np.random.default_rng(0)
    for k in (1, 2, 4):
        matrix = rng.normal(size=(2, k, k))
        known = [
            np.logaddexp.reduce([sum(each[row, i] for i, row in enumerate(order))
                                 for order in itertools.permutations(range(k))])
            for each in matrix
        ]  # fmt: skip
        np.testing.assert_allclose(jax.jit(log_permanent)(jnp.asarray(matrix)), known, rtol=1e-13)
    assert log_permanent(jnp.full((2, 2), -jnp.inf)) == -jnp.inf


def test_the_density_is_a_sum_over_ends_and_orders():
    at, rng = mixture_of(), np.random.default_rng(1)
    points = 2.0 * rng.normal(size=(3, 3, 2))
    score = jax.jit(at.log_prob)
    found = np.asarray(score(jnp.asarray(points)))
    known = [np.log(by_all_orders(at, point, *t_densities(at))) for point in points]
    np.testing.assert_allclose(found, known, rtol=1e-12)
    np.testing.assert_allclose(score(jnp.asarray(points[:, [2, 0, 1]])), found, rtol=1e-12)


@pytest.mark.slow
def test_masses_of_a_finite_mixture_are_those_of_its_draws_and_sum_to_one():
    """Two elements of three values: all that a draw decides is enumerated, the order and the broad law among it."""
    near, far = np.random.default_rng(0).dirichlet(np.ones(3), (2, 2)), np.array([0.2, 0.3, 0.5])
    at = SymmetricMixture(
        jnp.log(jnp.array([0.3, 0.7])), dist.CategoricalProbs(jnp.asarray(near)), dist.CategoricalProbs(far)
    )
    values, law = at.enumerate_support(), lawful.trace(lambda: lawful.sample("x", at)).nodes[-1].law
    masses = np.exp(np.asarray(at.log_prob(values)))
    known = [by_all_orders(at, v, lambda x, end, j: near[end, j, x], lambda x: far[x]) for v in np.asarray(values)]
    np.testing.assert_allclose(masses, known, rtol=1e-13)
    assert abs(masses.sum() - 1) < 1e-14 and law.atoms == 9


@pytest.mark.rest_slow
@pytest.mark.parametrize(("elements", "nodes"), [(1, 400), (2, 400)])
def test_the_density_of_the_first_measure_integrates_to_one(elements, nodes):
    """By the trapezoid rule in sinh, whose ends hold less than 1e-20 of a t law: of scales, in their own support."""

    def program():
        with lawful.plate("class", elements):
            lawful.sample("scale", dist.HalfNormal(1.0))

    at = mixture_of(2, elements, 1, sites=(("scale", 1),))
    form = lawful.trace(inference.start_from(at)(program))
    assert [site.address for site in form.sites()] == [("class", "start")]
    s = np.linspace(-10.0, 10.0, nodes)
    u, step = np.sinh(s), np.cosh(s) * (s[1] - s[0])
    grid = np.stack(np.meshgrid(*[u] * elements, indexing="ij"), axis=-1).reshape(-1, elements, 1)
    weight = np.prod(np.stack(np.meshgrid(*[step] * elements, indexing="ij"), axis=-1), axis=-1).reshape(-1)
    assert abs(weight @ np.exp(np.asarray(jax.jit(at.log_prob)(jnp.asarray(grid)))) - 1) < 1e-8


@pytest.mark.slow
def test_draws_have_the_law_of_the_density():
    """Every element has the law of all elements of all ends; those of one draw belong together.

    Two tests of Kolmogorov and Smirnov at 1e-9 on 20,000 draws: the coordinate of an element, and the sum of all. They
    see a share of the broad law of .13 for .1, and elements that are drawn each for itself.
    """
    at = mixture_of(1, 2, 1)
    draws = np.asarray(jax.jit(lambda key: at.sample(key, (20_000,)))(jax.random.key(0)))[..., 0]
    loc, scale = np.asarray(at.near.loc)[0, :, 0], np.asarray(at.near.scale_tril)[0, :, 0, 0]
    far = stats.t(FREEDOM, float(at.far.loc[0]), float(at.far.scale_tril[0, 0]))

    def one(x):
        near = np.mean([stats.t.cdf(x, FREEDOM, m, s) for m, s in zip(loc, scale, strict=True)], axis=0)
        return (1 - SHARE) * near + SHARE * far.cdf(x)

    assert stats.kstest(draws[:, 0], one).pvalue > 1e-9
    grid = np.linspace(-60, 60, 2401)
    mass = [np.gradient((1 - SHARE) * stats.t.cdf(grid, FREEDOM, m, s) + SHARE * far.cdf(grid))
            for m, s in zip(loc, scale, strict=True)]  # fmt: skip
    total = np.cumsum(np.convolve(*mass))
    assert stats.kstest(draws.sum(axis=1), lambda x: np.interp(x, np.linspace(-120, 120, 4801), total)).pvalue > 1e-9


def test_draws_of_an_element_have_its_law_in_all_directions():
    """Three of Kolmogorov and Smirnov at 1e-9 on 20,000 draws: of two directions, and of the distance, which is F's.

    They see a correlation of .5 in place of .8, and a chi-square that is drawn for each coordinate.
    """
    root, loc = np.array([[2.0, 0.0], [1.2, 0.9]]), np.array([1.0, -1.0])
    law = MultivariateT(FREEDOM, jnp.asarray(loc), jnp.asarray(root))
    draws = np.asarray(jax.jit(lambda key: law.sample(key, (20_000,)))(jax.random.key(0)))
    for way in (np.array([0.0, 1.0]), np.array([1.0, -1.0])):
        at, scale = way @ loc, np.linalg.norm(way @ root)
        assert stats.kstest(draws @ way, stats.t(FREEDOM, at, scale).cdf).pvalue > 1e-9
    distance = np.sum(np.linalg.solve(root, (draws - loc).T) ** 2, axis=0) / 2
    assert stats.kstest(distance, stats.f(2, FREEDOM).cdf).pvalue > 1e-9


def classes():
    gate = lawful.sample("gate", dist.ZeroSumNormal(1.0, (3,)))
    with lawful.plate("class", 3):
        level = lawful.sample("level", dist.Normal(0.0, 2.0))
        scale = lawful.sample("scale", dist.HalfNormal(1.0))
    lawful.factor("data", -jnp.sum((level - 1.0) ** 2 / scale) + jnp.sum(gate * level))
    return level


def started(start):
    return inference.start_from(start)(classes)()


@pytest.mark.slow
def test_the_measure_is_that_of_the_program_wherever_it_starts():
    """Log density of a point, by the program that starts from a mixture and by the program itself; forms as well."""
    at, rng = mixture_of(), np.random.default_rng(2)
    here = lawful.density(classes)
    there = [lawful.density(started, at), lawful.density(inference.start_from(at)(lawful.trace(classes)))]
    for _ in range(2):
        point, gate = jnp.asarray(rng.normal(size=(3, 2))), jnp.asarray(rng.normal(size=2))
        known = here.logp({"gate": gate, "level": point[:, 0], "scale": point[:, 1]})
        for density in there:
            np.testing.assert_allclose(density.logp({"gate": gate, "class.start": point}), known, rtol=1e-12)
    far = there[0].logp({"gate": gate, "class.start": point.at[0, 1].set(800.0)})  # where numbers overflow
    assert far == -np.inf
    result = inference.importance(started, particles=3)(0, at)
    assert result.posterior["level"].shape == (1, 3, 3)
    assert sorted(result.posterior) == ["class.start", "gate", "level", "scale"]


@pytest.mark.slow
def test_the_first_measure_of_a_path_is_the_mixture_times_the_prior_of_the_rest():
    """At power 0 all factors are out; and the exact evidence of the finite program stays."""
    form = lawful.trace(START(places))
    powered = inference.temper()(inference.Trace(form)).target()
    log_density = jax.jit(powered.log_density)({("class", "start"): np.array([1, 2])}, np.int32(0), 0.0)
    np.testing.assert_allclose(log_density, MIXTURE.log_prob(np.array([1, 2])), rtol=1e-14)
    exact = inference.enumerate(places)().log_evidence, inference.enumerate(START(places))().log_evidence
    assert abs(exact[0] - exact[1]) < 1e-13


PRECISION = np.array([[[4.0, 1.0], [1.0, 9.0]], [[100.0, 0.0], [0.0, 0.01]]])


def valley():
    """Whose log density has the same curvature in both elements at the origin, and another away from it."""
    with lawful.plate("class", 2):
        x = lawful.sample("x", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    lawful.factor("data", -0.5 * jnp.sum(3.0 * x[:, 0] ** 2 + 2.0 * x[:, 0] * x[:, 1] + 8.0 * x[:, 1] ** 2))


def test_scales_are_those_of_the_curvature_of_each_element_and_no_wider_than_the_prior():
    make = inference.laplace_mixture(valley, "class")
    ends = {"x": jnp.array([[[np.nan, 0.0], [0.0, 0.0]], [[1.0, 2.0], [-1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]])}
    found = make(ends, heights=[9.0, 3.0, 5.0])
    scale = np.asarray(found.near.scale_tril @ np.swapaxes(found.near.scale_tril, -1, -2))
    np.testing.assert_allclose(scale[:2], np.broadcast_to(WIDER * np.linalg.inv(PRECISION[0]), (2, 2, 2, 2)), rtol=1e-6)
    # Two ends are finite; they come in the order of their heights, again and again.
    np.testing.assert_allclose(found.near.loc[:4, 0], [[0.0, 0.0], [1.0, 2.0]] * 2, atol=1e-12)
    np.testing.assert_allclose(np.exp(found.log_weight[:4]), [1.0, 0.5, 1.0, 0.5])
    flat = np.broadcast_to(-np.diag([4.0, 1e-6, 4.0, 100.0]), (3, 4, 4))  # the data tell less than the prior
    given = make(ends, hessians=flat).near.scale_tril
    np.testing.assert_allclose(given[0, 1, 1, 1] ** 2, WIDER / 100, rtol=0.02)
    np.testing.assert_allclose(np.abs(given[0, 0, 1, 1]) ** 2, WIDER, rtol=0.15)
    assert make(ends).log_weight.shape == (8,)


def unlike():
    with lawful.plate("class", 2):
        lawful.sample("x", dist.Normal(jnp.array([0.0, 1.0]), 1.0))


def weighed():
    lawful.sample("weights", dist.Dirichlet(jnp.ones(2)))
    with lawful.plate("class", 2):
        lawful.sample("x", dist.Normal(0.0, 1.0))


def unequal():
    weights = lawful.sample("weights", dist.Dirichlet(jnp.array([1.0, 2.0])))
    with lawful.plate("class", 2):
        lawful.sample("x", dist.Normal(weights, 1.0))


X = {"x": jnp.array([[0.5, 2.0]])}
W = {"weights": jnp.array([[0.3, 0.7]])}


@pytest.mark.slow
def test_elements_that_are_not_exchangeable_are_refused():
    assert inference.laplace_mixture(weighed, "class")(X | W).sites == (("x", 1),)
    for program, optima in ((unlike, X), (unequal, X | W)):
        with pytest.raises(LawfulError, match="'class' are not exchangeable: the log density changes from .* Fix"):
            inference.laplace_mixture(program, "class")(optima)


@pytest.mark.parametrize(
    ("optima", "options", "named"),
    [
        ({}, {}, "weights .optima, 2,., x .optima, 2,.; got none"),
        (X | {"weights": jnp.ones((1, 3))}, {}, "got x .1, 2., weights .1, 3."),
        ({"x": jnp.array([[jnp.nan, 2.0]])} | W, {}, "none of 1 optima has a finite"),
        (X | W, {"plate": "row"}, "no choice stands in a plate named 'row'; the program has: class"),
        (X | W, {"sites": ["weights"]}, "no site of it is named 'weights'; expected sites among x"),
    ],
)
def test_optima_that_do_not_fit_are_refused(optima, options, named):
    with pytest.raises(LawfulError, match=named) as error:
        inference.laplace_mixture(weighed, **{"plate": "class", **options})(optima)
    assert "Fix:" in str(error.value)


def looped():
    def step(carry, _):
        with lawful.plate("class", 3):
            lawful.sample("level", dist.Normal(0.0, 1.0))
            lawful.sample("scale", dist.HalfNormal(1.0))
        return carry, None

    lawful.scan(step, 0.0, None, length=2)


def two():
    with lawful.plate("class", 2):
        lawful.sample("level", dist.Normal(0.0, 1.0))


def test_programs_that_a_mixture_does_not_fit_are_refused():
    with pytest.raises(UnsupportedProgramError, match="'level.*stands in a loop or a branch"):
        lawful.trace(inference.start_from(mixture_of())(looped))
    with pytest.raises(LawfulError, match="2 elements of 1 coordinates, and the mixture of start_from 3 of 1"):
        lawful.trace(inference.start_from(mixture_of())(two))
    with pytest.raises(LawfulError, match="no site 'scale' in a plate 'class'"):
        lawful.trace(inference.start_from(mixture_of(2, 2))(two))
    with pytest.raises(LawfulError, match="expected a guide or a mixture of laplace_mixture, got dict"):
        inference.start_from({})
