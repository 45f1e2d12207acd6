"""Kernels made of kernels: what they move, what they count, and what they carry."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, inference, plate, sample
from lawful.backends.log_density import scored
from lawful.errors import LawfulError
from lawful.form.arguments.arrays import split_arguments
from lawful.inference import kernels

Y = jnp.array([0.4, -0.3, 1.0])


def model(y):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    sd = sample("sd", dist.Gamma(2.0, 1.0))
    with plate("group", 3):
        theta = sample("theta", dist.Normal(mu, sd))
        sample("y", dist.Normal(theta, 1.0), obs=y)


def run(kernel, program=model, args=(Y,), **settings):
    settings = {"chains": 3, "warmup": 0, "draws": 30, **settings}
    return inference.mcmc(program, kernel, **settings)(jax.random.key(1), *args)


@pytest.mark.slow
@pytest.mark.parametrize(("sites", "inner"), [("theta", None), (["mu", "sd"], kernels.random_walk(0.3))], ids=repr)
def test_on_moves_the_named_sites_and_no_other(sites, inner):
    result = run(kernels.on(sites, inner))
    for name in ("mu", "sd", "theta"):
        moves = (np.diff(result.posterior[name], axis=1) != 0).any()
        assert moves == (name in np.atleast_1d(sites))


def test_on_scores_only_what_the_sites_reach():
    """`theta` given the rest: the prior of `mu` and `sd` is not scored."""
    form = lawful.trace(model, Y)
    built = kernels.on("theta", kernels.random_walk(0.3)).build(form)
    labels = [getattr(node, "label", "") for node in built.step.nodes]
    assert any(label == "log p(theta)" for label in labels)
    assert not any(label in ("log p(mu)", "log p(sd)") for label in labels)


@pytest.mark.slow
def test_sites_that_a_named_site_switches_move_along():
    def program():
        b = sample("b", dist.Bernoulli(0.5))
        v = cond(b == 1, lambda: sample("left", dist.Normal(0.0, 1.0)), lambda: sample("right", dist.Normal(3.0, 1.0)))
        sample("y", dist.Normal(v, 1.0), obs=1.5)
        sample("other", dist.Normal(0.0, 1.0))

    result = run(kernels.on("b"), program, (), draws=100)
    np.testing.assert_array_equal(np.isnan(result.posterior["left"]), result.posterior["b"] == 0)
    assert len(np.unique(result.posterior["b"])) == 2
    assert (np.diff(result.posterior["other"], axis=1) == 0).all()


COMPOSED = [
    kernels.cycle(
        kernels.mh(), kernels.random_walk(0.4), kernels.on("theta"), kernels.on("mu", kernels.random_walk(0.3))
    ),
    kernels.mixture(
        [1, 2, 1], kernels.mh(), kernels.random_walk(0.4), kernels.on(["mu", "sd"], kernels.random_walk(0.2))
    ),
    kernels.repeat(kernels.cycle(kernels.mh(), kernels.random_walk(0.4)), 3),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel",
    [COMPOSED[0], *(pytest.param(kernel, marks=pytest.mark.slow) for kernel in COMPOSED[1:])],
    ids=lambda k: type(k).__name__,
)
def test_the_log_density_that_is_told_is_that_of_the_state(kernel):
    form = lawful.trace(model, Y)
    inputs, _, _ = split_arguments((Y,))
    result = run(kernel, chains=5, draws=40)
    values = [result.posterior[name] for name in ("mu", "sd", "theta")]
    score = jax.vmap(jax.vmap(lambda *values: sum(scored(form)[1](inputs, list(values))[:2])))
    np.testing.assert_allclose(result.stats["lp"], score(*values), rtol=0, atol=1e-11)
    assert len(np.unique(np.asarray(values[0])[0])) > 5


@pytest.mark.slow
def test_counts_add_up_and_rates_are_averaged():
    kernel = kernels.repeat(kernels.cycle(kernels.on("mu"), kernels.on("sd")), 4)
    result = run(kernel)
    assert set(result.stats) >= {"lp", "acceptance_rate", "accepted", "n_nonfinite"}
    assert (result.stats["acceptance_rate"] <= 1).all() and (result.stats["n_nonfinite"] == 0).all()
    assert result.stats["accepted"].dtype == bool and result.stats["n_nonfinite"].dtype.kind == "i"


@pytest.mark.slow
def test_each_part_of_a_composed_kernel_tells_its_own_numbers():
    parts = kernels.on("mu"), kernels.random_walk(0.4)
    result = run(kernels.cycle(*parts))
    stats = result.stats
    own = [name for name in stats if "@" in name]
    first, second = (sorted({name.partition("@")[2] for name in own})[i] for i in (0, 1))
    assert (first[0], second[0]) == ("0", "1") and {f"n_nonfinite@{first}", f"accepted@{second}"} <= set(own)
    rates = (stats[f"acceptance_rate@{first}"] + stats[f"acceptance_rate@{second}"]) / 2
    np.testing.assert_allclose(stats["acceptance_rate"], rates, rtol=1e-12)
    np.testing.assert_array_equal(stats["accepted"], stats[f"accepted@{first}"] | stats[f"accepted@{second}"])
    tree = result.to_datatree(log_likelihood=False, log_prior=False)
    assert tree[f"sample_stats_{first}"].accepted.dims == ("chain", "draw")
    assert not any("@" in name for name in tree["sample_stats"].data_vars)


@pytest.mark.slow
def test_a_part_of_a_mixture_that_was_not_picked_tells_nothing():
    stats = run(kernels.mixture([1, 2], kernels.on("mu"), kernels.random_walk(0.4))).stats
    picked = [~np.isnan(a) for name, a in stats.items() if name.startswith("acceptance_rate@")]
    assert len(picked) == 2 and (picked[0] ^ picked[1]).all() and picked[0].any() and picked[1].any()
    np.testing.assert_array_equal(
        stats["n_nonfinite"], sum(a for n, a in stats.items() if n.startswith("n_nonfinite@"))
    )


@pytest.mark.slow
def test_all_chains_of_a_mixture_use_one_kernel_at_a_step():
    """Only the kernel that is picked is computed, since the pick has no axis of chains."""
    built = inference.mcmc(model, COMPOSED[1], chains=4, warmup=0, draws=2).prepare((Y,)).built
    (pick,) = (site for site in built.form.sites() if site.address[-1] == "pick")
    assert pick.plates == ()
    result = run(COMPOSED[1], chains=40, draws=60)
    theta = (np.diff(result.posterior["theta"], axis=1) != 0).sum(axis=-1)  # 3 by a walk, at most 1 by a single site
    walks, single = (theta == 3).any(axis=0), (theta == 1).any(axis=0)
    assert walks.any() and single.any() and not (walks & single).any()


def test_kernels_show_what_they_do():
    form = lawful.trace(model, Y)
    assert repr(kernels.cycle(kernels.mh(), kernels.single_site())) == "cycle(mh(single_site()), mh(single_site()))"
    assert kernels.mixture([3, 1], kernels.mh(), kernels.on("mu")).plan(form)[0].startswith("0.75: mu: one part")
    assert kernels.repeat(kernels.on("mu"), 5).plan(form)[1] == "5 times sd: not moved"
    assert kernels.on("mu").plan(form) == [
        "mu: one part at a time, proposed from its prior", "sd: not moved", "theta: not moved"
    ]  # fmt: skip


def test_a_cycle_does_not_claim_to_be_reversible():
    assert kernels.cycle(kernels.mh(), kernels.mh()).contract.reversible is None
    assert kernels.mixture([1, 1], kernels.mh(), kernels.mh()).contract.reversible
    assert kernels.repeat(kernels.mh(), 2).contract.reversible
    assert kernels.mixture([1], kernels.cycle(kernels.mh(), kernels.mh())).contract.reversible is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (kernels.cycle, "cycle: expected one kernel or more"),
        (lambda: kernels.mixture([1.0], kernels.mh(), kernels.mh()), "one positive weight for each of the 2 kernels"),
        (lambda: kernels.mixture([1.0, 0.0], kernels.mh(), kernels.mh()), "positive weight"),
        (lambda: kernels.repeat(kernels.mh(), 0), "repeat: expected an integer of 1 or more, got 0"),
        (lambda: kernels.on([]), "on: expected the name of a site"),
        (lambda: run(kernels.on("tau")), "on: no latent site 'tau'; the program has: mu, sd, theta"),
    ],
)
def test_a_wrong_composition_is_named(make, words):
    with pytest.raises(LawfulError, match=words):
        make()
