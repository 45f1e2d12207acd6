"""The linter has no error to report of any model of the library and of the studies: text, data, prior draws, slopes."""

import inspect
from functools import partial
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.studies.posteriordb import programs
from lawful import models
from lawful.inspection.lint.check import check_program
from lawful.models import (
    gaussian_moe,
    hierarchical,
    llp,
    mixtures,
    monad_bayes,
    networks,
    populations,
    regression,
    state_space,
    trajectories,
)
from lawful.models.trajectories.model.parameters import Model, Parameters
from lawful.models.trajectories.program import trajectory_mixture

Y, YES = np.array([0.3, -0.5, 1.2, 0.8]), np.array([0, 1, 1, 0])
X = np.array([[0.1, 1.0], [0.4, -1.0], [-0.3, 0.5], [1.1, 0.2]])
LEVEL = models.local_level(0.0, 1.0, 0.5, 1.0)
EXPERTS = gaussian_moe.Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
BAGS = llp.Bags.from_ids([0, 0, 1, 1], [1, 2])

CASES = {
    networks.sprinkler: (np.array(1),),
    hierarchical.eight_schools_noncentered: hierarchical.SCHOOLS,
    mixtures.finite_mixture: (Y, np.array([0.4, 0.6])),
    mixtures.dirichlet_process_mixture: (Y, 1.0, 4),
    regression.bayesian_logistic: (X, YES),
    state_space.linear_gaussian: (LEVEL, Y[:, None]),
    monad_bayes.hidden_markov: (Y,),
    gaussian_moe.gaussian_moe: (X[:, :1], Y, EXPERTS),
}
SLOW = {
    hierarchical.eight_schools: hierarchical.SCHOOLS,
    hierarchical.item_response: (np.array([[1, 0], [1, 1], [0, 1]]),),
    mixtures.chinese_restaurant: (Y, 1.0),
    regression.piecewise_linear: (np.linspace(-1.0, 1.0, 8), np.linspace(0.0, 1.0, 8)),
    regression.gaussian_process: (np.linspace(0.0, 1.0, 4), Y),
    state_space.stochastic_volatility: (Y,),
    monad_bayes.logistic_regression: (Y, YES),
    monad_bayes.latent_dirichlet: (np.array([0, 0, 1]), np.array([0, 1, 3]), 2),
    monad_bayes.nonlinear_sequence: (Y, (10.0, 1.0)),
    populations.lotka_volterra: (np.arange(1.0, 4.0), np.array([30.0, 4.0]), np.full((3, 2), 20.0)),
    programs.autoregression: (np.append(Y, Y), 2),
    programs.hmm_example: (Y,),
    programs.gp_pois_regr: (np.linspace(-1.0, 1.0, 4), np.array([1, 3, 2, 5])),
    programs.low_dim_gauss_mix: (Y,),
    programs.blr: (X, Y),
    programs.garch11: (Y, 0.5),
}


def errors(program, args):
    return [str(finding) for finding in check_program(program, *args) if finding.level == "error"]


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "program", [*CASES, *(pytest.param(p, marks=pytest.mark.slow) for p in SLOW)], ids=lambda p: p.__name__
)
def test_a_model_of_the_library_has_no_error(program):
    assert errors(program, {**CASES, **SLOW}[program]) == []


def test_labels_of_counted_bags_have_no_error():
    assert errors(partial(llp.llp_program, bags=BAGS), (jnp.zeros(4),)) == []


@pytest.mark.slow
def test_a_mixture_of_trajectories_has_no_error():
    at = Parameters(
        jnp.zeros((2, 1)), jnp.array([[0.0, 1.0], [0.0, -1.0]]), jnp.zeros((2, 0)), jnp.zeros((2, 2, 0)),
        jnp.tile(0.5 * jnp.eye(2), (2, 1, 1)), jnp.ones(2), jnp.zeros((2, 0)), jnp.zeros((2, 0, 0)),
    )  # fmt: skip
    data = trajectories.panel([[0.0, 1.2, 2.3], [0.1, -0.8, float("nan")]], [0.0, 1.0, 2.0])
    assert errors(lambda data, at: trajectory_mixture(data, at, Model("LIN", 2)), (data, at)) == []


def test_every_program_of_the_models_is_in_the_table():
    named = set()
    for name in models.__all__:
        module = getattr(models, name)
        if isinstance(module, ModuleType) and name in ("hierarchical", "mixtures", "regression", "state_space",
                                                       "monad_bayes", "networks", "populations"):  # fmt: skip
            named |= {getattr(module, n) for n in module.__all__ if inspect.isfunction(getattr(module, n))}
    parts = {populations.predation, mixtures.table_probabilities}  # of programs
    assert named - parts <= set(CASES) | set(SLOW)
