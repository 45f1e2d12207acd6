"""A map that is its own inverse keeps the posterior, with the Jacobian over the coordinates that it moves."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, factor, inference, plate, sample, trace
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import enumerate_measure, invariant, involution
from lawful.inference.check.exact.measure import Trace
from lawful.inference.check.exact.transition import transition_matrix
from tests.inference.kernels.transition import Transition

jacobian_module = importlib.import_module("lawful.inference.kernels.jumps.log_jacobian")
involutive_module = importlib.import_module("lawful.inference.kernels.jumps.involutive")
TABLE = [[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.1, 0.2, 0.7]]


def coins():
    a = sample("a", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    b = sample("b", dist.Bernoulli(jnp.array([0.1, 0.6, 0.8])[a]))
    factor("f", 0.4 * a * b)


def fresh(current):
    sample("u", dist.Categorical(jnp.array(TABLE)[current["a"]]))
    sample("c", dist.Bernoulli(0.3 + 0.4 * current["b"]))


def swap(choices, auxiliary):
    return {"a": auxiliary["u"], "b": auxiliary["c"]}, {"u": choices["a"], "c": choices["b"]}


def flip(choices, auxiliary):
    turned = jnp.where(auxiliary["c"] == 1, 1 - choices["b"], choices["b"])
    return {"a": auxiliary["u"], "b": turned}, {"u": choices["a"]}


@pytest.mark.tier0
@pytest.mark.parametrize("function", [swap, flip], ids=lambda f: f.__name__)
def test_a_discrete_involution_keeps_the_posterior_and_is_reversible(function):
    report = invariant(kernels.involutive(function, fresh), coins)
    report.raise_if_failed()
    assert report.tv < 1e-14


@pytest.mark.tier0
def test_a_swap_with_proposed_values_is_metropolis_hastings():
    def proposal(current):
        sample("a", dist.Categorical(jnp.array(TABLE)[current["a"]]))
        sample("b", dist.Bernoulli(0.3 + 0.4 * current["b"]))

    form = trace(coins)
    truth = enumerate_measure(coins).marginal(lambda t: Trace(t.choices, None))
    rows = [transition_matrix(k.build(form), form, [], truth, 1000)[0]
            for k in (kernels.involutive(swap, fresh), kernels.mh(proposal))]  # fmt: skip
    np.testing.assert_allclose(*rows, atol=1e-15)


# ---- continuous coordinates


def level(y):
    scale = sample("scale", dist.Gamma(2.0, 1.0))
    mean = sample("mean", dist.Normal(0.0, scale))
    with plate("i", 3):
        theta = sample("theta", dist.Normal(mean, scale))
        sample("y", dist.Normal(theta, 1.0), obs=y)


Y = jnp.array([0.3, -1.0, 2.0])


def step(current):
    sample("t", dist.Normal(0.2, 0.5))


def vector(current, y):
    with plate("i", 3):
        sample("e", dist.Normal(0.3 * (y - current["theta"]), 0.7))


def stretch(choices, auxiliary):
    """All of the model's length scale at once."""
    by = jnp.exp(auxiliary["t"])
    return {name: by * value for name, value in choices.items()}, {"t": -auxiliary["t"]}


def shift(choices, auxiliary):
    return {"theta": choices["theta"] + auxiliary["e"]}, {"e": -auxiliary["e"]}


def turn(choices, auxiliary):
    """A reflection at a line through the origin of (mean, t), and an element of the batch that is mirrored."""
    m, t = choices["mean"], auxiliary["t"]
    theta = choices["theta"].at[1].multiply(-1.0)
    return {"mean": 0.6 * m + 0.8 * t, "theta": theta}, {"t": 0.8 * m - 0.6 * t}


def inverse(choices, auxiliary):
    return {"scale": 1 / choices["scale"]}, {}


MAPS = {stretch: step, shift: vector, turn: step, inverse: None}


@pytest.mark.rest_slow
@pytest.mark.tier0b
@pytest.mark.parametrize("function", MAPS, ids=lambda f: f.__name__)
def test_the_map_its_jacobian_and_its_ratio_are_what_they_have_to_be(function):
    report = involution(kernels.involutive(function, MAPS[function]), level, Y)
    report.raise_if_failed()
    assert report.measure_error < 1e-12 and report.instances == 20


