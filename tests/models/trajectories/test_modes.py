"""A fit by a program of one's own is the mode of that program, whose density the kernel has as well."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.errors import LawfulError
from lawful.models.trajectories import (
    Priors,
    TrajectoryMixture,
    likelihood_ratio,
    log_likelihood,
    mixture_with_priors,
    sites_of,
    unpack,
)
from lawful.models.trajectories.posterior.bayes import Posed
from lawful.models.trajectories.posterior.priors import draw_parameters

from .test_bayes import WIDE


def low(found):
    lawful.factor("low", jnp.sum(dist.Normal(-0.5, 0.1).log_prob(found.mean[:, 0])))


def lowered(at, model):
    """The stock joint, with another prior of the levels."""
    low(mixture_with_priors(at, model))


def spread_lines(n=60):
    """Lines of two classes, whose persons differ in level and slope by more than can be told from none."""
    rng, side = np.random.default_rng(0), np.resize([1.0, -1.0], n)
    level, slope = side + 0.5 * rng.normal(size=n), side + 0.4 * rng.normal(size=n)
    y = level[:, None] + slope[:, None] * np.arange(4.0) + 0.3 * rng.normal(size=(n, 4))
    return {f"Y{j + 1}": y[:, j] for j in range(4)} | {f"T{j + 1}": np.full(n, float(j)) for j in range(4)}


@pytest.fixture(scope="module")
def fit():
    return TrajectoryMixture(2, "LIN", n_starts=4).fit(spread_lines(), **WIDE, program=lowered)


def test_the_fit_is_the_mode_of_its_program(fit):
    """By the density of the kernel: there is no slope with the prior of the program, and one without it."""
    model = fit.model

    def by_hand(at, more):
        parameters = draw_parameters(model, at.priors, at.knots)
        lawful.factor("persons", log_likelihood(parameters, at.panel, model, at.width))
        more(parameters)

    with jax.enable_x64(True):
        at = Posed(jax.tree.map(jnp.asarray, Priors()), fit.problem.panel, fit.problem.bounds, fit.problem.width)

        def height(free, form):
            found = unpack(free, model, at.knots)
            root = found.chol / jnp.linalg.norm(found.chol, axis=-1, keepdims=True)  # `sites_of` keeps off edges
            return form.log_density({**sites_of(found, model, at.knots), "root": root}, at)

        forms = [lawful.trace(lambda at, more=more: by_hand(at, more), at) for more in (low, lambda found: None)]
        (value, slope), (_, without) = (jax.value_and_grad(height)(jnp.asarray(fit.free), form) for form in forms)
    assert float(value) == pytest.approx(fit.search.value[fit.search.best], abs=1e-9)
    assert np.abs(slope).max() < 1e-3 and np.abs(without).max() > 1.0


def test_it_says_that_it_has_no_errors_and_why(fit):
    assert np.isnan(fit.standard_errors.observed).all()
    text = fit.summary()
    assert "the mode of a program of one's own" in text and "with the priors of its program" in text
    assert fit.predict().shape == (60,)
    for asked in (
        lambda: fit.bootstrap(0, 2),
        lambda: fit.interval("c1mueta0"),
        lambda: fit.profile(1, [0.0]),
        lambda: likelihood_ratio(fit, fit),
    ):
        with pytest.raises(LawfulError, match="program of one's own"):
            asked()


@pytest.mark.parametrize(
    ("plan", "more"),
    [
        (TrajectoryMixture(2, "LIN", penalty="weak"), {}),
        (TrajectoryMixture(2, "LIN"), {"map": "processes"}),
        (TrajectoryMixture(2, "BLS", intrinsic=True, knot="exact"), {}),
    ],
    ids=["penalty", "map", "exact"],
)
def test_what_a_program_cannot_have_is_refused(plan, more):
    with pytest.raises(LawfulError, match="program="):
        plan.fit(spread_lines(), **WIDE, program=lowered, **more)
