"""Batches of a plate: over all of them the gradient of a fit is that of the whole, and a step takes the time of one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.inference import RunOptions
from lawful.inference.kernels.base.frame import frame_of
from lawful.inference.plans.guides.batches import batches_of, first_of_shuffle
from lawful.inference.plans.guides.families import FAMILIES
from lawful.inference.plans.guides.fit import Uphill
from lawful.inference.plans.guides.paths import Normal

from .known_line import known_line, line, line_data


def mixed(x, y, z):
    """Data in a plate and outside of it, a bounded site, a factor, and rows along the second axis of an argument."""
    level = lawful.sample("level", dist.Normal(0.0, 1.0))
    scale = lawful.sample("scale", dist.HalfNormal(2.0))
    lawful.factor("bent", -(level**4))
    with lawful.plate("outside", 3):
        lawful.sample("z", dist.Normal(level, scale), obs=z)
    with lawful.plate("row", x.shape[1]):
        mean = level + jnp.sum(x * jnp.array([[1.0], [-0.5]]), axis=0)
        lawful.sample("y", dist.StudentT(4.0, mean, scale), obs=y)


X, Y = np.array([[0.3, -1.0, 2.0, 0.7], [0.5, 0.1, -0.2, 1.1]]), np.array([0.2, -1.5, 2.5, 0.4])
MIXED = (X, Y, np.array([0.1, -0.9, 1.7]))


def uphills(program, data, size, plate="row"):
    """The fit on the whole, and that on batches."""
    form = lawful.trace(program, *data)
    batches, family = batches_of(form, program, {plate: size}, "guide"), FAMILIES["normal"]
    frame = frame_of(form, "guide")
    return Uphill(frame, family, "elbo", 3), Uphill(batches.frame, family, "elbo", 3, None, batches)


def start(uphill):
    size = uphill.frame.size
    loc = jnp.linspace(-0.4, 0.6, size)
    return uphill.family.begin(Normal(loc, 0.3 * jnp.eye(size)))


def slopes(uphill, data, at=None):
    """Value and gradient of the estimate with the same noise."""
    return jax.value_and_grad(uphill.estimate)(at or start(uphill), data, jax.random.key(5))


@pytest.mark.kills("59j", size=2)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_over_all_batches_the_gradient_is_that_of_the_whole(size):
    """Given the noise, value and gradient are those of the whole in the mean over all subsets of the four rows."""
    whole, part = uphills(mixed, MIXED, size)
    known, batches = slopes(whole, MIXED), part.batches
    sets = [*itertools.combinations(range(4), size)]
    found = [slopes(part, batches.of_rows(MIXED, jnp.array(rows))) for rows in sets]
    mean = jax.tree.map(lambda *each: sum(each) / len(sets), *found)
    for own, other in zip(jax.tree.leaves(mean), jax.tree.leaves(known), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-10)
    if size < 4:  # one batch alone is not the whole
        assert abs(found[0][0] - known[0]) > 1e-3


def test_the_batches_of_a_step_are_all_as_likely():
    """Chi-square over the six pairs of four; false alarms: one in a million, at a fixed key."""
    drawn = jax.vmap(lambda key: first_of_shuffle(key, 4, 2))(jax.random.split(jax.random.key(0), 6000))
    pairs = [tuple(sorted(row)) for row in np.asarray(drawn).tolist()]
    counts = [pairs.count(pair) for pair in itertools.combinations(range(4), 2)]
    assert sum(counts) == 6000 and stats.chisquare(counts).pvalue > 1e-6


def test_a_step_on_a_batch_of_all_is_that_of_the_whole():
    whole, part = uphills(mixed, MIXED, 4)
    key, steps = jax.random.key(1), jnp.asarray(7, jnp.int32)
    one, other = (each.go(key, MIXED, each.begin(start(each)), steps) for each in (whole, part))
    for own, known in zip(jax.tree.leaves(other.parameters), jax.tree.leaves(one.parameters), strict=True):
        np.testing.assert_allclose(own, known, rtol=1e-10, atol=1e-12)


def test_a_step_takes_the_operations_of_a_batch():
    """Those of ten rows among 1,000 and among 100,000 are as many."""

    def operations(count, size):
        data = (jnp.ones((count, 50)), jnp.ones(count))

        def model(x, y):
            slopes = lawful.sample("slopes", dist.Normal(0.0, 2.0).expand([50]).to_event(1))
            with lawful.plate("row", len(y)):
                lawful.sample("y", dist.Normal(x @ slopes, 0.5), obs=y)

        _, part = uphills(model, data, size)
        step = jax.jit(lambda fit: part._step(jax.random.key(0), data, fit))
        return step.lower(part.begin(start(part))).compile().cost_analysis()["flops"]

    few, many, whole = operations(1000, 10), operations(100_000, 10), operations(1000, 1000)
    assert many == few < 0.2 * whole


@pytest.mark.parametrize("family", ["normal", "lowrank"])
def test_a_fit_on_batches_ends_at_the_guide_of_the_whole(family):
    """A regression: means within .25 of their deviations, as steps read few rows (.17 was most at four keys)."""
    x, y = line_data()
    mean, covariance, evidence = known_line(x, y)
    settings = {"family": family, "runs": 2, "particles": 1000}
    whole = inference.guide(line, **settings)(0, x, y)
    part = inference.guide(line, batch={"row": 10}, **settings)(0, x, y)
    deviation = np.sqrt(np.diag(covariance))
    one, other = part.guide.law.normal, whole.guide.law.normal
    assert np.all(np.abs(one.mean - other.mean) < 0.25 * deviation)
    assert np.all(np.abs(one.mean - mean) < 0.25 * deviation)
    np.testing.assert_allclose(np.sqrt(one.variance), np.sqrt(other.variance), rtol=0.1)
    assert part.ok and abs(part.log_evidence_pooled - evidence) < 0.05
    assert not np.array_equal(one.mean, other.mean)


def test_a_program_is_fitted_on_batches():
    """The slopes are far from where the fit begins; it ends at the independent normals of the whole."""
    x, y = line_data()
    mean, covariance, evidence = known_line(x, y)

    def ours(p, x, y):
        lawful.sample("slopes", dist.Normal(p["loc"], jnp.exp(p["log_scale"])).to_event(1))

    begin = {"loc": np.zeros(2), "log_scale": np.zeros(2)}
    found = inference.guide(line, family=ours, parameters=begin, batch={"row": 10})(0, x, y)
    deviation = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(np.asarray(found.guide.law.parameters["loc"]) - mean) < 0.5 * deviation)
    assert found.ok and abs(found.log_evidence_pooled - evidence) < 0.05


def grouped(group, y):
    level = lawful.sample("level", dist.Normal(0.0, 1.0))
    with lawful.plate("group", 5):
        effect = lawful.sample("effect", dist.Normal(level, 0.5))
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Bernoulli(logits=effect[group]), obs=y)


def net(x, y):
    inner = lawful.sample("inner", dist.Normal(0.0, 1.0).expand([2, 3]).to_event(2))
    outer = lawful.sample("outer", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(jnp.tanh(x @ inner) @ outer, 0.5), obs=y)


@pytest.mark.parametrize("model", [grouped, net])
def test_rows_may_read_effects_of_groups_and_nets(model):
    """A batch of all rows in another order is the whole; sums of Bernoulli terms are taken apart, too."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=40)
    if model is grouped:
        x, y = rng.integers(0, 5, 40), rng.integers(0, 2, 40)
    whole, part = uphills(model, (x, y), 40)
    known = slopes(whole, (x, y))
    found = slopes(part, part.batches.of_rows((x, y), jnp.arange(40)[::-1]))
    for own, other in zip(jax.tree.leaves(found), jax.tree.leaves(known), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-10)
    inference.guide(model, family="normal", batch={"row": 8}, steps=10, particles=20, on_fault="flag")(0, x, y)