@pytest.mark.tier0b
def test_the_jacobian_is_that_of_the_moved_coordinates_alone():
    def columns(function, auxiliary):
        jacobian = kernels.involutive(function, auxiliary).parts(trace(level, Y)).jacobian
        return None if jacobian is None else sum(int(np.prod(jacobian.shapes[c])) for c in jacobian.columns)

    def exchange(choices, auxiliary):
        return {"theta": auxiliary["e"]}, {"e": choices["theta"]}

    assert columns(exchange, vector) is None
    assert columns(inverse, None) == 1
    assert columns(stretch, step) == 6


@pytest.mark.slow
@pytest.mark.tier1
@pytest.mark.parametrize("function", [stretch, inverse], ids=lambda f: f.__name__)
def test_exact_draws_stay_exact_draws(function):
    kernel = kernels.involutive(function, MAPS[function])
    assert invariant(kernel, level, Y, n=2_000, steps=(1, 5)).passed
    wrong = kernels.involutive(function, MAPS[function], log_jacobian=lambda choices, auxiliary: 0.0)
    assert invariant(wrong, level, Y, n=2_000, steps=(1, 5)).status == "failed"


@pytest.mark.tier0b
def test_the_log_density_that_it_carries_is_that_of_the_state():
    transition = Transition(level, kernels.involutive(shift, vector), Y)
    start = transition.state({"scale": 1.3, "mean": 0.4, "theta": [0.1, 0.2, -0.5]})
    given = {("~mh", "proposal", "e"): np.array([0.5, -0.1, 1.0]), ("~mh", "accept"): True}
    state, info = transition.step(start, given)
    np.testing.assert_allclose(state[2], [0.6, 0.1, 0.5], atol=1e-15)
    values = dict(zip(["scale", "mean", "theta"], state, strict=False))
    assert state[-1] == pytest.approx(float(transition.form.log_density(values, Y)), abs=1e-12)
    assert not info["n_no_return"] and not info["n_unmatched"]


@pytest.mark.slow
def test_single_precision_leads_back_within_rounding(single_precision):
    run = inference.mcmc(level, kernels.involutive(stretch, step), chains=2, warmup=0, draws=200)(0, np.float32(Y))
    assert run.stats["n_no_return"].sum() == 0 and run.stats["acceptance_rate"].mean() > 0.05


# ---- planted faults


@pytest.mark.tier0b
def test_a_declared_jacobian_is_compared_with_the_true_one():
    def declared(sign):
        return kernels.involutive(stretch, step, log_jacobian=lambda choices, auxiliary: sign * 5 * auxiliary["t"])

    assert involution(declared(1.0), level, Y).passed
    report = involution(declared(-1.0), level, Y)
    assert report.status == "failed" and "is not that of the map" in report.remarks


@pytest.mark.rest_slow
@pytest.mark.tier0b
@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (jacobian_module, "log_abs_det", lambda right: lambda matrix: -right(matrix)),
        (jacobian_module, "log_abs_det", lambda right: lambda matrix: 0.5 * right(matrix)),
        (involutive_module, "summed", lambda right: lambda block, scores: right(block, scores[:0])),
        (involutive_module, "summed", lambda right: lambda block, scores: right(block, [*scores, *scores])),
    ],
    ids=["sign", "half", "auxiliary density forgotten", "auxiliary density twice"],
)
def test_a_wrong_term_of_the_ratio_is_seen(module, name, wrong, monkeypatch):
    kernel = kernels.involutive(stretch, step)
    monkeypatch.setattr(module, name, wrong(getattr(module, name)))
    report = involution(kernel, level, Y)
    assert report.status == "failed" and report.measure_error > 0.05


@pytest.mark.tier0
def test_a_forgotten_auxiliary_density_is_seen_by_enumeration(monkeypatch):
    right = involutive_module.summed
    monkeypatch.setattr(involutive_module, "summed", lambda block, scores: right(block, scores[:0]))
    assert invariant(kernels.involutive(swap, fresh), coins).tv > 1e-2


# ---- maps that do not lead back


def twice(choices, auxiliary):
    return {"scale": choices["scale"] * jnp.exp(auxiliary["t"])}, {}


