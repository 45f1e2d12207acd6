"""Splits and merges of clusters keep the exact law of the labels, of finite mixtures and of Chinese restaurants."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import special, stats

from lawful import cond, factor, inference, plate, sample, scan, trace
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import enumerate_measure, invariant, involution
from tests.inference.kernels.transition import Transition

module = importlib.import_module("lawful.inference.kernels.jumps.split_merge")
COINS, SCANS = kernels.split_merge("z"), kernels.split_merge("z", scans=1)


def log_cluster(y, z, labels, prior=4.0, noise=0.5):
    """Log evidence of each cluster of normal data whose mean is integrated out; an empty one has none."""
    inside = z[:, None] == jnp.arange(labels)
    n, total = inside.sum(0), jnp.where(inside, y[:, None], 0.0).sum(0)
    squares = jnp.where(inside, y[:, None] ** 2, 0.0).sum(0)
    spread = noise + n * prior
    log_det = (n - 1) * np.log(noise) + jnp.log(spread)
    fit = squares / noise - prior * total**2 / (noise * spread)
    return jnp.sum(jnp.where(n > 0, -0.5 * (n * np.log(2 * np.pi) + log_det + fit), 0.0))


def mixture(y, labels):
    with plate("i", len(y)):
        z = sample("z", dist.Categorical(jnp.full(labels, 1 / labels)))
    factor("y", log_cluster(y, z, labels))


FOUR = np.array([0.3, 1.1, -0.4, 0.9])


def finite(items):
    mixture(FOUR[:items], 3)


def restaurant(n):
    """Labels in the order of their first appearance: the table of each guest given those before."""
    alpha = 0.7

    def seat(counts, _):
        tables = jnp.sum(counts > 0)
        weights = jnp.where(jnp.arange(n) < tables, counts, jnp.where(jnp.arange(n) == tables, alpha, 0.0))
        z = sample("z", dist.Categorical(weights / weights.sum()))
        return counts + (jnp.arange(n) == z), z

    _, z = scan(seat, jnp.zeros(n), None, length=n)
    factor("y", log_cluster(FOUR[:n], z, n))


def chain(proposal, program, *args):
    """The posterior of the labels and the matrix of a step, all worlds of a row in one compiled run."""
    truth = enumerate_measure(program, *args).marginal(lambda t: tuple(v for _, v in sorted(t.choices)))
    states = [z if isinstance(z[0], int) else z[0] for z, w in truth.items() if w > 0]
    pi = np.array([w for _, w in truth.items() if w > 0]) / truth.total()
    transition = Transition(program, kernels.mh(proposal), *args)
    place = {tuple(z): k for k, z in enumerate(states)}
    matrix = np.zeros((len(states), len(states)))
    for row, z in enumerate(states):
        worlds = transition._law(transition.state({"z": np.array(z)}))
        mass, ends = np.exp(np.asarray(worlds.log_mass)), np.asarray(worlds.outputs[0])
        for end in np.unique(ends[mass > 0], axis=0):
            matrix[row, place[tuple(end.tolist())]] = mass[(ends == end).all(axis=1)].sum()
    return pi, matrix


def faults(proposal, program, *args):
    """How far a step is from keeping the posterior, and its flow from being symmetric."""
    pi, matrix = chain(proposal, program, *args)
    assert np.abs(matrix.sum(axis=1) - 1).max() < 1e-13
    flow = pi[:, None] * matrix
    return np.abs(pi @ matrix - pi).max(), np.abs(flow - flow.T).max()


@pytest.mark.slow
@pytest.mark.tier0
@pytest.mark.parametrize(("proposal", "items"), [(COINS, 4), (SCANS, 3)], ids=["coins", "scans"])
def test_the_labels_of_a_finite_mixture_keep_their_law(proposal, items):
    assert max(faults(proposal, finite, items)) < 1e-14


@pytest.mark.slow
@pytest.mark.tier0
@pytest.mark.parametrize(("scans", "items", "partitions"), [(0, 4, 15), (1, 3, 5)], ids=["coins", "scans"])
def test_the_tables_of_a_chinese_restaurant_keep_their_law_and_all_are_reached(scans, items, partitions):
    proposal = kernels.split_merge("z", scans=scans, ordered=True)
    pi, matrix = chain(proposal, restaurant, items)
    flow = pi[:, None] * matrix
    assert np.abs(pi @ matrix - pi).max() < 1e-14 and np.abs(flow - flow.T).max() < 1e-14
    assert len(pi) == partitions
    np.testing.assert_allclose(np.linalg.matrix_power(matrix, 2000)[0], pi, atol=1e-9)


@pytest.mark.tier0
def test_a_user_checks_it_by_enumeration():
    report = invariant(kernels.mh(COINS), uneven, irreducible=False)
    report.raise_if_failed()
    assert report.tv < 1e-13


def uneven():
    """Labels of unequal weights, and a factor that ties two items."""
    with plate("i", 3):
        z = sample("z", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    factor("f", 0.7 * (z[0] == z[2]) - 0.2 * z[1])


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("_fair", lambda right: lambda members: 0.5 * right(members)),
        ("_fair", lambda right: lambda members: -right(members)),
        ("_Ratio", lambda right: lambda ordered: right(True)),
        ("_Spares", lambda right: lambda ordered: right(True)),
    ],
    ids=["half the coins", "coins upside down", "spare labels forgotten", "first spare label alone"],
)
def test_a_wrong_term_of_the_ratio_is_seen(name, wrong, monkeypatch):
    monkeypatch.setattr(module, name, wrong(getattr(module, name)))
    assert max(faults(COINS, uneven)) > 1e-3


@pytest.mark.slow
@pytest.mark.tier0
def test_a_restricted_scan_that_forgets_its_probability_is_seen(monkeypatch):
    right = module._taken
    monkeypatch.setattr(module, "_taken", lambda *operands: (right(*operands)[0], 0.5 * right(*operands)[1]))
    assert max(faults(SCANS, uneven)) > 1e-3


# ---- beside exact answers


@pytest.fixture(scope="module")
def case(data):
    return json.loads((data / "exact" / "mixture_enumerated.json").read_text())


@pytest.mark.reference
@pytest.mark.slow
def test_split_merge_agrees_with_the_enumerated_mixture(case):
    """Same-cluster probabilities of the reference, within 5 standard errors.

    That of 64 chains, but no less than that of 2,560 independent draws: pairs that are rarely together are not seen.
    """
    y, exact = np.array(case["data"]["y"]), case["exact"]
    truth = enumerate_measure(mixture, y, 2, max_paths=1000)
    assert np.log(truth.total()) == pytest.approx(exact["log_evidence"], abs=1e-10)
    moves = kernels.cycle(kernels.split_merge("z"), kernels.split_merge("z", scans=2), kernels.repeat(kernels.mh(), 8))
    result = inference.mcmc(mixture, moves, chains=64, warmup=50, draws=400)(jax.random.key(1), y, 2)
    z = np.asarray(result.posterior["z"])
    same = (z[..., :, None] == z[..., None, :]).mean(axis=1)
    found, error = same.mean(0), same.std(0, ddof=1) / 8
    p = np.array(exact["same_cluster_probability"])
    assert (np.abs(found - p) <= 5 * np.sqrt(error**2 + p * (1 - p) / 2560)).all()
    assert error.max() < 5e-3


@pytest.mark.slow
@pytest.mark.tier3
def test_the_number_of_clusters_has_its_exact_law():
    """Four labels for six items: the number of occupied ones against the sum over all 4,096 allocations."""
    y = np.array([-1.2, 0.1, 0.4, 1.9, -0.8, 1.5])
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 6, indexing="ij"), -1).reshape(-1, 6)
    scores = np.asarray(jax.vmap(lambda z: log_cluster(y, z, 4))(jnp.asarray(grid)))
    weights = np.exp(scores - special.logsumexp(scores))
    occupied = np.array([len(set(row)) for row in grid.tolist()])
    result = inference.mcmc(mixture, kernels.split_merge("z"), chains=64, warmup=50, draws=1500)(2, y, 4)
    counts = np.array([[len(set(z)) for z in chain] for chain in np.asarray(result.posterior["z"]).tolist()])
    for number in range(1, 5):
        means = (counts == number).mean(axis=1)
        error = means.std(ddof=1) / 8
        assert error < 0.01
        assert abs(means.mean() - weights[occupied == number].sum()) < 5 * error + 1e-4


# ---- one component or two, by reversible jump with a Jacobian


def components(y, log_odds):
    """One normal mean, or two with each item from either; labels are summed out."""
    two = sample("two", dist.Bernoulli(logits=-log_odds))
    low = sample("low", dist.Normal(0.0, 2.0))
    high = cond(two == 1, lambda: sample("high", dist.Normal(0.0, 2.0)), lambda: low)
    sd = np.sqrt(0.5)
    factor(
        "y", jnp.sum(jnp.logaddexp(dist.Normal(low, sd).log_prob(y), dist.Normal(high, sd).log_prob(y)) - jnp.log(2.0))
    )


def gap(current):
    side = sample("side", dist.Bernoulli(0.5))
    sample("gap", dist.Normal(jnp.where(side == 1, 1.7, -1.7), 0.4))


def apart(x, u):
    return {"low": x["low"] - u["gap"], "high": x["low"] + u["gap"]}, {}


def together(x, u):
    half = (x["high"] - x["low"]) / 2
    return {"low": x["low"] + half}, {"gap": half, "side": (half > 0).astype(jnp.int64)}


JUMP = kernels.jump("two", (0, 1), apart, together, auxiliary=gap)


@pytest.mark.slow
@pytest.mark.tier3
def test_the_evidence_for_a_second_component_is_that_of_the_enumerated_mixture(case):
    """Log Bayes factor of two components, from the share of time in each and the prior odds, within 0.1."""
    y = np.array(case["data"]["y"])
    one = stats.multivariate_normal.logpdf(y, np.zeros(len(y)), 0.5 * np.eye(len(y)) + 4.0)
    exact = case["exact"]["log_evidence"] - one
    moves = kernels.cycle(JUMP, kernels.on("low"), kernels.mh(near))
    result = inference.mcmc(components, moves, chains=64, warmup=100, draws=1500, init={"two": 0, "low": 0.0})(
        4, y, exact
    )
    means = (np.asarray(result.posterior["two"]) == 1).mean(axis=1)
    share, error = means.mean(), means.std(ddof=1) / 8
    assert 0.1 < share < 0.9
    assert error / (share * (1 - share)) < 0.1
    assert abs(special.logit(share)) < 5 * error / (share * (1 - share))


def near(current):
    """A local move of what is there."""
    sample("low", dist.Normal(current["low"], 0.4))
    cond(current["two"] == 1, lambda: sample("high", dist.Normal(current["high"], 0.4)), lambda: 0.0)


@pytest.mark.slow
@pytest.mark.tier0b
def test_the_split_of_a_component_is_what_it_has_to_be(case):
    report = involution(JUMP, components, np.array(case["data"]["y"]), 3.0)
    report.raise_if_failed()


# ---- what does not fit


def test_sites_that_are_no_labels_are_refused_by_name():
    def other():
        with plate("i", 3):
            sample("x", dist.Normal(0.0, 1.0))
            sample("z", dist.Bernoulli(0.5))
        sample("one", dist.Bernoulli(0.5))

    form = trace(other)
    for name in ("x", "one"):
        with pytest.raises(UnsupportedProgramError, match=f"site '{name}' .* is no row of labels"):
            kernels.mh(kernels.split_merge(name)).build(form)
    with pytest.raises(LawfulError, match="no latent site 'w'"):
        kernels.mh(kernels.split_merge("w")).build(form)
    with pytest.raises(LawfulError, match="scans as an integer of 0 or more"):
        kernels.split_merge("z", scans=-1)
    assert kernels.mh(kernels.split_merge("z")).plan(form)[1] == "z: clusters are split and merged, at random"
