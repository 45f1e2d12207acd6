"""The merge tree: moments of what is merged, heights that units and names leave alone, and the number of experts."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.special import logsumexp

from lawful.errors import LawfulError, ObservationError
from lawful.models.gaussian_moe import Gate, GaussianMoE, Mixture, Parameters, merge_tree
from lawful.models.gaussian_moe.parameters import permuted, shifted
from tests.models.gaussian_moe.cases import TRUTH, random_parameters


def drawn(n, truth=TRUTH, seed=0):
    places, answers = jax.random.split(jax.random.key(seed))
    x = jax.random.uniform(places, (n, 1))
    return np.asarray(x), np.asarray(Mixture(Gate(), truth).sample(answers, x))


def split(share=0.3):
    """The truth with both experts twice, sharing their masses."""
    log_shares = np.log([share, 1.0, 1 - share])
    return permuted(TRUTH, [0, 1, 0])._replace(beta0=np.asarray(TRUTH.beta0)[[0, 1, 0]] + log_shares)


@pytest.mark.slow
def test_copies_merge_at_height_0_into_the_expert_that_they_copy():
    x, y = drawn(60)
    tree = merge_tree(split(), x, y)
    assert tree.heights[3] < 1e-20 and tree.heights[2] > 1 and tree.best == 2
    merged = Mixture(Gate(), TRUTH).log_density(x, y)
    np.testing.assert_allclose(tree.mixtures[2].log_density(x, y), merged, rtol=1e-10)
    assert tree.log_likelihoods[2] == pytest.approx(float(merged.sum()), rel=1e-12)
    assert tree.linkage[:, [0, 1, 3]].tolist() == [[0, 2, 2], [1, 3, 3]]
    assert tree.criterion[2] == pytest.approx(-(tree.heights[2] + np.log(60) * tree.log_likelihoods[2] / 60), rel=1e-12)


def test_heights_and_merged_experts_are_those_of_the_definition():
    """Expert by expert, in units of the data, for the first merge."""
    rng = np.random.default_rng(1)
    p = random_parameters(rng, 3, 2)._replace(tau=1.0)
    x, y = rng.normal(size=(50, 2)), rng.normal(size=50)
    tree = merge_tree(p, x, y)
    mass = np.asarray(Mixture(Gate(), p).weights(x)).mean(0)
    m, s, v, t = x.mean(0), x.std(0), y.mean(), y.std()
    beta1, a, nu = np.asarray(p.beta1) * s, np.asarray(p.a) * s / t, np.asarray(p.nu) / t**2
    b, beta0 = (np.asarray(p.b) + np.asarray(p.a) @ m - v) / t, np.asarray(p.beta0) + np.asarray(p.beta1) @ m
    apart = {}
    for i, j in ((0, 1), (0, 2), (1, 2)):
        far = sum((beta1[i] - beta1[j]) ** 2) + (b[i] - b[j]) ** 2 + np.linalg.norm(a[i] - a[j]) + abs(nu[i] - nu[j])
        apart[i, j] = mass[i] * mass[j] / (mass[i] + mass[j]) * far
    i, j = min(apart, key=apart.get)
    assert tree.heights[3] == pytest.approx(apart[i, j], rel=1e-12) and tree.linkage[0].tolist()[:2] == [i, j]
    q = mass[[i, j]] / mass[[i, j]].sum()
    one, b_one = q @ beta1[[i, j]], q @ b[[i, j]]
    a_one = sum(q[n] * (a[e] + (beta1[e] - one) * (b[e] - b_one)) for n, e in enumerate((i, j)))
    nu_one = sum(q[n] * (nu[e] + (b[e] - b_one) ** 2) for n, e in enumerate((i, j)))
    found = tree.mixtures[2].parameters
    slope = a_one * t / s
    np.testing.assert_allclose(found.a[i], slope, rtol=1e-10)
    assert found.b[i] == pytest.approx(b_one * t + v - slope @ m, rel=1e-10)
    assert found.nu[i] == pytest.approx(nu_one * t**2, rel=1e-10)
    np.testing.assert_allclose(found.beta1[i], one / s, rtol=1e-10)
    assert found.beta0[i] == pytest.approx(logsumexp(beta0[[i, j]]) - one / s @ m, rel=1e-10)


def test_merged_moments_are_right_to_the_second_order():
    """Two experts at b +- e merge into one whose density is off by e^4, where the mean of variances is off by e^2."""
    x, y = drawn(30)

    def error(e):
        pair = Parameters.of([0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1 - e, 1 + e], [1.0, 1.0])
        return np.abs(
            merge_tree(pair, x, y).mixtures[1].log_density(x, y) - Mixture(Gate(), pair).log_density(x, y)
        ).max()

    assert error(0.02) / error(0.01) == pytest.approx(16, rel=0.02)


@pytest.mark.slow
def test_nothing_depends_on_names_shifts_and_units():
    rng = np.random.default_rng(2)
    p = random_parameters(rng, 4, 1)._replace(tau=1.0)
    x, y = rng.normal(size=(40, 1)), rng.normal(size=40)
    told = merge_tree(p, x, y)
    renamed = merge_tree(permuted(p, rng.permutation(4)), x, y)
    moved = merge_tree(shifted(p, np.ones(1), 3.0), x, y)
    hot = merge_tree(Mixture(Gate("temperature"), p._replace(beta1=2 * p.beta1, beta0=2 * p.beta0, tau=2.0)), x, y)
    units = p._replace(beta1=p.beta1 / 10, beta0=p.beta0 - 200 * p.beta1[:, 0], a=p.a * 7 / 10, nu=p.nu * 49)
    units = units._replace(b=7 * (p.b - 200 * p.a[:, 0]) + 3)
    other = merge_tree(units, 2000 + 10 * x, 7 * y + 3)
    for tree in (renamed, moved, hot, other):
        np.testing.assert_allclose(list(tree.heights.values()), list(told.heights.values()), rtol=1e-8)
        assert tree.best == told.best
    np.testing.assert_allclose(
        [other.log_likelihoods[k] + 40 * np.log(7) for k in range(1, 5)],
        [told.log_likelihoods[k] for k in range(1, 5)], rtol=1e-8,
    )  # fmt: skip


def test_the_tree_is_told_and_shown():
    x, y = drawn(40)
    tree = merge_tree(split(), x, y)
    assert tree.table.index.tolist() == [1, 2, 3] and np.isnan(tree.table["height"][1])
    assert tree.table["criterion"].idxmin() == 2
    assert len(tree.plot().get_xticklabels()) == 3
    plt.close("all")


def test_what_has_no_tree_is_told():
    x, y = drawn(9)
    with pytest.raises(LawfulError, match="gate 'topk'.*Fix"):
        merge_tree(Mixture(Gate("topk", top_k=1), TRUTH), x, y)
    with pytest.raises(LawfulError, match="1 experts.*Fix"):
        merge_tree(permuted(TRUTH, [0]), x, y)
    with pytest.raises(ObservationError, match=r"expected \(rows, 1\). Fix"):
        merge_tree(TRUTH, np.column_stack([x, x]), y)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("seed", range(3))
def test_the_tree_of_four_experts_and_bic_find_two(seed):
    """One fit that is too large, against a fit for each number of experts."""
    x, y = drawn(600, seed=seed)
    bic = {}
    for k in (1, 2, 3, 4):
        model = GaussianMoE(k).fit(x, y, starts=10, key=seed)
        bic[k] = model.n_parameters * np.log(600) - 2 * model.log_likelihood_
    tree = merge_tree(model, x, y)
    assert tree.best == min(bic, key=bic.get) == 2
    assert jnp.all(tree.mixtures[2].parameters.nu > 0)