@pytest.mark.slow
def test_a_map_that_does_not_lead_back_is_rejected_and_told():
    kernel = kernels.involutive(twice, step)
    report = involution(kernel, level, Y)
    assert report.status == "failed" and "does not give the start" in report.remarks
    mixed = kernels.cycle(kernel, kernels.mh())
    result = inference.mcmc(level, mixed, chains=2, warmup=5, draws=20)(jax.random.key(0), Y)
    (finding,) = [f for f in result.reasons if f.code == "NO_RETURN"]
    assert finding.value == 2 * 25 and "check.involution" in finding.message and not result.ok


@pytest.mark.tier0
def test_a_map_that_leads_back_from_some_states_alone_keeps_the_posterior():
    """0 -> 1 -> 0, and 2 -> 0: the last move has no way back."""

    def some(choices, auxiliary):
        return {"a": jnp.array([1, 0, 0])[choices["a"]]}, {}

    report = invariant(kernels.involutive(some), coins, irreducible=False)
    report.raise_if_failed()
    assert report.tv < 1e-14


def circle(choices, auxiliary):
    return {"a": auxiliary["u"]}, {"u": auxiliary["w"], "w": choices["a"]}


def three(current):
    sample("u", dist.Categorical(jnp.array(TABLE)[0]))
    sample("w", dist.Categorical(jnp.array(TABLE)[0]))


