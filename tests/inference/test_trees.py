"""Laws of trees: what was not observed is no observation, names and labels reach ArviZ, and coordinates map back."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas
import polars
import pytest
import xarray
from jaxtyping import TypeCheckError

import lawful
from lawful import inference, plate, sample
from lawful.errors import LawfulError
from lawful.inference import Result
from lawful.inference.results.collect import from_chains

CHAINS, DRAWS = 2, 60
Y = np.array([28.0, 8.0, -3.0, 7.0])
SD = np.array([15.0, 10.0, 16.0, 11.0])
SEEN = np.array([True, False, True, True])
NAMES = ["Choate", "Deerfield", "Exeter", "Groton"]
RNG = np.random.default_rng(5)
DRAWN = {"mean": RNG.normal(size=(CHAINS, DRAWS)), "theta": RNG.normal(size=(CHAINS, DRAWS, 4))}


def schools(y, sd, seen):
    mean = sample("mean", dist.Normal(0.0, 10.0))
    with plate("school", len(sd), coords=NAMES[: len(sd)]):
        theta = sample("theta", dist.Normal(mean, 5.0))
        sample("y", dist.Normal(theta, sd), obs=y, obs_mask=seen)


def deleted(y, sd, at):
    mean = sample("mean", dist.Normal(0.0, 10.0))
    with plate("school", 4):
        theta = sample("theta", dist.Normal(mean, 5.0))
    with plate("seen", len(y)):
        sample("y", dist.Normal(theta[at], sd), obs=y)


def result_of(program, *args, draws=DRAWN, **fields):
    form = lawful.trace(program, *args)
    observed = fields.pop("observed", {"y": args[0]} if args else None)
    return from_chains(draws, form=form, model=program, args=args, observed=observed, **fields)


@pytest.fixture(scope="module")
def masked():
    return result_of(schools, np.where(SEEN, Y, 99.0), SD, SEEN, dims={"theta": ("school",)})


def test_leave_one_out_of_a_masked_site_is_that_of_the_deleted_entries(masked):
    at = np.flatnonzero(SEEN)
    other = result_of(deleted, Y[at], SD[at], jnp.asarray(at))
    one, two = masked.loo("y", pointwise=True), other.loo("y", pointwise=True)
    assert one.n_data_points == 3 and abs(one.elpd - two.elpd) < 1e-10 and abs(one.se - two.se) < 1e-10


def test_a_masked_site_has_scores_of_what_was_observed_and_says_where_that_is(masked):
    tree = masked.to_datatree()
    scores = tree["log_likelihood"].y
    assert scores.dims == ("chain", "draw", "y_observed")
    assert scores.y_observed_school.values.tolist() == [NAMES[i] for i in np.flatnonzero(SEEN)]
    np.testing.assert_array_equal(np.isnan(tree["observed_data"].y.values), ~SEEN)
    assert tree["constant_data"].y_mask.values.tolist() == SEEN.tolist()
    assert tree["constant_data"].y_mask.dims == ("school",)
    total = scores.sum("y_observed") + sum(
        array.sum([d for d in array.dims if d not in ("chain", "draw")])
        for array in tree["log_prior"].data_vars.values()
    )
    whole = masked.form.log_density({name: a[1, 7] for name, a in DRAWN.items()}, *masked.args)
    assert abs(float(total[1, 7]) - float(whole)) < 1e-10 * abs(float(whole))


def imputed(y, seen, days, heard):
    with plate("school", 4, coords=NAMES):
        sample("y", dist.Normal(0.0, 1.0), obs=y, obs_mask=seen, impute=True)
    with plate("day", 2), plate("class", 3):
        sample("z", dist.Dirichlet(jnp.ones(2)), obs=days, obs_mask=heard, impute=True)


def test_missing_elements_alone_are_in_a_tree_and_say_where_they_stand(tmp_path):
    heard = np.array([[True, False], [True, True], [False, True]])
    args = Y, SEEN, np.full((3, 2, 2), 0.5), heard
    draws = {"y.missing": RNG.normal(size=(CHAINS, DRAWS, 4))}
    draws["z.missing"] = RNG.dirichlet([1, 1], size=(CHAINS, DRAWS, 3, 2))
    axes = {"y.missing": ("school",), "z.missing": ("class", "day")}
    result = result_of(imputed, *args, draws=draws, observed={"y": Y, "z": args[2]}, dims=axes)
    tree = result.to_datatree(unconstrained=True)
    for group in ("posterior", "log_prior"):
        found = tree[group]
        assert found["y.missing"].dims == ("chain", "draw", "y_missing")
        assert found["y_missing"].values.tolist() == ["Deerfield"]
        assert found["z_missing"].values.tolist() == ["0, 1", "2, 0"]
    np.testing.assert_array_equal(tree.posterior["y.missing"][..., 0], draws["y.missing"][..., 1])
    np.testing.assert_array_equal(tree.posterior["z.missing"], draws["z.missing"][:, :, [0, 2], [1, 0]])
    assert tree.posterior["z.missing"].dims == ("chain", "draw", "z_missing", "z.missing_dim_0")
    assert not {"school", "day"} & set(tree.posterior.dims)
    assert result.summary().index.tolist()[0] == "y.missing[Deerfield]"
    result.save(tmp_path / "all.nc")
    kept = Result.load(tmp_path / "all.nc")
    for name, array in draws.items():
        np.testing.assert_array_equal(kept.posterior[name], array)


def test_a_mask_that_a_choice_moves_leaves_the_scores_as_they_are():
    def moving(y):
        k = sample("k", dist.Bernoulli(0.5))
        with plate("row", 2):
            sample("y", dist.Normal(0.0, 1.0), obs=y, obs_mask=jnp.array([True, False]) | (k == 1))

    result = result_of(moving, np.zeros(2), draws={"k": np.array([[0, 1, 1]])})
    scores = result.to_datatree()["log_likelihood"].y
    assert scores.dims == ("chain", "draw", "row") and (scores.values[0, :, 1] == 0).tolist() == [True, False, False]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_labels_of_plates_and_masks_come_back_from_a_file(masked, suffix, tmp_path):
    masked.save(tmp_path / f"a{suffix}")
    tree, back = masked.to_datatree(), Result.load(tmp_path / f"a{suffix}").to_datatree()
    assert back["posterior"].school.values.tolist() == NAMES == tree["posterior"].school.values.tolist()
    xarray.testing.assert_equal(back["log_likelihood"].to_dataset(), tree["log_likelihood"].to_dataset())
    xarray.testing.assert_equal(back["observed_data"].to_dataset(), tree["observed_data"].to_dataset())
    assert back.name == tree.name == back.attrs["name"] == "schools"


def test_labels_of_arguments_reach_the_dimension_of_their_name_and_length():
    def model(y, x):
        with plate("year", 3):
            sample("y", dist.Normal(sample("level", dist.Normal(0.0, 1.0)), jnp.asarray(x)), obs=y)

    draws = {"level": np.zeros((1, 5, 3))}
    years = pandas.Series([0.1, 0.2, 0.3], index=pandas.Index([1871, 1872, 1873], name="year"))
    other = xarray.DataArray(np.ones(3), dims="year", coords={"year": ["a", "b", "c"]})
    for y, x, expected in (
        (years, polars.Series([1.0, 2.0, 3.0]), [1871, 1872, 1873]),
        (np.zeros(3), other, ["a", "b", "c"]),
        (np.zeros(3), other.rename(year="month"), [0, 1, 2]),
    ):
        tree = result_of(model, y, x, draws=draws, dims={"level": ("year",)}).to_datatree()
        assert tree["posterior"].year.values.tolist() == expected
        assert tree["observed_data"].year.values.tolist() == expected
        assert tree["constant_data"].x.values.shape == (3,)
    with pytest.raises(LawfulError, match=r"pandas\.Series of object: expected numbers"):
        lawful.trace(model, pandas.Series(["a", "b", "c"], dtype=object), np.ones(3))


def test_a_plate_takes_one_label_an_element():
    def model():
        with plate("school", 3, coords=NAMES):
            sample("theta", dist.Normal(0.0, 1.0))

    with pytest.raises(LawfulError, match="plate 'school' .* 4 coords for 3 elements"):
        lawful.trace(model)


def test_two_lengths_of_a_dimension_are_an_error_naming_both_sites():
    def model():
        with plate("item", 3):
            sample("x", dist.Normal(0.0, 1.0))
        with plate("item", 4):
            sample("z", dist.Normal(0.0, 1.0))

    draws = {"x": np.zeros((1, 5, 3)), "z": np.zeros((1, 5, 4))}
    result = result_of(model, draws=draws, dims={"x": ("item",), "z": ("item",)})
    with pytest.raises(LawfulError, match="dimension 'item' has 3 elements at 'x' and 4 at 'z'"):
        result.to_datatree()
    assert result.to_datatree(dims={"z": ["other"]})["posterior"].sizes["other"] == 4
    with pytest.raises(LawfulError, match="'item' has 2 elements at its coords and 3 at 'x'"):
        result.to_datatree(dims={"z": ["other"]}, coords={"item": ["a", "b"]})


def test_axes_of_a_value_have_the_names_that_the_site_gives():
    def model():
        with plate("row", 2):
            sample("x", dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3)), infer={"event_dims": ["axis"]})

    result = inference.importance(model, particles=4)(0)
    assert result.to_datatree()["posterior"].x.dims == ("chain", "draw", "row", "axis")
    for infer, said in (
        ({"event_dims": ["a", "b"]}, r"event_dims names 2 axes, \['a', 'b'\], of a value with 1"),
        ({"event_dims": ["draw"]}, "other than chain, draw"),
        ({"enumerate": "parallel"}, "unknown notes enumerate"),
    ):
        with pytest.raises(LawfulError, match=said):
            lawful.trace(lambda: sample("x", dist.Dirichlet(jnp.ones(3)), infer=infer))


def test_unconstrained_draws_map_back_to_the_draws():
    def model(y):
        sd = sample("sd", dist.HalfNormal(1.0))
        with plate("row", 2):
            sample("share", dist.Dirichlet(jnp.ones(3)))
            sample("x", dist.Uniform(0.0, sd))
        sample("k", dist.Bernoulli(0.5))
        sample("y", dist.Normal(0.0, sd), obs=y)

    sd = 0.1 + RNG.random((CHAINS, DRAWS))
    draws = {
        "sd": sd,
        "share": RNG.dirichlet(np.ones(3), size=(CHAINS, DRAWS, 2)),
        "x": sd[..., None] * RNG.random((CHAINS, DRAWS, 2)),
        "k": RNG.integers(0, 2, (CHAINS, DRAWS)),
    }
    result = result_of(model, 0.3, draws=draws, dims={"x": ("row",), "share": ("row", "share_dim_1")})
    free = result.to_datatree(unconstrained=True)["unconstrained_posterior"]
    assert set(free.data_vars) == {"sd", "share", "x"}
    assert free.x.dims == ("chain", "draw", "row")
    assert free.share.dims == ("chain", "draw", "row", "share_unconstrained_dim_0")
    np.testing.assert_allclose(np.exp(free.sd), sd, rtol=1e-12)
    np.testing.assert_allclose(sd[..., None] / (1 + np.exp(-free.x.values)), draws["x"], rtol=1e-10)
    back = dist.biject_to(dist.constraints.simplex)(jnp.asarray(free.share.values))
    np.testing.assert_allclose(back, draws["share"], rtol=1e-9)
    assert "unconstrained_posterior" not in result.to_datatree().children


def test_predictions_carry_their_arguments():
    def model(y, sd):
        mean = sample("mean", dist.Normal(0.0, 1.0))
        with plate("school", len(sd)):
            sample("y", dist.Normal(mean, sd), obs=y)

    result = result_of(model, np.zeros(2), np.ones(2), draws={"mean": np.zeros((1, 5))})
    new = inference.predictive(result, model, None, np.full(3, 2.0))
    tree = result.to_datatree(predictive=new, log_likelihood=False, log_prior=False)
    assert tree["predictions"].y.dims == ("chain", "draw", "school")
    assert tree["predictions_constant_data"].sd.values.tolist() == [2.0, 2.0, 2.0]


def two_loops(name=None):
    """A loop of three steps and one of five, with a choice, a named value, an observation and a factor in them."""

    def early(x, _):
        x = lawful.sample("early", dist.Normal(x, 1.0))
        return lawful.deterministic("twice", 2.0 * x), None

    def late(x, y):
        x = lawful.sample("late", dist.Normal(x, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        lawful.factor("pull", -0.1 * x**2)
        return x, None

    def program(y):
        start, _ = lawful.scan(early, 0.0, None, length=3, name=name)
        lawful.scan(late, start, y, name=name and f"{name}_late")

    return program


EAGER = {"compiled": {}, "eager": {"mode": "eager"}}


@pytest.mark.parametrize("options", EAGER.values(), ids=EAGER)
def test_loops_of_two_lengths_have_dimensions_of_their_own(options):
    plan = inference.importance(two_loops(), particles=3, **options)
    tree = plan(0, np.zeros(5)).to_datatree()
    assert tree["posterior"].early.dims[2:] == ("early_time",) and tree["posterior"].late.dims[2:] == ("late_time",)
    assert tree["posterior"].twice.shape == (1, 3, 3)
    if not options:
        assert tree["log_likelihood"].pull.dims[2:] == ("pull_time",)
        assert tree["log_likelihood"].pull.shape == tree["log_likelihood"].y.shape == (1, 3, 5)


@pytest.mark.parametrize("options", EAGER.values(), ids=EAGER)
def test_a_loop_that_has_a_name_gives_it_to_its_dimension(options):
    result = inference.importance(two_loops("year"), particles=3, **options)(0, np.zeros(5))
    tree = result.to_datatree(coords={"year": [1990, 1991, 1992]})
    for name in ("early", "twice"):
        assert tree["posterior"][name].dims[2:] == ("year",)
    if not options:
        assert tree["log_likelihood"].pull.dims[2:] == ("year_late",)
    assert tree["posterior"].late.dims[2:] == ("year_late",) and tree["posterior"].early.year[2] == 1992
    assert "early" in str(result.summary().index[0])


@pytest.mark.parametrize("name", ["draw", "", 3])
def test_a_name_of_a_loop_that_results_use_is_refused(name):
    def program():
        lawful.scan(lambda x, _: (lawful.sample("x", dist.Normal(x, 1.0)), None), 0.0, None, length=2, name=name)

    with pytest.raises((LawfulError, TypeCheckError), match="name"):
        lawful.trace(program)


def test_a_loop_and_what_is_in_it_have_names_of_their_own():
    def plated():
        with plate("year", 2):
            return sample("x", dist.Normal(0.0, 1.0))

    def looped():
        return lawful.scan(lambda c, _: (c, plated()), 0.0, None, length=2, name="year")

    with pytest.raises(LawfulError, match=r"plate 'year' .*the loop around it has this name"):
        lawful.trace(looped)
    with pytest.raises(LawfulError, match=r"scan .*got 'year'.*not that of a loop around it"):
        lawful.trace(lambda: lawful.scan(lambda c, _: (c, looped()), 0.0, None, length=2, name="year"))


@pytest.mark.parametrize("mode", ["staged", "eager"])
def test_values_that_are_named_in_a_plate_have_its_dimension(mode):
    """With axes of their own behind it; one that holds no element of the plate has numbered axes."""

    def model():
        with lawful.plate("row", 3, coords=["a", "b", "c"]), lawful.plate("side", 2, dim=-2):
            x = lawful.sample("x", dist.Normal(0.0, 1.0))
            lawful.deterministic("twice", 2.0 * x)
            lawful.deterministic("pair", np.stack([x, x], axis=-1) if mode == "eager" else jnp.stack([x, x], axis=-1))
            lawful.deterministic("total", x.sum(axis=0))
        lawful.deterministic("outside", 1.0 * x)

    tree = inference.importance(model, particles=4, mode=mode)(jax.random.key(0)).to_datatree()
    dims = {name: array.dims[2:] for name, array in tree["posterior"].data_vars.items()}
    assert dims["twice"] == dims["x"] == ("side", "row") and dims["pair"][:2] == ("side", "row")
    assert dims["total"] == ("total_dim_0",) and dims["outside"] == ("outside_dim_0", "outside_dim_1")
    if mode == "staged":
        assert tree["posterior"]["twice"].sel(row="b").shape == (1, 4, 2)


def test_a_value_that_numpyro_names_in_a_plate_has_its_dimension():
    def model():
        with numpyro.plate("row", 3):
            numpyro.deterministic("twice", 2.0 * numpyro.sample("x", dist.Normal(0.0, 1.0)))

    result = inference.importance(lawful.from_numpyro(model), particles=4)(jax.random.key(0))
    assert result.dims["twice"] == result.dims["x"] == ("row",)


def test_an_argument_may_be_longer_than_the_site_of_its_name():
    """An autoregression observes all but the first of its data; the axes of both have no name but their own."""

    def autoregression(y):
        slope = lawful.sample("slope", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(slope * y[:-1], 1.0).to_event(1), obs=y[1:])

    tree = inference.importance(autoregression, particles=10, runs=2)(0, np.arange(6.0)).to_datatree()
    assert (tree.observed_data.sizes["y_dim_0"], tree.constant_data.sizes["y_dim_0"]) == (5, 6)
