"""Losses are those of their definition, least over shifts, and 0 wherever the density is that of the truth."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.studies.gaussian_moe.near_truth import cell_errors, scaled_like
from lawful.errors import LawfulError
from lawful.models.gaussian_moe import Gate, GaussianMoE, Mixture, Parameters
from lawful.models.gaussian_moe.parameters import permuted, rescaled, shifted
from lawful.models.gaussian_moe.voronoi import align, voronoi_loss
from tests.models.gaussian_moe.cases import TRUTH, random_parameters

seeds = given(st.integers(0, 10**6))


def near(rng, truth, size, order=None):
    """A fit near the truth, whose experts are those of `order`."""
    told = permuted(truth, list(range(truth.n_experts)) if order is None else order)
    noise = [size * rng.normal(size=np.shape(v)) for v in told[:5]]
    moved = [np.asarray(v) + e for v, e in zip(told[:4], noise)]
    return Parameters.of(*moved, np.asarray(told.nu) + abs(noise[4]))


def cells_by_hand(fit, truth, t1):
    """Which fitted experts, shifted, are nearest to each true one; and what experts are compared by."""
    rows = lambda p, i: np.array([p.beta1[i, 0], p.a[i, 0], p.b[i], p.nu[i]], float)
    theirs = [rows(truth, j) for j in range(truth.n_experts)]
    cells = [[] for _ in theirs]
    for i in range(fit.n_experts):
        own = rows(fit, i) + [t1, 0, 0, 0]
        cells[int(np.argmin([np.linalg.norm(own - each) for each in theirs]))].append((i, own))
    return cells, theirs


def by_hand(fit, truth, t1, t0, powers, top_k=None):
    """The definition, expert by expert, for one covariate."""
    cells, theirs = cells_by_hand(fit, truth, t1)
    terms = []
    for j, inside in enumerate(cells):
        r = powers[len(inside)] if len(inside) else 1
        half = r / 2 if len(inside) > 1 and r > 1 else 1
        term, mass = 0.0, 0.0
        for i, own in inside:
            d1, da, db, dn = abs(own - theirs[j])
            weight = np.exp(float(fit.beta0[i]) + t0)
            term += weight * (d1**r + db**r + da**half + dn**half)
            mass += weight
        terms.append(term + abs(mass - np.exp(float(truth.beta0[j]))))
    return sum(sorted(terms)[::-1][:top_k])


@pytest.mark.slow
@settings(max_examples=10)
@seeds
def test_the_exact_loss_is_least_over_all_shifts(seed):
    """Against the definition on a grid of shifts about the one that is found."""
    rng = np.random.default_rng(seed)
    truth = Parameters.of([3.0, 0.0], [-1.0, 0.0], [-4.0, 4.0], [3.0, -1.0], [0.1, 0.2])
    fit = near(rng, truth, 0.1)
    found = align(fit, truth)
    shift1 = float(found.parameters.beta1[0, 0] - fit.beta1[0, 0])
    shift0 = float(found.parameters.beta0[0] - fit.beta0[0])
    powers = {1: 1, 2: 1}
    assert found.loss == pytest.approx(by_hand(fit, truth, shift1, shift0, powers), rel=1e-12)
    steps = np.linspace(-0.3, 0.3, 13)
    others = [by_hand(fit, truth, shift1 + s, shift0 + t, powers) for s, t in itertools.product(steps, steps)]
    assert found.loss <= min(others) + 1e-12


@pytest.mark.slow
@settings(max_examples=10)
@seeds
def test_the_loss_of_a_split_expert_has_the_powers_of_its_cell(seed):
    rng = np.random.default_rng(seed)
    truth = Parameters.of([3.0, 0.0], [0.5, 0.0], [-4.0, 4.0], [3.0, -1.0], [0.1, 0.2])
    fit = near(rng, truth, 0.1, [0, 0, 1])
    found = align(fit, truth, "over")
    shift1 = float(found.parameters.beta1[0, 0] - fit.beta1[0, 0])
    shift0 = float(found.parameters.beta0[0] - fit.beta0[0])
    assert found.cells.tolist() == [0, 0, 1]
    assert found.loss == pytest.approx(by_hand(fit, truth, shift1, shift0, {1: 1, 2: 4}), rel=1e-10)
    near_by = [by_hand(fit, truth, shift1 + s, shift0, {1: 1, 2: 4}) for s in np.linspace(-0.05, 0.05, 21)]
    assert found.loss <= min(near_by) + 1e-9


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("kind", "order", "top_k"), [("exact", [0, 1], None), ("exact", [0, 1], 1), ("over", [0, 1, 1], None)]
)
@settings(max_examples=12)
@seeds
def test_no_shift_of_a_grid_has_a_smaller_loss(kind, order, top_k, seed):
    """Fits far from the truth, whose cells change with the shift: against the definition with its cells."""
    rng = np.random.default_rng(seed)
    truth = Parameters.of(
        2 * rng.normal(size=2), rng.normal(size=2), rng.normal(size=2), rng.normal(size=2), [0.1, 0.6]
    )
    fit, powers = near(rng, truth, 1.0, order), {1: 1, 2: 4, 3: 6} if kind == "over" else dict.fromkeys((1, 2), 1)
    fit, truth = (jax.tree.map(np.asarray, p) for p in (fit, truth))
    found = align(fit, Mixture(Gate("topk", top_k=top_k), truth) if top_k else truth, kind)
    t1, t0 = (float(np.ravel(getattr(found.parameters, v) - getattr(fit, v))[0]) for v in ("beta1", "beta0"))
    assert found.loss == pytest.approx(by_hand(fit, truth, t1, t0, powers, top_k), rel=1e-9)
    for t1 in np.linspace(-8, 8, 65):
        masses = [[float(fit.beta0[i]) for i, _ in inside] for inside in cells_by_hand(fit, truth, t1)[0]]
        empty, least = sum(not each for each in masses), 2 - len(set(found.cells.tolist()))
        assert least <= empty
        if empty > least:
            continue
        matches = [float(truth.beta0[j]) - np.logaddexp.reduce(each) for j, each in enumerate(masses) if each]
        # Below the least of these every fitted expert vanishes, which is no alignment.
        for t0 in np.linspace(min(matches), max(matches), 9):
            assert found.loss <= by_hand(fit, truth, t1, t0, powers, top_k) * (1 + 1e-9)


def test_a_fit_does_not_vanish_to_lower_the_loss_of_a_top_1_gate():
    """With a mean error of 1.5 in the heavy expert, weights of 0 would cost its mass alone, which is 1."""
    fit = TRUTH._replace(b=TRUTH.b + np.array([0.0, 1.5]))
    assert voronoi_loss(fit, Mixture(Gate("topk", top_k=1), TRUTH)) == pytest.approx(1.5, rel=1e-9)


def test_matched_experts_have_the_order_of_the_truth():
    other = permuted(shifted(TRUTH, np.ones(1), 2.0), [1, 0])
    matched = align(other, TRUTH).matched
    for one, told in zip(matched, TRUTH):
        np.testing.assert_allclose(one, told, atol=1e-12)


@pytest.mark.rest_slow
@pytest.mark.parametrize("weights", ["gate", "unit"])
@settings(max_examples=15)
@seeds
def test_a_shifted_and_permuted_truth_has_no_loss(weights, seed):
    rng = np.random.default_rng(seed)
    truth = random_parameters(rng, 3, 2)._replace(tau=1.0)
    other = permuted(shifted(truth, rng.normal(size=2), rng.normal()), rng.permutation(3))
    assert voronoi_loss(other, truth, weights=weights) < 1e-12
    assert voronoi_loss(other._replace(b=other.b + 0.1), truth, weights=weights) > 1e-3


@settings(max_examples=15)
@seeds
def test_a_truth_whose_experts_are_split_has_no_loss(seed):
    """Two copies that share the mass of one expert, at any share; the last gate pinned at 0 or not."""
    rng = np.random.default_rng(seed)
    j = int(rng.integers(2))
    split = permuted(TRUTH, [0, 1, j])
    share = rng.uniform(0.1, 0.9)
    beta0 = np.array(split.beta0)
    beta0[j], beta0[2] = beta0[j] + np.log(share), beta0[2] + np.log(1 - share)
    fit = shifted(split._replace(beta0=beta0), rng.normal(size=1), rng.normal())
    assert voronoi_loss(fit, TRUTH, "over") < 1e-12
    assert voronoi_loss(fit, TRUTH, "over", "unit") < 1e-12


def test_light_experts_are_seen_with_unit_weights_alone():
    """e^-8 hides an error of 1 in the mean of the first expert."""
    fit = TRUTH._replace(b=TRUTH.b + np.array([1.0, 0.0]))
    assert voronoi_loss(fit, TRUTH) == pytest.approx(np.exp(-8.0), rel=1e-12)
    assert voronoi_loss(fit, TRUTH, weights="unit") == pytest.approx(1.0, rel=1e-12)


def test_a_top_k_gate_has_the_largest_sum_over_k_of_the_true_experts():
    fit = TRUTH._replace(b=TRUTH.b + 0.1, beta0=TRUTH.beta0 + np.array([8.0, 0.0]))
    truth = TRUTH._replace(beta0=TRUTH.beta0 + np.array([8.0, 0.0]))
    one, both = (Mixture(Gate("topk", top_k=k), truth) for k in (1, 2))
    assert voronoi_loss(fit, one) == pytest.approx(0.1, rel=1e-12)
    assert voronoi_loss(fit, both) == pytest.approx(0.2, rel=1e-12)


def test_a_temperature_is_divided_out():
    truth = Mixture(Gate("temperature"), TRUTH)
    assert voronoi_loss(Mixture(Gate("temperature"), rescaled(TRUTH, 3.0)), truth) < 1e-12


def test_an_activated_gate_is_compared_with_its_twin_and_without_shifts_of_slopes():
    truth = Mixture(Gate("activated"), TRUTH._replace(beta0=np.array([-0.4, 0.0]), tau=0.25))
    twin = truth.parameters._replace(beta1=-truth.parameters.beta1[::-1])
    assert voronoi_loss(Mixture(Gate("activated"), twin), truth) < 1e-12
    moved = Mixture(Gate("activated"), shifted(truth.parameters, np.ones(1), 0.0))
    assert voronoi_loss(moved, truth) > 0.5


def test_errors_one_by_one_are_means_over_the_members_of_a_cell():
    fit = Parameters.of(
        [25.0, 26.0, 0.0], np.log([0.25, 0.75, 1.0]) + [-8, -8, 0], [-20.0, -19.0, 20.0], [15.0, 15.4, -5.0],
        [0.09, 0.13, 0.16],
    )  # fmt: skip
    aligned = align(fit, TRUTH, "over")
    found = cell_errors(aligned, TRUTH)
    assert found["b"] == pytest.approx([0.3, 0.0]) and found["a"] == pytest.approx([0.75, 0.0])
    assert found["nu"] == pytest.approx([0.03, 0.0]) and found["spread"] == pytest.approx([1.0, 0.0])
    assert found["worst_b"] == pytest.approx([0.4, 0.0]) and found["worst_a"] == pytest.approx([1.0, 0.0])
    assert found["least_share"] == pytest.approx([0.25, 1.0])
    empty = cell_errors(align(permuted(TRUTH, [0]), TRUTH), TRUTH)
    assert np.isnan(empty["b"][1]) and empty["b"][0] == 0


def test_the_scale_of_a_top_1_gate_is_that_of_the_truth():
    fit = TRUTH._replace(beta1=TRUTH.beta1 / 25, beta0=TRUTH.beta0 / 25)
    assert voronoi_loss(scaled_like(fit, TRUTH), TRUTH) < 1e-12


def test_wrong_kinds_and_crowded_cells_are_told():
    with pytest.raises(LawfulError, match="kind='near'.*Fix"):
        voronoi_loss(TRUTH, TRUTH, "near")
    with pytest.raises(LawfulError, match="a cell has 4 experts.*Fix"):
        voronoi_loss(permuted(TRUTH, [0, 0, 0, 0, 1]), TRUTH, "over")
    with pytest.raises(LawfulError, match="not fitted. Fix"):
        GaussianMoE(2).predict(np.zeros((1, 1)))


def test_large_offsets_do_not_overflow():
    far = jax.tree.map(np.asarray, shifted(TRUTH, np.zeros(1), 900.0))
    assert voronoi_loss(far, TRUTH) < 1e-9