@pytest.mark.parametrize(
    ("function", "auxiliary", "words"),
    [
        (circle, three, "is no involution: applied twice it gives"),
        (lambda c, v: c, fresh, "expected the map to return two dictionaries"),
        (lambda c, v: (c, v, v), fresh, "got a tuple of 3"),
        (lambda c, v: ({"d": c["a"]}, v), fresh, "gives 'd' among its choices, which has no such site"),
        (lambda c, v: ({"a": c["a"]}, {"d": v["c"]}), fresh, "among its auxiliary"),
        (lambda c, v: ({"a": 1.0 * c["a"]}, v), fresh, "discrete values stay discrete"),
        (lambda c, v: ({"a": jnp.stack([c["a"], c["a"]])}, v), fresh, r"the shape \(2,\)"),
        (lambda c, v: (c, v), fresh, "moves no choice of the program: a, b"),
        (lambda c, v: ({"a": sample("k", dist.Bernoulli(0.5))}, v), fresh, "the map samples"),
        (swap, lambda current: factor("g", 0.1 * current["a"]), "observes or weighs"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(function, auxiliary, words):
    with pytest.raises(LawfulError, match=words):
        kernels.involutive(function, auxiliary).build(trace(coins))


def test_a_point_of_a_simplex_has_no_jacobian_unless_it_is_swapped():
    def shares():
        sample("p", dist.Dirichlet(jnp.ones(3)))

    def other(current):
        sample("q", dist.Dirichlet(1 + 5 * current["p"]))

    def mix(choices, auxiliary):
        return {"p": 0.5 * (choices["p"] + auxiliary["q"])}, {"q": 0.5 * (choices["p"] - auxiliary["q"])}

    with pytest.raises(UnsupportedProgramError, match="lie on a surface"):
        kernels.involutive(mix, other).build(trace(shares))
    exchange = kernels.involutive(lambda c, v: ({"p": v["q"]}, {"q": c["p"]}), other)
    assert involution(exchange, shares).passed


# ---- sites that begin and stop


def guarded():
    """`b` decides whether `w` runs; a stale value of `w` means nothing."""
    b = sample("b", dist.Bernoulli(0.3))
    w = cond(b == 1, lambda: sample("w", dist.Categorical(jnp.array([0.2, 0.5, 0.3]))), lambda: 0)
    factor("f", -0.4 * w + 0.2 * b)


def birth(current):
    cond(current["b"] == 1, lambda: 0, lambda: sample("u", dist.Categorical(jnp.array([0.5, 0.25, 0.25]))))


def born(choices, auxiliary):
    on = choices["b"] == 1
    return {"b": 1 - choices["b"], "w": auxiliary["u"]}, {"u": jnp.where(on, choices["w"], 0)}


@pytest.mark.tier0
def test_a_jump_between_finite_models_keeps_the_posterior_whatever_the_stale_values():
    kernel = kernels.involutive(born, birth)
    report = invariant(kernels.mixture([1, 1], kernel, kernels.mh()), guarded)
    report.raise_if_failed()
    assert report.tv < 1e-14
    transition = Transition(guarded, kernel)
    rows = [transition.outcomes(transition.state({"b": 0}, absent=k)) for k in (0, 2)]
    assert rows[0].keys() == rows[1].keys() and len(rows[0]) == 4
    assert all(rows[0][k] == pytest.approx(rows[1][k], abs=1e-15) for k in rows[0])


@pytest.mark.tier0
def test_a_discrete_site_that_stops_and_is_not_kept_has_no_way_back():
    """Of the values of `w` the map keeps none, so only the one that it gives back can be left."""

    def lossy(choices, auxiliary):
        return {"b": 1 - choices["b"]}, {}

    report = invariant(kernels.involutive(lossy), guarded, irreducible=False)
    report.raise_if_failed()
    rows = Transition(guarded, kernels.involutive(lossy))
    off = frozenset({(("b",), 0)})
    assert rows.outcomes(rows.state({"b": 1, "w": 0}))[off] > 0
    assert off not in rows.outcomes(rows.state({"b": 1, "w": 2}))


def one_or_two(y):
    two = sample("two", dist.Bernoulli(0.4))
    low = sample("low", dist.Normal(0.0, 2.0))
    high = cond(two == 1, lambda: sample("high", dist.Normal(0.0, 2.0)), lambda: low)
    sample("y", dist.Normal(jnp.array([1.0, 1.0, 0.0]) * low + jnp.array([0.0, 0.0, 1.0]) * high, 0.8), obs=y)


def apart(current):
    cond(current["two"] == 1, lambda: 0.0, lambda: sample("d", dist.Normal(0.0, 1.5)))


def split(choices, auxiliary):
    """(low, d) -> (low - d, low + d), and back."""
    two, low = choices["two"] == 1, choices["low"]
    half = jnp.where(two, (choices["high"] - low) / 2, 0.0)
    there = {"low": jnp.where(two, low + half, low - auxiliary["d"]), "high": jnp.where(two, 0.0, low + auxiliary["d"])}
    return {"two": 1 - choices["two"], **there}, {"d": half}


@pytest.mark.tier0b
def test_the_jacobian_of_a_jump_runs_over_what_is_there():
    kernel = kernels.involutive(split, apart)
    report = involution(kernel, one_or_two, Y, points=40)
    report.raise_if_failed()
    assert report.instances == 40
    transition = Transition(one_or_two, kernel, Y)
    given = {("~mh", "proposal", "d"): 0.5, ("~mh", "accept"): True}
    after = [transition.step(transition.state({"two": 0, "low": 0.2}, absent=k), given) for k in (0, 7)]
    for state, info in after:
        assert [float(x) for x in state[:3]] == pytest.approx([1.0, -0.3, 0.7])
        assert info["acceptance_rate"] == after[0][1]["acceptance_rate"] > 0


@pytest.mark.tier0b
def test_a_jump_without_an_auxiliary_value_is_rejected_and_told():
    def bare(choices, auxiliary):
        return {"two": 1 - choices["two"]}, {}

    kernel = kernels.involutive(bare)
    report = involution(kernel, one_or_two, Y)
    assert report.status == "failed" and "another number of continuous coordinates" in report.remarks
    result = inference.mcmc(one_or_two, kernel, chains=2, warmup=0, draws=10)(jax.random.key(1), Y)
    assert {"UNMATCHED", "NEVER_MOVED"} <= {f.code for f in result.reasons}


def test_the_determinant_of_the_active_part_is_that_of_the_small_matrix():
    matrix = jax.random.normal(jax.random.key(0), (4, 5))
    rows, columns = jnp.array([True, False, True, True]), jnp.array([False, True, True, False, True])
    small = np.asarray(matrix)[np.ix_([0, 2, 3], [1, 2, 4])]
    log_abs_det = jax.jit(jacobian_module.active_log_abs_det)
    found = float(log_abs_det(matrix, rows, columns))
    assert found == pytest.approx(np.linalg.slogdet(small)[1], abs=1e-12)
    assert float(log_abs_det(matrix, rows[:4] & False, columns & False)) == 0.0
