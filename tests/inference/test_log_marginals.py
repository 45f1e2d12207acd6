"""The vector of log marginals over a plate: each element is the program on its data alone; their sum is the density."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.backends.xla import compile
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form.choices import choices_of
from lawful.inference import enumeration, information, integrate_normals, log_marginals, marginalise, scores, wide
from lawful.inference.check.programs.grammar import random_program
from lawful.interop.density import Density
from lawful.passes.record import record

RNG = np.random.default_rng(20261)


def adds_up(found, values):
    """Whether the three parts add up to the log density of the marginal."""
    parts, whole = found.parts(values), found.marginal.log_density(values, *found.inputs)
    np.testing.assert_allclose(parts.elements.sum() + parts.outside + parts.prior, whole, rtol=1e-12, atol=1e-12)
    return parts


def mixture(y, count, seen):
    """Classes of persons, two sites of data, of which one is masked; and a measurement outside of the plate."""
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    lawful.sample("other", dist.Normal(mu, 1.0), obs=0.3)
    with lawful.plate("person", len(y)):
        z = lawful.sample("z", dist.Bernoulli(0.3))
        lawful.sample("count", dist.Poisson(1.0 + z), obs=count)
        lawful.sample("y", dist.Normal(mu * z, 1.0).mask(seen), obs=y)


def test_a_mixture_by_hand_with_masked_data_and_data_elsewhere():
    y, count, seen = RNG.normal(size=5), np.arange(5), np.array([1, 0, 1, 1, 0], bool)
    found = log_marginals(mixture, y, count, seen, enumerate="all")
    parts = adds_up(found, {"mu": 0.5})
    terms = [
        jnp.log(p) + dist.Poisson(1.0 + z).log_prob(count) + jnp.where(seen, dist.Normal(0.5 * z).log_prob(y), 0.0)
        for z, p in enumerate((0.7, 0.3))
    ]
    np.testing.assert_allclose(parts.elements, jnp.logaddexp(*terms), rtol=1e-13)
    np.testing.assert_allclose(parts.outside, dist.Normal(0.5, 1.0).log_prob(0.3), rtol=1e-13)
    assert (found.plates, found.shape, found.sites) == (("person",), (5,), ("count", "y"))
    assert repr(found) == "LogMarginals(count, y over person 5, given mu)"


@pytest.mark.parametrize("kind", [int, float, bool])
def test_many_coins_are_taken_apart(kind):
    """The law knows a sum of theirs at once, which is not asked; and data may have another type than their site."""

    def logistic(x, y):
        w = lawful.sample("w", dist.Normal(0.0, 1.0))
        with lawful.plate("row", len(y)):
            lawful.sample("y", dist.Bernoulli(logits=w * x), obs=y)

    x, y = RNG.normal(size=40), RNG.integers(0, 2, 40)
    parts = adds_up(log_marginals(logistic, x, y.astype(kind)), {"w": 0.7})
    np.testing.assert_allclose(parts.elements, dist.Bernoulli(logits=0.7 * x).log_prob(y), rtol=1e-12)


def measured(y):
    """Groups with an effect each, measured several times; the noise is shared by all."""
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
    spread = lawful.sample("spread", dist.HalfNormal(1.0))
    with lawful.plate("group", y.shape[0], dim=-2):
        effect = lawful.sample("effect", dist.Normal(mu, spread))
        with lawful.plate("time", y.shape[1], dim=-1):
            lawful.sample("y", dist.Normal(effect, 1.1), obs=y)


def test_arguments_may_be_traced():
    """The vector and its derivative are those outside of jit, and what is no datum is refused there, too."""
    y = jnp.array([0.0, 1.0, 2.0])

    def model(y, scale):
        mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
        with lawful.plate("row", len(y)):
            z = lawful.sample("z", dist.Bernoulli(0.3))
            lawful.sample("y", dist.Normal(mu * z, scale), obs=y)

    def moved(y, scale):
        mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
        with lawful.plate("row", len(y)):
            lawful.sample("y", dist.Normal(0.0, scale), obs=y - mu)

    def vector(mu, y, scale, program=model):
        return log_marginals(program, y, scale, enumerate="all")({"mu": mu})

    found, slopes = jax.jit(lambda *args: (vector(*args), jax.jacfwd(vector)(*args)))(0.7, y, 1.5)
    at = log_marginals(model, y, 1.5, enumerate="all")
    np.testing.assert_allclose(found, at({"mu": 0.7}), rtol=1e-14)
    np.testing.assert_allclose(slopes, scores(at, {"mu": 0.7})["mu"], rtol=1e-13)
    with pytest.raises(UnsupportedProgramError, match="'y' observes depends on a latent site"):
        jax.jit(lambda y: vector(0.7, y, 1.5, moved))(y)


def test_random_intercepts_are_those_of_dense_algebra_and_nested_plates_give_pairs():
    y, at = RNG.normal(size=(4, 3)), {"mu": 0.2, "spread": 0.7}
    found = log_marginals(measured, y, plate="group", enumerate=integrate_normals(["effect"]))
    covariance = 1.1**2 * np.eye(3) + 0.7**2
    dense = dist.MultivariateNormal(0.2 * jnp.ones(3), covariance).log_prob(y)
    np.testing.assert_allclose(adds_up(found, at).elements, dense, rtol=1e-12)
    with pytest.raises(UnsupportedProgramError, match="'time' are not seen to be independent given mu, spread"):
        log_marginals(measured, y, plate="time", enumerate=integrate_normals(["effect"]))
    effect = RNG.normal(size=(4, 1))
    pairs = log_marginals(measured, y, plate=["time", "group"])
    found = adds_up(pairs, {**at, "effect": effect}).elements
    np.testing.assert_allclose(found, dist.Normal(effect, 1.1).log_prob(y).T, rtol=1e-13)


def test_rows_with_an_index_of_their_group_are_told_apart_in_wide_format():
    index = np.array([2, 0, 0, 2, 2, 5, 0])
    y, x = RNG.normal(size=7), RNG.normal(size=(7, 2))

    def rows(index, y, x):
        mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
        with lawful.plate("group", 3):
            effect = lawful.sample("effect", dist.Normal(mu, 0.8))
        with lawful.plate("row", len(y)):
            lawful.sample("y", dist.Normal(effect[index] + x[:, 1], 1.1), obs=y)

    def in_groups(seen, y, x):
        mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
        with lawful.plate("group", len(y), dim=-2):
            effect = lawful.sample("effect", dist.Normal(mu, 0.8))
            with lawful.plate("row", y.shape[1], dim=-1):
                lawful.sample("y", dist.Normal(effect + x[..., 1], 1.1).mask(seen), obs=y)

    by, places = integrate_normals(["effect"]), np.searchsorted([0, 2, 5], index)
    with pytest.raises(
        LawfulError, match="no observed site stands in 'group'.*in that of the groups, by inference.wide"
    ):
        log_marginals(rows, places, y, x, plate="group", enumerate=by)
    with pytest.raises(UnsupportedProgramError, match="'row' are not seen to be independent.*by inference.wide"):
        log_marginals(rows, places, y, x, plate="row", enumerate=by)
    found = wide(index, y, x)
    assert found.labels.tolist() == [0, 2, 5]
    np.testing.assert_array_equal(np.sort(found.rows[found.seen]), np.arange(7))
    parts = adds_up(log_marginals(in_groups, found.seen, *found.arrays, plate="group", enumerate=by), {"mu": 0.3})
    for label, element in zip(found.labels, parts.elements, strict=True):
        own = index == label
        covariance = 1.1**2 * np.eye(own.sum()) + 0.8**2
        exact = dist.MultivariateNormal(0.3 + x[own, 1], covariance).log_prob(y[own])
        np.testing.assert_allclose(element, exact, rtol=1e-12)
    whole = enumeration(lawful.trace(rows, places, y, x), by).marginal.log_density({"mu": 0.3}, places, y, x)
    np.testing.assert_allclose(parts.joint, whole, rtol=1e-12)
    with pytest.raises(LawfulError, match=r"wide: expected some rows of data, as many as labels, \(7,\), got \(3,\)"):
        wide(index, y[:3])


def switching(y):
    """A hidden state of each person, followed through time."""
    stay, gap = lawful.sample("stay", dist.Beta(1.0, 1.0)), lawful.sample("gap", dist.Normal(0.0, 1.0))

    def step(z, row):
        with lawful.plate("person", y.shape[1]):
            z = lawful.sample("z", dist.Bernoulli(jnp.where(z == 1, stay, 1.0 - stay)))
            lawful.sample("y", dist.Normal(gap * z, 1.0), obs=row)
        return z, None

    lawful.scan(step, jnp.zeros(y.shape[1], int), y)


def walking(y):
    """A level of each person, followed through time."""
    drift, noise = lawful.sample("drift", dist.HalfNormal(1.0)), lawful.sample("noise", dist.HalfNormal(1.0))

    def step(x, row):
        with lawful.plate("person", y.shape[1]):
            x = lawful.sample("x", dist.Normal(x, drift))
            lawful.sample("y", dist.Normal(x, noise), obs=row)
        return x, None

    lawful.scan(step, jnp.zeros(y.shape[1]), y)


def trajectories(y):
    """Classes of persons, each with a normal line of its own."""
    share = lawful.sample("share", dist.Dirichlet(jnp.ones(2)))
    means = lawful.sample("means", dist.Normal(jnp.zeros((2, 2)), 1.0).to_event(2))
    with lawful.plate("person", len(y)):
        z = lawful.sample("z", dist.Categorical(share))
        line = lawful.sample("line", dist.Normal(means[z], 0.5).to_event(1))
        mean = line[:, 0, None] + line[:, 1, None] * jnp.arange(y.shape[1])
        lawful.sample("y", dist.Normal(mean, 1.0).to_event(1), obs=y)


SUMMED = {
    switching: (marginalise(), {"stay": 0.3, "gap": 1.0}, 1),
    walking: (integrate_normals(["x"]), {"drift": 0.3, "noise": 1.0}, 1),
    trajectories: (
        integrate_normals(["line"]) >> marginalise(["z"]),
        {"share": np.array([0.3, 0.7]), "means": np.array([[0.1, 0.2], [-0.3, 1.0]])},
        0,
    ),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("program", SUMMED, ids=lambda program: program.__name__)
def test_each_element_is_the_program_on_its_data_alone(program):
    by, at, axis = SUMMED[program]
    y = RNG.normal(size=(3, 3))
    found = log_marginals(program, y, enumerate=by)
    elements = adds_up(found, at).elements
    one = log_marginals(program, np.take(y, [0], axis), enumerate=by)
    alone = [one.function([np.take(y, [k], axis)] * 2, list(at.values()))[0][0] for k in range(y.shape[axis])]
    np.testing.assert_allclose(elements, alone, rtol=1e-12)


def test_what_meets_is_refused_with_the_reason():
    def follows(y):
        slope = lawful.sample("slope", dist.Normal(0.0, 1.0))
        with lawful.plate("i", len(y)):
            lawful.sample("y", dist.Normal(slope * jnp.concatenate([jnp.zeros(1), y[:-1]]), 1.0), obs=y)

    def coupled(y):
        with lawful.plate("i", len(y)):
            z = lawful.sample("z", dist.Bernoulli(0.3))
            lawful.sample("y", dist.Normal(1.0 * z, 1.0), obs=y)
        lawful.factor("pull", jnp.sum(z[1:] * z[:-1]))

    y = jnp.arange(4.0)
    with pytest.raises(UnsupportedProgramError, match="given slope: 'slice' may let them meet. Fix: sum out"):
        log_marginals(follows, y)
    with pytest.raises(UnsupportedProgramError, match="plate 'i' are not seen to be independent"):
        log_marginals(coupled, y, enumerate="all")

    def echoed():
        with lawful.plate("i", 3):
            x = lawful.sample("x", dist.Normal(0.0, 1.0))
            lawful.sample("y", dist.Normal(0.0, 1.0), obs=2.0 * x)

    with pytest.raises(UnsupportedProgramError, match="what 'y' observes depends on a latent site.*Fix: give data"):
        log_marginals(echoed)
    with pytest.raises(LawfulError, match="no observed site stands in 'j'; the observed sites are: 'y' in i. Fix"):
        log_marginals(coupled, y, plate="j")
    with pytest.raises(LawfulError, match="expected plate=.*'y' in group, time. Fix"):
        log_marginals(measured, np.zeros((2, 2)))

    def steps(y):
        lawful.scan(lambda x, y: (lawful.sample("y", dist.Normal(x, 1.0), obs=y), None), 0.0, y)

    with pytest.raises(LawfulError, match="in no plate, but in the steps of a loop: 'y' .*Fix: take log_predictives"):
        log_marginals(steps, y)


def test_lags_that_are_given_are_no_elements():
    def follows(y, before):
        slope = lawful.sample("slope", dist.Normal(0.0, 1.0))
        with lawful.plate("i", len(y)):
            lawful.sample("y", dist.Normal(slope * before, 1.0), obs=y)

    y, before = RNG.normal(size=3), RNG.normal(size=3)
    elements = adds_up(log_marginals(follows, y, before), {"slope": 0.5}).elements
    np.testing.assert_allclose(elements, dist.Normal(0.5 * before, 1.0).log_prob(y), rtol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("program", SUMMED, ids=lambda program: program.__name__)
def test_scores_and_information_are_finite_differences(program):
    by, at, _ = SUMMED[program]
    found = log_marginals(program, RNG.normal(size=(3, 3)), enumerate=by)
    free = Density(found.marginal, (), found.inputs)
    position = {name: np.asarray(x) for name, x in free.unconstrain(at).items()}
    start = np.concatenate([np.ravel(x) for x in position.values()])

    def values(vector):
        parts = np.split(vector, np.cumsum([x.size for x in position.values()])[:-1])
        return free.constrain({name: part.reshape(position[name].shape) for name, part in zip(at, parts, strict=True)})

    def score(vector):
        rows = scores(found, values(vector), unconstrained=True)
        return np.concatenate([x.reshape(3, -1) for x in rows.values()], -1)

    def slopes(function):  # of fourth order
        steps = 1e-3 * np.eye(len(start))
        two = [[function(start + n * step) - function(start - n * step) for n in (1, 2)] for step in steps]
        return np.stack([(8 * one - other) / 12e-3 for one, other in two], -1)

    exact = slopes(lambda vector: np.asarray(found(values(vector))))
    np.testing.assert_allclose(score(start), exact, rtol=1e-6, atol=1e-8)
    curvature = -slopes(lambda vector: score(vector).sum(0))
    np.testing.assert_allclose(information(found, at, unconstrained=True), curvature, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_long_loops_in_float32():
    y = np.float32(RNG.normal(size=(400, 2)))
    with jax.enable_x64(False):
        found = log_marginals(walking, y, enumerate=integrate_normals(["x"]))
        narrow = found({"drift": np.float32(0.3), "noise": np.float32(1.0)})
        assert narrow.dtype == jnp.float32
    wide = log_marginals(walking, np.float64(y), enumerate=integrate_normals(["x"]))({"drift": 0.3, "noise": 1.0})
    np.testing.assert_allclose(narrow, wide, rtol=1e-5)


def _first_as_last(data, axis):
    """Give the first element of a plate the data of the last one."""
    rows = np.moveaxis(np.array(data), axis, 0)
    rows[:1] = rows[-1:]
    return np.moveaxis(rows, 0, axis)


def agree(seed):
    """Check a random program on all of its plates, with and without its sums; count what is checked and refused.

    The programs are small: what a case costs is compiling, which grows with the arms and loops of its sums.
    """
    program = random_program(seed, include=["plate", "observe"], nested=seed % 4 == 0, statements=3, max_paths=64)
    tables = program.random_tables(np.random.default_rng(seed))
    form = lawful.trace(program.program, tables)
    plates = {f.name: f.size for c in choices_of(form, ("observed",)) for f in c.frames}
    done = refused = 0
    for plate, sums in itertools.product(plates if max(plates.values(), default=0) > 1 else (), (None, "all")):
        try:
            found = log_marginals(form, tables, plate=plate, enumerate=sums)
        except UnsupportedProgramError:
            refused += 1
            continue
        drawn = record(found.marginal, ("sample",))
        outs, _ = compile(drawn.form)(jax.random.key(seed), *found.inputs)
        values = dict(zip((c.address for c in drawn.choices), drawn.split(outs).values, strict=True))
        elements = adds_up(found, values).elements
        place = next(c for c in choices_of(form, ("observed",)) if c.name == found.sites[-1])
        axis = next(f.dim for f in place.frames if f.name == plate)
        moved = [*found.inputs[:-1], _first_as_last(found.inputs[-1], axis)]
        others, _, _ = found.function(moved, list(values.values()))
        np.testing.assert_array_equal(elements[1:], others[1:])
        done += plates[plate] > 1
    return done, refused


@pytest.mark.slow
def test_random_programs_add_up():
    done, refused = np.sum([agree(seed) for seed in range(40)], axis=0)
    assert done >= 25
    assert refused <= done / 4
