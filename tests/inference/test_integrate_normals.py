"""Normal sites integrated out: the factor is the integral, and what is drawn back has the conditional."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

import lawful
from lawful import inference
from lawful.backends.xla import emit
from lawful.errors import LawfulError, NonFiniteError, UnsupportedProgramError
from lawful.form import Factor, walk
from lawful.form.choices import choices_of
from lawful.inference import integrate_normals, kernels, marginalise, noncentred
from lawful.inference.summing.tables import PREFIX
from lawful.passes.condition import conditioned

N, J, Q, K = 3, 4, 2, 2


def case(seed, rank=Q):
    """Lines of three persons, whose coefficients depend on two labels; some measurements are missing."""
    rng = np.random.default_rng(seed)
    chol = np.tril(rng.normal(size=(K, Q, Q)))
    chol[:, :, rank:] = 0.0
    at = {"logits": rng.normal(size=(K,)), "mean": rng.normal(size=(K, Q)), "chol": chol,
          "noise": np.exp(rng.normal(size=K)), "loads": rng.normal(size=(Q, J, N)), "y": rng.normal(size=(J, N)),
          "seen": rng.uniform(size=(J, N)) < 0.7}  # fmt: skip
    return {name: jnp.asarray(value) for name, value in at.items()}


def lines(at):
    with lawful.plate("person", N):
        z = lawful.sample("z", dist.Categorical(logits=at["logits"]))
        b = lawful.sample("b", dist.MultivariateNormal(at["mean"][z], scale_tril=at["chol"][z]))
        with lawful.plate("wave", J), lawful.mask(at["seen"]):
            fitted = jnp.sum(at["loads"] * b.T[:, None], axis=0)
            lawful.sample("y", dist.Normal(fitted, at["noise"][z][None]), obs=at["y"])


def dense(at):
    """Log joint of each person and label (N, K), and mean and covariance of coefficients given both, the long way."""
    at = {name: np.asarray(value) for name, value in at.items()}
    joint = np.tile(at["logits"] - logsumexp(at["logits"]), (N, 1))
    given = {}
    for i, k in product(range(N), range(K)):
        seen = at["seen"][:, i]
        loads, y, psi = at["loads"][:, seen, i].T, at["y"][seen, i], at["chol"][k] @ at["chol"][k].T
        sigma = loads @ psi @ loads.T + at["noise"][k] ** 2 * np.eye(seen.sum())
        gain = psi @ loads.T @ np.linalg.inv(sigma)
        if seen.any():
            joint[i, k] += multivariate_normal.logpdf(y, loads @ at["mean"][k], sigma)
        given[i, k] = at["mean"][k] + gain @ (y - loads @ at["mean"][k]), psi - gain @ loads @ psi
    return joint, given


BEFORE = integrate_normals(["b"]) >> marginalise(["z"])
AFTER = noncentred(["b"]) >> marginalise(["z"]) >> integrate_normals(["b"])


@pytest.mark.rest_slow
@pytest.mark.kills("42d", how=integrate_normals(["b"]) >> marginalise(["z"]))
@pytest.mark.parametrize("how", [BEFORE, AFTER], ids=["normals first", "labels first"])
def test_normals_and_labels_go_in_either_order(how):
    at = case(0)
    density = inference.enumeration(lawful.trace(lines, at), how).marginal
    assert not choices_of(density)
    value = jax.jit(lambda at: density.log_density({}, at))
    for seed, rank in ((0, 2), (1, 1), (2, 0)):  # a singular covariance is an ordinary point
        at = case(seed, rank)
        truth = logsumexp(dense(at)[0], axis=1).sum()
        assert float(value(at)) == pytest.approx(truth, rel=1e-12)
        slopes = jax.grad(value, allow_int=True)(at)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes) if x.dtype == float)
    for name, index in (("mean", (1, 0)), ("chol", (0, 1, 0)), ("noise", (1,)), ("logits", (0,)), ("y", (0, 0))):
        up, down = (
            logsumexp(dense(at | {name: at[name].at[index].add(step)})[0], axis=1).sum() for step in (1e-5, -1e-5)
        )
        assert float(slopes[name][index]) == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-8)


def test_what_is_drawn_back_has_the_conditional():
    """The draw is an affine function of standard normals, so its mean and covariance are read off exactly."""
    at = case(3)
    form = lawful.trace(lines, at)
    _, given = dense(at)
    summed = inference.enumeration(form, integrate_normals(["b"]))
    z, noise = jnp.array([0, 1, 1]), (PREFIX, "noise", "b")
    run = emit(conditioned(summed.full, [("z",), noise]).form)
    inputs = [*jax.tree.leaves(at), z]
    draw = jax.jit(lambda noise: dict(zip("zb", run(jax.random.key(0), *inputs, noise)[0], strict=True))["b"])
    zero = jnp.zeros((N, Q))
    mean = draw(zero)
    root = np.stack([draw(zero.at[:, c].set(1.0)) - mean for c in range(Q)], axis=-1)
    for i, k in enumerate(z.tolist()):
        np.testing.assert_allclose(mean[i], given[i, k][0], rtol=1e-11)
        np.testing.assert_allclose(root[i] @ root[i].T, given[i, k][1], rtol=1e-11, atol=1e-13)


@pytest.mark.slow
def test_where_labels_were_summed_before_they_and_the_normals_are_drawn_back_together():
    """4,000 draws; bounds are five standard errors, so that a false alarm of one of 9 has odds of 5e-6."""
    at = case(4)
    joint, given = dense(at)
    summed = inference.enumeration(lawful.trace(lines, at), AFTER)
    drawn = _many(summed, at, 4000)
    share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    for i in range(N):
        z, b = drawn["z"][:, i], drawn["b"][:, i]
        assert abs(z.mean() - share[i, 1]) < 5 * np.sqrt(share[i, 1] * share[i, 0] / 4000) + 1e-9
        for k in np.flatnonzero(share[i] > 0.05):
            mean, cov = given[i, int(k)]
            own = b[z == k]
            assert np.all(np.abs(own.mean(axis=0) - mean) < 5 * np.sqrt(np.diagonal(cov) / len(own)) + 1e-9)


def _many(summed, at, count):
    run = jax.jit(jax.vmap(lambda key: emit(summed.full)(key, *jax.tree.leaves(at))[0]))
    outs = run(jax.random.split(jax.random.key(1), count))
    return {c.name: np.asarray(out) for c, out in zip(summed.choices, outs, strict=True)}


# ---- sites one after the other


def hierarchy(y, spread):
    """Normal all the way: a mean of means, means, measurements; a factor that is a square."""
    top = lawful.sample("top", dist.Normal(1.0, 2.0))
    with lawful.plate("i", 3):
        mean = lawful.sample("mean", dist.Normal(top, spread))
        lawful.sample("y", dist.Normal(2.0 * mean, 0.5), obs=y)
    lawful.factor("near", -0.5 * (top - 0.3) ** 2)


def test_a_hierarchy_goes_level_by_level_or_as_one_block():
    y = jnp.array([0.3, -1.0, 2.0])
    form = lawful.trace(hierarchy, y, 0.7)
    prior = np.full((4, 4), 4.0) + np.diag([0.0, 0.49, 0.49, 0.49])
    read = np.array([[0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2], [1, 0, 0, 0]])
    cov = read @ prior @ read.T + np.diag([0.25, 0.25, 0.25, 1.0])
    truth = multivariate_normal.logpdf([*y, 0.3], read @ np.ones(4), cov) + 0.5 * np.log(2 * np.pi)
    for how in (integrate_normals(), integrate_normals([["top", "mean"]]), integrate_normals(["mean", "top"])):
        marginal = inference.enumeration(form, how).marginal
        assert not choices_of(marginal)
        assert float(marginal.log_density({}, y, 0.7)) == pytest.approx(truth, rel=1e-12)
    part = inference.enumeration(form, integrate_normals("mean")).marginal
    assert [c.name for c in choices_of(part)] == ["top"]
    assert [n.address for n in walk(part) if isinstance(n, Factor)] == [("near",), (PREFIX, "log integral", "mean")]


def test_only_what_is_seen_to_be_normal_goes_by_default():
    def model(y):
        scale = lawful.sample("log scale", dist.Normal(0.0, 1.0))
        slope = lawful.sample("slope", dist.Normal(0.0, 1.0))
        mean = lawful.sample("mean", dist.Normal(0.0, 2.0))
        lawful.sample("y", dist.Normal(mean + slope * scale, jnp.exp(scale)), obs=y)

    marginal = inference.enumeration(lawful.trace(model, 0.4), integrate_normals()).marginal
    assert [c.name for c in choices_of(marginal)] == ["log scale"]
    sd = np.sqrt(np.exp(0.6) + 4.0 + 0.09)
    truth = dist.Normal(0.0, 1.0).log_prob(0.3) + dist.Normal(0.0, sd).log_prob(0.4)
    assert float(marginal.log_density({"log scale": 0.3}, 0.4)) == pytest.approx(float(truth), rel=1e-12)


def test_what_nothing_weighs_is_drawn_from_its_law_and_what_reads_it_stays():
    def model():
        x = lawful.sample("x", dist.Normal(1.0, 2.0))
        return lawful.deterministic("twice", 2 * x)

    full = inference.enumeration(lawful.trace(model), integrate_normals()).full
    run = emit(conditioned(full, [(PREFIX, "noise", "x")]).form)
    assert float(run(jax.random.key(0), jnp.array([0.5]))[0][0]) == 2.0


def test_data_that_cannot_be_give_minus_infinity_and_no_nan():
    def model(a):
        x = lawful.sample("x", dist.Normal(0.0, a))
        lawful.factor("never", jnp.where(a > 1.0, -jnp.inf, -(x**2)))

    marginal = inference.enumeration(lawful.trace(model, 0.5), integrate_normals()).marginal
    value, slope = jax.value_and_grad(lambda a: marginal.log_density({}, a))(2.0)
    assert value == -jnp.inf and not np.isnan(slope)
    assert float(marginal.log_density({}, 0.5)) == pytest.approx(-0.5 * np.log(1.5), rel=1e-12)


def test_an_integral_that_is_infinite_is_infinite():
    def model(a):
        lawful.factor("f", a * lawful.sample("x", dist.Normal(0.0, 1.0)) ** 2)

    marginal = inference.enumeration(lawful.trace(model, 0.5), integrate_normals()).marginal
    values = jax.vmap(lambda a: marginal.log_density({}, a))(jnp.array([0.25, 0.6]))
    np.testing.assert_allclose(values, [-0.5 * np.log(0.5), np.inf], rtol=1e-12)


def test_an_integral_that_is_infinite_whatever_the_values_is_an_error():
    def model(y):
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.factor("f", x**2 + x * y)

    for how in (None, ["x"]):
        with pytest.raises(NonFiniteError, match="the integral over 'x' .* is infinite.*Fix: check the sign"):
            integrate_normals(how)(lawful.trace(model, 0.5))


def test_it_runs_in_single_precision_and_under_vmap(single_precision):
    y = jnp.array([0.3, -1.0, 2.0])
    marginal = inference.enumeration(lawful.trace(hierarchy, y, jnp.float32(0.7)), integrate_normals()).marginal
    found = jax.vmap(lambda spread: marginal.log_density({}, y, spread))(jnp.array([0.7, 0.0], jnp.float32))
    assert found.dtype == jnp.float32 and np.isfinite(found).all()


def test_chains_move_what_stays_and_hold_draws_of_what_was_integrated():
    """Means and variances of the effects are those of a dense normal law at a known scale."""
    y = jnp.array([0.3, -1.0, 2.0])
    plan = inference.mcmc(
        hierarchy, kernels.random_walk(2.0), chains=2, warmup=50, draws=1000, enumerate=integrate_normals(["mean"])
    )
    assert "mean: summed out by integrate_normals('mean'), drawn back after the run" in plan.plan(y, 0.7)
    result = plan(jax.random.key(0), y, 0.7)
    prior = np.full((4, 4), 4.0) + np.diag([0.0, 0.49, 0.49, 0.49])
    read = np.array([[0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2], [1, 0, 0, 0]])
    cov = read @ prior @ read.T + np.diag([0.25, 0.25, 0.25, 1.0])
    mean = 1.0 + prior @ read.T @ np.linalg.solve(cov, np.array([*y, 0.3]) - read @ np.ones(4))
    found = np.asarray(result.posterior["mean"]).reshape(-1, 3)
    np.testing.assert_allclose(found.mean(axis=0), mean[1:], atol=0.06)  # SD about 0.25; ESS of `top` above 200


# ---- what is refused


def chain(y):
    def step(x, y):
        x = lawful.sample("x", dist.Normal(jnp.sin(x), 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


def reader():
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    b = lawful.sample("b", dist.Bernoulli(logits=x))
    lawful.factor("f", 1.0 * b)


def curved():
    lawful.factor("f", -jnp.exp(lawful.sample("x", dist.Normal(0.0, 1.0))))


def tailed():
    lawful.sample("y", dist.Normal(lawful.sample("x", dist.StudentT(3.0)), 1.0), obs=0.3)


def tied():
    x = lawful.sample("x", dist.Normal(jnp.zeros(5), 1.0).to_event(1))
    lawful.factor("f", -(jnp.sum(x) ** 2))


def apart():
    """A label for all, then another: summed one after the other, which leaves a sum of sums."""
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    for name in ("z", "w"):
        z = lawful.sample(name, dist.Bernoulli(0.5))
        lawful.factor(f"f {name}", -((x - z) ** 2))


@pytest.mark.parametrize(
    ("program", "how", "args", "named"),
    [
        (chain, ["x"], (jnp.zeros(3),), "'x' .* cannot be integrated out: .*not seen to be a quadratic form"),
        (reader, ["x"], (), "the law of 'b' .*, which stays, reads it.*Fix: integrate or sum 'b' first"),
        (curved, ["x"], (), "not seen to be a quadratic form.*Fix: leave it to another kernel"),
        (tailed, ["x"], (), "integrate_normals: 'x' .* its law, StudentT, is not normal. Fix: leave it to another"),
        (curved, ["y"], (), "'y' is no latent site. Fix: name one of 'x'"),
    ],
)
def test_what_cannot_be_integrated_is_refused_with_the_site_the_reason_and_a_remedy(program, how, args, named):
    with pytest.raises(LawfulError, match=named):
        integrate_normals(how)(lawful.trace(program, *args))


def test_dependent_numbers_over_the_limit_and_sums_in_two_steps_are_refused():
    with pytest.raises(UnsupportedProgramError, match="5 numbers depend on each other, more than 4.*max_block=5"):
        integrate_normals(["x"], max_block=4)(lawful.trace(tied))
    how = noncentred(["x"]) >> marginalise() >> integrate_normals(["x"])
    with pytest.raises(UnsupportedProgramError, match="summed out in more than one step. Fix: integrate before"):
        how(lawful.trace(apart))


def test_a_form_with_particles_is_refused_and_particles_on_the_marginal_are_not():
    """The evidence of a scale, by particles of the scale alone: 2,000 of them, six standard errors."""
    form = (inference.spawn(2) >> inference.PushEvidence >> inference.Collapse)(lawful.trace(funnel))
    with pytest.raises(LawfulError, match="has the plates of an algorithm.*Fix: integrate the program first"):
        integrate_normals()(form)
    found = inference.importance(funnel, particles=500, runs=4, enumerate=integrate_normals(["x"]))(jax.random.key(0))
    scale = (np.arange(4000) + 0.5) / 200  # to 20, beyond six of its own scale
    density = norm.pdf(scale, 0, 3) * 2 * norm.pdf(0.3, 2.0, np.sqrt(1 + 2 * scale**2))
    assert abs(found.log_evidence_pooled - np.log(density.sum() / 200)) < 6 * found.log_evidence_error
    assert found.posterior["x"].shape == (4, 500, 2)


# ---- the non-centred form


def funnel():
    scale = lawful.sample("scale", dist.HalfNormal(3.0))
    with lawful.plate("i", 2):
        x = lawful.sample("x", dist.Normal(1.0, scale))
    lawful.sample("y", dist.Normal(jnp.sum(x), 1.0), obs=0.3)
    return x


def test_a_noise_has_the_density_of_the_value_that_it_makes():
    """Log densities differ by the Jacobian, the scale of each value; the name of the site finds the noise."""
    before, after = lawful.trace(funnel), noncentred()(lawful.trace(funnel))
    assert [c.name for c in choices_of(after)] == ["scale", "x.~normal"]
    u, scale = jnp.array([0.3, -1.2]), 0.7
    found = float(after.log_density({"scale": scale, ("x", "~normal"): u}))
    assert found == pytest.approx(float(before.log_density({"scale": scale, "x": 1.0 + scale * u})) + 2 * np.log(scale))
    assert noncentred("x")(after) is after
    run = emit(conditioned(after, [c.address for c in choices_of(after)]).form)
    np.testing.assert_allclose(run(jax.random.key(0), scale, u)[0][0], 1.0 + scale * u)
    with pytest.raises(LawfulError, match="noncentred: 'z' is no latent site"):
        noncentred(["z"])(before)


def test_data_far_from_the_prior_cost_single_precision_nothing(single_precision):
    """A level near 1,000 with a prior as broad, noise of 1: f(0) is -25 million, and no part of the answer is."""

    def level(y):
        mu = lawful.sample("mu", dist.Normal(0.0, 1000.0))
        with lawful.plate("i", 50):
            lawful.sample("y", dist.Normal(mu, 1.0), obs=y)

    y = (1000.0 + np.random.default_rng(0).normal(size=50)).astype(np.float32)
    found = float(integrate_normals()(lawful.trace(level, y)).log_density({}, y))
    exact = multivariate_normal.logpdf(y, np.zeros(50), np.eye(50) + 1e6)
    assert abs(found - exact) < 0.01, (found, exact)


def test_finite_sites_that_were_summed_before_cost_single_precision_nothing_either(single_precision):
    """Two groups near 1,000 and persons who are in one of two classes each: worlds whose means differ by 30."""

    def groups(y):
        with lawful.plate("group", 2):
            mu = lawful.sample("mu", dist.Normal(0.0, 1000.0))
            z = lawful.sample("z", dist.Categorical(jnp.array([0.3, 0.7])))
            for j in range(3):
                lawful.sample(f"y{j}", dist.Normal(mu + 30.0 * z, 1.0), obs=y[j])

    y = np.array([[1000.5, 970.25], [999.0, 971.5], [1001.25, 969.0]], np.float32)
    form = lawful.trace(groups, y)
    how = noncentred("mu") >> marginalise("z") >> integrate_normals()
    found = float(inference.enumeration(form, how).marginal.log_density({}, y))
    exact = 0.0
    for own in y.T.astype(float):
        worlds = [
            np.log(share) + multivariate_normal.logpdf(own - 30.0 * z, np.zeros(3), np.eye(3) + 1e6)
            for z, share in enumerate((0.3, 0.7))
        ]
        exact += np.logaddexp(*worlds)
    assert abs(found - exact) < 0.01, (found, exact)


def test_a_site_that_the_summed_elements_share_is_refused_after_the_sum():
    def model(y):
        mu = lawful.sample("mu", dist.Normal(0.0, 2.0))
        with lawful.plate("row", 3):
            z = lawful.sample("z", dist.Bernoulli(0.3))
            lawful.sample("y", dist.Normal(mu + 2.0 * z, 1.0), obs=y)

    form = lawful.trace(model, jnp.zeros(3))
    with pytest.raises(UnsupportedProgramError, match="shared by the lanes.*Fix: integrate before you sum"):
        (marginalise() >> integrate_normals(["mu"]))(form)