def test_a_fit_on_batches_goes_on_where_it_was_stopped(tmp_path):
    x, y = line_data()
    settings = {"paths": 2, "steps": 60, "particles": 20, "runs": 2, "batch": {"row": 4}}
    whole = inference.guide(line, **settings)(3, x, y)
    stop = RunOptions(chunk=3, checkpoint=tmp_path / "run", callbacks=lambda progress: progress.phase == "fit")
    part = inference.guide(line, run=stop, **settings)(3, x, y)
    found = inference.resume(tmp_path / "run", line, x, y)
    np.testing.assert_array_equal(found.posterior["slopes"], whole.posterior["slopes"])
    assert not np.array_equal(part.posterior["slopes"], whole.posterior["slopes"])
    assert "a step of the fit reads 4 of the 20 elements of 'row'" in inference.guide(line, **settings).plan(x, y)


def latent_in_the_plate(x, y):
    with lawful.plate("row", len(y)):
        level = lawful.sample("level", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(level, 1.0), obs=y)


def coins(x, y):
    level = lawful.sample("level", dist.Normal(0.0, 1.0))
    coin = lawful.sample("coin", dist.Bernoulli(0.5))
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(level + coin, 1.0), obs=y)


def of_level(make):
    """A model whose rows have the means that `make` gives of a level and the data."""

    def model(x, y):
        level = lawful.sample("level", dist.Normal(0.0, 1.0))
        with lawful.plate("row", len(y)):
            lawful.sample("y", dist.Normal(make(level, x, y), 1.0), obs=y)

    return model


