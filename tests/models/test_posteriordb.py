"""Each of the twelve programs has the log density of its equations, written here a second time in NumPy and SciPy."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.special import logsumexp

import lawful
from benchmarks.studies.posteriordb import POSTERIORS, read
from benchmarks.studies.posteriordb import __main__ as table
from benchmarks.studies.posteriordb.reference import bound, comparisons, scalar_draws
from benchmarks.studies.posteriordb.samplers import Sampler
from benchmarks.studies.posteriordb.starts import starts
from lawful import inference
from lawful.errors import ImproperPriorError, LawfulError
from lawful.models.populations import lotka_volterra
from tests.tiers import rest_slow

pytestmark = pytest.mark.reference


def normal(x, mean, scale):
    return np.sum(stats.norm.logpdf(x, mean, scale))


def half_cauchy(x, scale):
    return stats.halfcauchy.logpdf(x, scale=scale)


def autoregression(v, d):
    y, order = np.array(d["y"]), d["K"]
    total = normal(v["alpha"], 0, 10) + normal(v["beta"], 0, 10) + half_cauchy(v["sigma"], 2.5)
    for t in range(order, len(y)):
        mean = v["alpha"] + sum(v["beta"][k - 1] * y[t - k] for k in range(1, order + 1))
        total += normal(y[t], mean, v["sigma"])
    return total


def garch(v, d):
    """No factor for the parameters: they are flat, (alpha1, beta1) on its triangle."""
    y, variance, total = d["y"], d["sigma1"] ** 2, 0.0
    for t in range(len(y)):
        if t > 0:
            variance = v["alpha0"] + v["alpha1"] * (y[t - 1] - v["mu"]) ** 2 + v["beta1"] * variance
        total += normal(y[t], v["mu"], np.sqrt(variance))
    return total


def hidden_markov(v, d):
    mu, move = np.array([v["low"], v["high"]]), np.stack([v["theta1"], v["theta2"]])
    log_mass = stats.norm.logpdf(d["y"][0], mu, 1)
    for y in d["y"][1:]:
        log_mass = [
            stats.norm.logpdf(y, mu[k], 1) + logsumexp([log_mass[j] + np.log(move[j, k]) for j in (0, 1)])
            for k in (0, 1)
        ]
    return normal(mu, [3, 10], 1) + logsumexp(log_mass)


def schools(v, d):
    theta = v["mu"] + v["tau"] * v["z"]
    prior = normal(v["mu"], 0, 5) + half_cauchy(v["tau"], 5) + normal(v["z"], 0, 1)
    return prior + normal(np.array(d["y"]), theta, np.array(d["sigma"]))


def process(v, d):
    x, size = np.array(d["x"]), len(d["x"])
    covariance = [
        [v["alpha"] ** 2 * np.exp(-((a - b) ** 2) / (2 * v["rho"] ** 2)) + 1e-10 * (i == j) for j, b in enumerate(x)]
        for i, a in enumerate(x)
    ]
    f = np.linalg.cholesky(np.array(covariance).reshape(size, size)) @ v["z"]
    prior = stats.gamma.logpdf(v["rho"], 25, scale=1 / 4) + stats.halfnorm.logpdf(v["alpha"], scale=2)
    return prior + normal(v["z"], 0, 1) + np.sum(stats.poisson.logpmf(d["k"], np.exp(f)))


def predators(v, d):
    (a, b, c, e), start = v["theta"], v["z_init"]
    field = lambda t, z: [(a - b * z[1]) * z[0], (-c + e * z[0]) * z[1]]
    path = solve_ivp(field, (0, d["ts"][-1]), start, "DOP853", t_eval=d["ts"], rtol=1e-13, atol=1e-13).y.T
    log_normal = lambda x, mean, scale: np.sum(stats.norm.logpdf(np.log(x), mean, scale) - np.log(x))
    prior = normal(v["theta"], [1, 0.05, 1, 0.05], [0.5, 0.05, 0.5, 0.05])
    prior += log_normal(v["sigma"], -1, 1) + log_normal(start, np.log(10), 1)
    first = log_normal(np.array(d["y_init"]), np.log(start), v["sigma"])
    return prior + first + log_normal(np.array(d["y"]), np.log(path), v["sigma"])


def mixture(v, d):
    y, mu, (s1, s2), theta = np.array(d["y"]), (v["low"], v["high"]), v["sigma"], v["theta"]
    prior = normal(np.array(mu), 0, 2) + stats.beta.logpdf(theta, 5, 5)
    prior += np.sum(stats.halfnorm.logpdf(v["sigma"], scale=2))
    first, second = stats.norm.pdf(y, mu[0], s1), stats.norm.pdf(y, mu[1], s2)
    return prior + np.sum(np.log(theta * first + (1 - theta) * second))


def blr(v, d):
    prior = normal(v["beta"], 0, 10) + stats.halfnorm.logpdf(v["sigma"], scale=10)
    return prior + normal(np.array(d["y"]), np.array(d["X"]) @ v["beta"], v["sigma"])


def earnings(v, d):
    b, height, male = v["beta"], np.array(d["height"]), np.array(d["male"])
    return normal(np.log(d["earn"]), b[0] + b[1] * height + b[2] * male + b[3] * height * male, v["sigma"])


def kid_scores(v, d):
    b, hs, iq = v["beta"], np.array(d["mom_hs"]), np.array(d["mom_iq"])
    mean = b[0] + b[1] * hs + b[2] * iq + b[3] * hs * iq
    return half_cauchy(v["sigma"], 2.5) + normal(np.array(d["kid_score"]), mean, v["sigma"])


def mesquite(v, d):
    b, c = v["beta"], {name: np.array(column) for name, column in d.items()}
    mean = b[0] + b[1] * np.log(c["diam1"] * c["diam2"] * c["canopy_height"]) + b[2] * np.log(c["diam1"] * c["diam2"])
    mean += b[3] * np.log(c["diam1"] / c["diam2"]) + b[4] * np.log(c["total_height"]) + b[5] * c["group"]
    return normal(np.log(c["weight"]), mean, v["sigma"])


def voters(v, d):
    total = 0.0
    for i, age in enumerate(d["age_discrete"]):
        b = v["beta"]
        mean = b[0] + b[1] * d["real_ideo"][i] + b[2] * d["race_adj"][i] + (0, b[3], b[4], b[5])[age - 1]
        mean += b[6] * d["educ1"][i] + b[7] * d["gender"][i] + b[8] * d["income"][i]
        total += normal(d["partyid7"][i], mean, v["sigma"])
    return total


EQUATIONS = {
    "arK-arK": autoregression,
    "earnings-logearn_interaction": earnings,
    "eight_schools-eight_schools_noncentered": schools,
    "garch-garch11": garch,
    "gp_pois_regr-gp_pois_regr": process,
    "hmm_example-hmm_example": hidden_markov,
    "hudson_lynx_hare-lotka_volterra": predators,
    "kidiq-kidscore_interaction": kid_scores,
    "low_dim_gauss_mix-low_dim_gauss_mix": mixture,
    "mesquite-logmesquite_logvash": mesquite,
    "nes1980-nes": voters,
    "sblrc-blr": blr,
}
# A trajectory is known to the tolerance of its solver.
TOLERANCE = {"hudson_lynx_hare-lotka_volterra": 1e-9}
CENTRE = {"hudson_lynx_hare-lotka_volterra": {"theta": np.log([0.55, 0.028, 0.8, 0.024]), "z_init": np.log([34, 5.9])}}
SIMPLEX = ("theta1", "theta2")


def case(name, data):
    posterior, reference = POSTERIORS[name], read(data, name)
    program = posterior.program
    if name in TOLERANCE:
        program = lambda *args: lotka_volterra(*args, rtol=1e-12, atol=1e-12, max_steps=20_000)
    return lawful.density(program, *posterior.arguments(reference.data)), reference


def positions(name, density, count):
    """Random coordinates without bounds, around the reference where a trajectory must be solvable."""
    origin, unravel = density.ravel()
    for k in range(count):
        free = unravel(0.5 * jax.random.normal(jax.random.key(k), origin.shape))
        yield {n: 0.1 * x + CENTRE.get(name, {}).get(n, 0.0) if name in CENTRE else x for n, x in free.items()}


def log_jacobian(density, position):
    """Of the map to the values, by differentiation; a vector that sums to one is known by all but its last entry."""
    flat, unravel = density.ravel(position)

    def values(flat):
        found = density.constrain(unravel(flat))
        return jnp.concatenate([jnp.ravel(x[:-1] if n in SIMPLEX else x) for n, x in sorted(found.items())])

    return np.linalg.slogdet(jax.jacrev(values)(flat))[1]


def test_every_posterior_of_the_database_has_a_program(data):
    assert set(POSTERIORS) == {folder.name for folder in (data / "posteriordb").iterdir() if folder.is_dir()}
    for name, posterior in POSTERIORS.items():
        told = json.loads((data / "posteriordb" / name / "reference.json").read_text())
        assert posterior.proper == (told["priors"] == "proper")


@pytest.mark.parametrize("name", rest_slow(EQUATIONS))
def test_the_program_has_the_density_of_its_equations_in_both_coordinates(name, data):
    """Differences between points, so that constants drop out: of values, and of coordinates with their Jacobian."""
    density, reference = case(name, data)
    rest = []
    for position in positions(name, density, 4):
        values = density.constrain(position)
        expected = EQUATIONS[name]({n: np.asarray(x) for n, x in values.items()}, reference.data)
        own = float(density.log_density(values)), float(density.logp(position)) - log_jacobian(density, position)
        rest.append([x - expected for x in own])
    spread = np.ptp(np.array(rest), axis=0)
    rounding = max(1.0, abs(expected) / 1e4)  # far from the data a log density has fewer digits behind the point
    assert (spread < TOLERANCE.get(name, 1e-10) * rounding).all(), rest


@pytest.mark.slow
def test_equal_steps_change_a_posterior_by_less_than_can_be_seen(data):
    """Between values of the posterior, log densities by equal steps differ as those by a solver without error do."""
    name = "hudson_lynx_hare-lotka_volterra"
    density, reference = case(name, data)
    fast = lawful.density(POSTERIORS[name].program, *density.args)
    both = [[float(d.logp(position)) for d in (fast, density)] for position in positions(name, density, 4)]
    assert np.ptp(np.subtract(*np.transpose(both))) < 1e-3


@pytest.mark.parametrize("name", [name for name, posterior in POSTERIORS.items() if not posterior.proper])
def test_what_starts_from_the_prior_refuses_a_flat_one(name, data):
    posterior = POSTERIORS[name]
    with pytest.raises(ImproperPriorError, match="does not integrate"):
        inference.tempered_smc(posterior.program, particles=10)(
            jax.random.key(0), *posterior.arguments(read(data, name).data)
        )


def test_data_with_another_sum_are_refused(data, tmp_path):
    place = tmp_path / "posteriordb" / "arK-arK"
    place.mkdir(parents=True)
    for file in ("data.json", "reference.json"):
        told = json.loads((data / "posteriordb" / "arK-arK" / file).read_text())
        (place / file).write_text(json.dumps(told | {"K": 4} if file == "data.json" else told))
    with pytest.raises(LawfulError, match="arK-arK.*sha256"):
        read(tmp_path, "arK-arK")


def test_every_scalar_of_a_reference_is_found_by_its_name(data):
    for name, posterior in POSTERIORS.items():
        reference = read(data, name)
        form = lawful.trace(posterior.program, *posterior.arguments(reference.data))
        shapes = {c.name: c.full_shape for c in lawful.form.choices.choices_of(form, ("sample", "deterministic"))}
        draws = {n: np.zeros((1, 1, *shape)) for n, shape in shapes.items()}
        assert all(scalar_draws(draws, scalar).shape == (1, 1) for scalar in reference.scalars)


def test_a_shift_of_a_tenth_of_a_standard_deviation_is_found():
    """Draws of the reference pass; shifted ones do not; both kinds of error agree for independent draws."""
    rng, quantiles = np.random.default_rng(20264), ("0.05", "0.25", "0.5", "0.75", "0.95")
    error = {"mean": 0.0, "sd": 1.0, "mcse_mean": 0.01}
    told = error | {"quantiles": {q: float(stats.norm.ppf(float(q))) for q in quantiles}}
    told |= {"mcse_quantiles": {q: 0.02 for q in quantiles}}
    draws = rng.normal(size=(40, 1000))
    for independent in (False, True):
        found = comparisons({"x": draws}, {"x": told}, independent=independent)
        assert len(found) == 6 and max(abs(c.z) for c in found) < bound(6)
        assert found[0].mcse_share == pytest.approx(200**-1 / 1.0, rel=0.4)
        shifted = comparisons({"x": draws + 0.1}, {"x": told}, independent=independent)
        assert abs(shifted[0].z) > bound(6)


@pytest.mark.slow
def test_no_chain_starts_in_a_mode_that_holds_no_draws():
    """Half of the cube leads to a maximum that is 60 below the other."""

    def two():
        x = lawful.sample("x", dist.Normal(0.0, 3.0))
        lawful.factor("modes", jnp.logaddexp(-(((x - 1.5) / 0.5) ** 2), -60.0 - ((x + 1.5) / 0.5) ** 2))

    for seed in range(3):
        np.testing.assert_allclose(starts(lawful.density(two), jax.random.key(seed), 4)["x"], 1.5, atol=0.1)


def test_the_table_has_a_row_for_each_sampler_and_posterior_or_says_why_not(data, capsys, monkeypatch):
    """Draws far from the reference fail the table; a sampler that begins at the prior has no row for a flat one."""

    def far(posterior, args, key, size):
        return {
            "alpha": np.zeros((2, 50)),
            "beta": np.zeros((2, 50, 9)),
            "sigma": np.random.default_rng(0).random((2, 50)),
        }

    monkeypatch.setattr(table, "SAMPLERS", {"nuts": Sampler(far), "tempered": Sampler(far, from_prior=True)})
    assert table.main(["--data", str(data), "arK", "earnings"]) == 1
    heading, *rows, last = capsys.readouterr().out.splitlines()
    assert heading.startswith("sampler") and [row.split()[0] for row in rows] == ["nuts"] * 2 + ["tempered"] * 2
    assert "not run: its prior is flat" in rows[3]
    twice, once = (len(read(data, name).scalars) for name in ("arK-arK", "earnings-logearn_interaction"))
    count = 6 * (2 * twice + once)  # of each scalar a mean and five quantiles
    assert f" of {count} comparisons, bound {bound(count):.2f}; " in last
    with pytest.raises(SystemExit):
        table.main(["--data", str(data), "--sampler", "tempered", "earnings"])
    assert "no sampler can run these: earnings-logearn_interaction: its prior is flat" in capsys.readouterr().err
