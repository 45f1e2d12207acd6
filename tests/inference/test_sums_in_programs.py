"""Summed sites: the marginal of what stays, element by element, and draws back from the conditional."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.special import logsumexp

import lawful
from lawful import inference
from lawful.backends.xla import compile, emit
from lawful.errors import LawfulError, PathLimitError, UnsupportedProgramError
from lawful.form import walk
from lawful.form.arguments.arrays import split_arguments
from lawful.inference import enumeration, kernels, marginalise, recover
from lawful.inference.check.statistics.power import z_critical
from lawful.inference.summing.chosen_sites import chosen_sites
from lawful.passes.unconstrain import free_parts, to_coordinates

NORMAL = dist.Normal(0.0, 1.0)
WEIGHTS, MEANS = jnp.array([0.2, 0.5, 0.3]), jnp.array([-2.0, 0.0, 1.5])


def log_normal(x, mean=0.0, sd=1.0):
    return -0.5 * ((x - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)


def in_program(sites="all", **options):
    """Sums inside the program alone, whatever that takes."""
    return marginalise(sites, method="program", **options)


def log_evidence(program, *args, sites="all", **options):
    """Log of the sum over all sites of a program without others."""
    form = in_program(sites, **options)(lawful.trace(program, *args))
    return float(compile(form)(jax.random.key(0), *split_arguments(args)[0])[1])


def largest_value(form):
    return max(int(np.prod(v.full_shape)) for node in walk(form) for v in node.outs)


# ---- elements


def mixture(y):
    mu = lawful.sample("mu", dist.Normal(MEANS, 1.0).to_event(1))
    with lawful.plate("point", len(y)):
        z = lawful.sample("z", dist.Categorical(WEIGHTS))
        lawful.sample("y", dist.Normal(mu[z], 1.0), obs=y)


def test_labels_of_a_mixture_are_summed_point_by_point():
    y = np.linspace(-3.0, 3.0, 40)
    summed = enumeration(lawful.trace(mixture, y), ["z"])
    assert [c.name for c in summed.summed] == ["z"]
    assert largest_value(summed.marginal) == 3 * len(y)
    for mu in np.random.default_rng(0).normal(size=(5, 3)):
        labels = logsumexp(np.log(WEIGHTS) + log_normal(y[:, None], mu), axis=1)
        by_hand = labels.sum() + log_normal(mu, np.asarray(MEANS)).sum()
        assert summed.marginal.log_density({"mu": mu}, y) == pytest.approx(by_hand, rel=1e-12)


def looked_up(y):
    """What labels of rows look up: alike at all rows, by other labels, and by labels that differ from row to row."""
    table, shift = jnp.arange(6.0).reshape(3, 2) ** 2, jnp.arange(len(y))
    with lawful.plate("row", len(y)):
        z = lawful.sample("z", dist.Categorical(logits=jnp.outer(y, MEANS)))
        w = lawful.sample("w", dist.Bernoulli(0.3))
        lawful.sample("alike", dist.Normal(MEANS[z] + jnp.sqrt(table[z, w]), 1.0 + z), obs=y)
        lawful.sample("back", dist.Normal(jnp.sum(table.T[:, (2 - z)] * y, axis=0), 1.0), obs=y)
        lawful.sample("apart", dist.Normal(MEANS[(z + shift) % 3] + jnp.take(MEANS, z) * w, 2.0), obs=y)


def test_what_a_label_looks_up_is_found_once_for_all_rows():
    y = jnp.array([-1.0, 0.5, 2.0])
    exact = inference.enumerate(looked_up)(y).log_evidence
    assert log_evidence(looked_up, y) == pytest.approx(exact, abs=1e-12)
    form = enumeration(lawful.trace(mixture, jnp.zeros(40)), ["z"]).marginal
    found = [v.full_shape for node in walk(form) if getattr(node, "label", "") == "gather" for v in node.outs]
    assert found == [(3, 1)]  # a label each, and not a row each


def test_labels_are_drawn_back_from_their_conditional(false_alarm):
    """16,384 draws of 6 labels, 18 shares; a shift of 0.04 is seen with probability above 0.99."""
    y, n = np.array([-3.0, -1.0, -0.2, 0.4, 1.0, 2.5]), 1 << 14
    summed = enumeration(lawful.trace(mixture, y), ["z"])
    mu = np.array([-1.0, 0.5, 1.0])
    draws = recover(summed, {"mu": np.broadcast_to(mu, (1, n, 3))}, jax.random.key(20261), y)
    exact = np.log(WEIGHTS) + log_normal(y[:, None], mu)
    exact = np.exp(exact - logsumexp(exact, axis=1, keepdims=True))
    shares = (draws["z"][0][..., None] == np.arange(3)).mean(axis=0)
    assert draws["z"].shape == (1, n, 6)
    assert np.abs(shares - exact).max() < z_critical(false_alarm, 18) * 0.5 / np.sqrt(n)


def test_a_class_and_the_elements_below_it_are_summed_in_the_order_that_keeps_them_apart():
    """A class for all, one for each row, one for each cell: plates within plates."""
    y = np.random.default_rng(1).normal(size=(3, 2))

    def nested(y):
        c = lawful.sample("c", dist.Bernoulli(0.4))
        with lawful.plate("row", 3):
            r = lawful.sample("r", dist.Categorical(WEIGHTS))
        with lawful.plate("column", 2), lawful.plate("row2", 3, dim=-2):
            e = lawful.sample("e", dist.Bernoulli(jnp.where(r == 0, 0.2, 0.7)[:, None]))
            lawful.sample("y", dist.Normal(MEANS[r][:, None] * e + c, 1.0), obs=y)

    classes = []
    for c, row in itertools.product(range(2), range(3)):
        cells = []
        for r in range(3):
            p = 0.2 if r == 0 else 0.7
            each = [np.log(q) + log_normal(y[row], float(MEANS[r]) * e + c) for e, q in ((0, 1 - p), (1, p))]
            cells.append(np.log(float(WEIGHTS[r])) + logsumexp(each, axis=0).sum())
        classes.append(logsumexp(cells))
    rows = np.array(classes).reshape(2, 3).sum(axis=1)
    assert log_evidence(nested, y) == pytest.approx(logsumexp(np.log([0.6, 0.4]) + rows), rel=1e-12)


def test_a_factor_that_sums_over_elements_is_taken_apart():
    first, second = jnp.array([0.0, -1.0, -2.0]), jnp.array([-0.5, 0.5, jnp.inf])

    def program():
        with lawful.plate("point", 30):
            z = lawful.sample("z", dist.Categorical(WEIGHTS))
        lawful.factor("f", 2.0 * jnp.sum(first[z]) - second[z].sum() + 0.25)

    once = logsumexp(np.log(WEIGHTS) + 2.0 * np.asarray(first) - np.asarray(second))
    assert log_evidence(program) == pytest.approx(30 * once + 0.25, rel=1e-12)


def test_a_choice_whose_mean_depends_on_labels_keeps_its_place():
    """Each x has the mixture as its law, and the labels are drawn back given x and y."""
    y = np.array([0.3, -1.0, 2.0])

    def program(y):
        with lawful.plate("point", 3):
            z = lawful.sample("z", dist.Categorical(WEIGHTS))
            x = lawful.sample("x", dist.Normal(MEANS[z], 0.5))
            lawful.sample("y", dist.Normal(x + z, 1.0), obs=y)

    summed = enumeration(lawful.trace(program, y), "z")
    x = np.array([0.1, -2.0, 1.0])
    terms = np.log(WEIGHTS) + log_normal(x[:, None], np.asarray(MEANS), 0.5)
    terms = terms + log_normal(y[:, None], x[:, None] + np.arange(3))
    by_hand = logsumexp(terms, axis=1).sum()
    assert summed.marginal.log_density({"x": x}, y) == pytest.approx(by_hand, rel=1e-12)


FAMILIES = {
    "normal": lambda z: dist.Normal(1.0 + z, 0.5 + z),
    "gamma": lambda z: dist.Gamma(1.0 + z, 2.0),
    "simplex": lambda z: dist.Dirichlet(jnp.ones(3) * (1.0 + jnp.asarray(z)[..., None])),
    "shared bound": lambda z: dist.TruncatedNormal(1.0 * z, 1.0, low=0.0),
}


def read_by_a_latent(family, size):
    """A program with a continuous site whose law reads a finite one, in a plate or by itself."""

    def program(y):
        z = lawful.sample("z", dist.Bernoulli(0.3))
        x = lawful.sample("x", FAMILIES[family](z))
        lawful.sample("y", dist.Normal(jnp.sum(x, axis=-1) if family == "simplex" else x, 1.0 + z), obs=y)

    def in_plate(y):
        with lawful.plate("point", size):
            program(y)

    return in_plate if size else program


@pytest.mark.rest_slow
@pytest.mark.parametrize(("family", "size"), [("gamma", 0), ("normal", 2), *(
    pytest.param(*case, marks=pytest.mark.slow)
    for case in [("normal", 0), ("gamma", 2), ("simplex", 0), ("simplex", 2), ("shared bound", 0), ("shared bound", 2)]
)])  # fmt: skip
def test_a_choice_whose_law_reads_labels_has_the_coordinates_of_each_of_its_laws(family, size):
    """The density in coordinates is the sum over the labels of those of the program with the labels fixed."""
    program, y = read_by_a_latent(family, size), 0.3 * jnp.ones((size,) if size else ())
    form = in_program(["z"])(lawful.trace(program, y))
    whole = lawful.density(form, y)
    at = {"x": jax.random.normal(jax.random.key(1), free_parts(form)["x",])}
    labels = [jnp.array(z) for z in itertools.product([0, 1], repeat=size)] if size else [jnp.array(0), jnp.array(1)]
    fixed = [lawful.density(lawful.handlers.condition(program, {"z": z}), y) for z in labels]
    by_hand = logsumexp([float(density.logp(at)) for density in fixed])
    assert float(whole.logp(at)) == pytest.approx(by_hand, rel=1e-12, abs=1e-12)
    (again,), _ = emit(to_coordinates(form))(jax.random.key(0), y, whole.constrain(at)["x"])
    assert np.allclose(again, at["x"], atol=1e-12)
    assert np.isfinite(jax.grad(whole.logp)(at)["x"]).all()


def test_laws_whose_supports_depend_on_a_label_have_no_common_coordinates():
    def program(y):
        z = lawful.sample("z", dist.Bernoulli(0.3))
        x = lawful.sample("x", dist.Uniform(0.0, 1.0 + z))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)

    with pytest.raises(UnsupportedProgramError, match="mixture of 2 Uniform whose supports may differ.*Fix"):
        inference.mcmc(program, kernels.nuts(), enumerate=["z"]).plan(0.5)
    assert "gibbs" in inference.mcmc(program).plan(0.5)  # the default has another way


@pytest.mark.slow
def test_sites_written_as_functions_of_noises_come_back_once():
    """Another transformer may name values that are sites of the program; only what the program names is recorded."""

    def program(y):
        mu = lawful.sample("mu", dist.Normal(0.0, 1.0))
        z = lawful.sample("z", dist.Bernoulli(0.4))
        x = lawful.sample("x", dist.Normal(z + mu, 2.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)

    sums = inference.noncentred() >> in_program(["z"])
    result = inference.mcmc(program, kernels.mh(), enumerate=sums, warmup=3, draws=3)(jax.random.key(0), 1.0)
    assert sorted(result.posterior) == ["mu", "x", "z"]


# ---- elements that meet


def count(n):
    with lawful.plate("point", n):
        z = lawful.sample("z", dist.Bernoulli(0.3))
    total = lawful.deterministic("total", jnp.sum(z))
    lawful.factor("f", jnp.where(total >= 2, 0.0, -jnp.inf))


def test_elements_that_meet_are_summed_together_while_they_are_few():
    by_hand = np.log(1 - 0.7**4 - 4 * 0.3 * 0.7**3)
    assert log_evidence(count, 4) == pytest.approx(by_hand, rel=1e-12)


def test_a_sum_that_is_cut_to_a_whole_number_is_taken_together():
    def halves():
        with lawful.plate("coin", 2):
            x = lawful.sample("x", dist.Bernoulli(0.3))
        lawful.factor("whole", 1.0 * jnp.sum(0.5 * x).astype(int))  # 1 where both are, else 0

    np.testing.assert_allclose(log_evidence(halves), np.log(0.91 + 0.09 * np.e), rtol=1e-12)


def test_f41_elements_that_meet_and_are_many_say_how_many_values_they_have():
    with pytest.raises(PathLimitError, match=rf"'z' .*{2**40} values, more than the cap of {1 << 22}.*Fix") as caught:
        log_evidence(count, 40)
    assert (caught.value.needed, caught.value.cap) == (2**40, 1 << 22)


def test_f41_a_table_above_the_cap_says_how_large_it_is():
    def program():
        a, b, c = (lawful.sample(name, dist.Categorical(jnp.full(20, 0.05))) for name in "abc")
        lawful.factor("f", -0.1 * (a + b + c == 30))

    assert np.isfinite(log_evidence(program))
    with pytest.raises(PathLimitError, match="table of 8000 entries, more than the cap of 7999"):
        log_evidence(program, max_table=7999)


# ---- what cannot be summed, and wrong names


def test_names_that_are_no_finite_sites_are_named_with_those_that_are():
    form = lawful.trace(mixture, np.zeros(3))
    with pytest.raises(LawfulError, match=r"'mu' has infinitely many values.*finite sites of the program are: z"):
        in_program(["mu"])(form)
    with pytest.raises(LawfulError, match="'w' is no latent site"):
        in_program("w")(form)


def test_a_site_of_a_scope_is_named_as_results_show_it_or_by_its_address():
    def program():
        with lawful.scope("left"):
            lawful.sample("z", dist.Bernoulli(0.5))
        lawful.sample("z", dist.Bernoulli(0.3))

    form = lawful.trace(program)
    for named in ("left.z", ["left.z"], [("left", "z")]):
        assert [c.address for c in chosen_sites(form, named)] == [("left", "z")]


def test_a_site_that_decides_whether_another_exists_is_refused_with_both_names():
    def program():
        b = lawful.sample("b", dist.Bernoulli(0.5))
        lawful.cond(b == 1, lambda: lawful.sample("x", NORMAL), lambda: 0.0)

    with pytest.raises(UnsupportedProgramError, match=r"branch with site 'x' .*decides whether 'x' runs.*Fix"):
        in_program(["b"])(lawful.trace(program))


def test_a_masked_site_of_no_elements_has_mass_one():
    def program():
        with lawful.plate("i", 0), lawful.mask(True):
            lawful.sample("z", dist.Bernoulli(0.4))

    assert log_evidence(program) == 0


def test_a_site_that_one_arm_draws_from_infinitely_many_values_is_refused():
    def program():
        arms = (
            lambda: lawful.sample("n", dist.Categorical(jnp.array([0.4, 0.6]))),
            lambda: lawful.sample("n", dist.Poisson(2.0)),
        )
        n = lawful.cond(lawful.sample("k", dist.Bernoulli(0.3)) == 1, *arms)
        lawful.factor("f", 0.1 * n)

    with pytest.raises(UnsupportedProgramError, match="site 'n'.*Poisson has infinitely many values"):
        in_program()(lawful.trace(program))


def test_a_site_that_nothing_weighs_stays_as_it_is():
    form = in_program()(lawful.trace(lambda: lawful.sample("z", dist.Bernoulli(0.25))))
    assert [site.address for site in form.sites()] == [("z",)]


# ---- what stays in view


def test_named_values_and_choices_of_arms_come_back_with_the_sites():
    def program():
        z = lawful.sample("z", dist.Bernoulli(0.5))
        b = lawful.sample("b", dist.Bernoulli(0.5))
        x = lawful.cond(b == 1, lambda: lawful.sample("x", NORMAL), lambda: 0.0)
        lawful.deterministic("twice", 2 * z + x)
        lawful.factor("f", -1.0 * z * x)

    summed = enumeration(lawful.trace(program), ["z"])
    kept = {"b": np.array([[0, 1, 1]]), "x": np.array([[np.nan, 3.0, -40.0]])}
    draws = recover(summed, kept, jax.random.key(1))
    assert draws.keys() == {"z", "b", "x", "twice"}
    assert np.isnan(draws["x"][0, 0]) and draws["x"][0, 1:].tolist() == [3.0, -40.0]
    assert draws["z"][0, 2] == 1  # a weight of exp(40) against 1
    assert np.array_equal(draws["twice"], 2 * draws["z"] + np.nan_to_num(draws["x"]))


def test_the_marginal_has_a_gradient_where_a_class_is_impossible():
    def program(y):
        mu = lawful.sample("mu", NORMAL)
        z = lawful.sample("z", dist.Categorical(jnp.array([0.5, 0.5, 0.0])))
        lawful.sample("y", dist.Normal(mu * z, 1.0), obs=y)

    marginal = enumeration(lawful.trace(program, 0.3), ["z"]).marginal
    slope = jax.grad(lambda mu: marginal.log_density({"mu": mu}, 0.3))(0.7)
    small = [float(marginal.log_density({"mu": 0.7 + e}, 0.3)) for e in (1e-5, -1e-5)]
    assert slope == pytest.approx((small[0] - small[1]) / 2e-5, rel=1e-6)


def test_sites_may_be_chosen_by_any_callable():
    def program():
        lawful.sample("z", dist.Bernoulli(0.3))
        lawful.sample("u", dist.Bernoulli(0.6))

    form = lawful.trace(program)
    by_rule = in_program(partial(lambda name, choice: choice.address == (name,), "z"))
    assert by_rule(form).show() == in_program(["z"])(form).show() != form.show()