def prior_of_the_rows(x, y):
    level = lawful.sample("level", dist.Normal(0.0, jnp.std(x)))
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(level, 1.0), obs=y)


def rows_of_known_number(x, y):
    level = lawful.sample("level", dist.Normal(0.0, 1.0))
    with lawful.plate("row", 20):
        lawful.sample("y", dist.Normal(level, 1.0), obs=y)


def vector_beside(x, y):
    levels = lawful.sample("levels", dist.Normal(0.0, 1.0).expand([len(y)]).to_event(1))
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(levels, 1.0), obs=y)


OUTSIDE = np.linspace(-1.0, 1.0, 20)


@pytest.mark.parametrize(
    ("model", "batch", "words"),
    [
        (line, {"person": 4}, "no site stands in the plate 'person'; the plates are: 'row' of 20. Fix"),
        (line, {"row": 21}, "expected at most the 20 elements of the plate 'row', got 21. Fix"),
        (latent_in_the_plate, {"row": 4}, "'level' .* is latent in the plate.* Fix"),
        (coins, {"row": 4}, "'coin' .* is discrete.* Fix"),
        (of_level(lambda level, x, y: level * jnp.cumsum(y)), {"row": 4}, "not seen to be independent.* Fix"),
        (of_level(lambda level, x, y: level * OUTSIDE), {"row": 4}, r"on 4 rows of its data \(x, y\) fails.* Fix"),
        (of_level(lambda level, x, y: level / len(y)), {"row": 4}, "has other values of terms.* Fix"),
        (
            of_level(lambda level, x, y: level * jnp.arange(1.0 * len(y))),
            {"row": 20},
            "has other values of terms.* Fix",
        ),
        (of_level(lambda level, x, y: level * jnp.roll(x[:, 0], 1)), {"row": 20}, "not seen to be independent.* Fix"),
        (of_level(lambda level, x, y: level * x[:, 0] / jnp.max(x)), {"row": 4}, "not seen to be independent.* Fix"),
        (prior_of_the_rows, {"row": 4}, "the law of a site that stays, or a factor, reads them.* Fix"),
        (rows_of_known_number, {"row": 4}, "on 4 rows of its data .* Fix"),
        (vector_beside, {"row": 4}, "has latent sites of other shapes.* Fix"),
    ],
)
def test_what_has_no_batches_is_refused(model, batch, words):
    with pytest.raises(LawfulError, match=rf"^guide: batch=(?s:.*){words}"):
        inference.guide(model, family="normal", batch=batch)(0, *line_data())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch": 10}, "batch: expected the name of a plate and how many.*got 10. Fix"),
        ({"batch": {"row": 4, "column": 2}}, "batch: expected the name of a plate.* Fix"),
        ({"batch": {"row": 0}}, r"batch\['row'\]: expected an integer of 1 or more, got 0"),
        ({"batch": {"row": 4}, "objective": "importance"}, "objective='importance'.* Fix: objective='elbo'"),
        ({"batch": {"row": 4}, "objective": "forward"}, "objective='forward'.* Fix: objective='elbo'"),
        ({"batch": {"row": 4}, "family": "laplace"}, "family='laplace', which has no steps.* Fix"),
        ({"batch": {"row": 4}, "enumerate": "all"}, "enumerate='all': a batch has no marginal.* Fix"),
    ],
)
def test_settings_that_no_batch_goes_with_are_refused(settings, words):
    with pytest.raises(LawfulError, match=words):
        inference.guide(line, **settings)
