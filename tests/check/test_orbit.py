"""The choice of a point on finite orbits: exact for the kernels of the library, and power against wrong choices."""

import importlib

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful.errors import LawfulError
from lawful.inference import kernels
from lawful.inference.check import enumerate_measure, orbit
from lawful.inference.kernels.gradient import trajectories as tree

table_of = importlib.import_module("lawful.inference.check.identities.orbit")
Table, random_table, shifted, transitions = (
    getattr(table_of, name) for name in ("Table", "random_table", "shifted", "transitions")
)

pytestmark = pytest.mark.tier0
FEW = {"tables": 6, "sizes": (6, 9, 12)}


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "kernel",
    [kernels.mala(0.1), kernels.hmc(0.1, 3), *(kernels.nuts(0.1, max_depth=d) for d in (1, 2, 3))],
    ids=repr,
)
def test_the_choice_of_a_point_keeps_the_weights(kernel):
    report = orbit(kernel, **FEW)
    assert report.passed and report.tv < 1e-12, report
    assert report.paths > 100 and report.instances == 6
    assert report.coverage["moved"] == {True} and report.coverage["turned"] == {False, True}


@pytest.mark.slow
def test_the_reference_enumerator_gives_the_same_transitions():
    """Depth 2, every coin a site of an eager program."""
    move = kernels.nuts(0.1, max_depth=2).move
    table = random_table(np.random.default_rng(5), 6, 0.2, 6)
    ours, _ = transitions(move, table)
    for place in (0, 3):

        def program(place=place):
            count = iter(range(99))

            def flip(odds):
                return lawful.sample(f"coin{next(count)}", dist.Bernoulli(float(odds))) == 1

            end = move.on_integers(table.start(place), shifted, table.log_weight, table.turning, flip)
            return round(float(end.position[0]))

        measure = enumerate_measure(program, jax_values=True)
        found = measure.marginal(lambda trace: trace.output)
        row = np.array([dict(found).get(j, 0.0) for j in range(6)])
        np.testing.assert_allclose(row, ours[place], atol=1e-13)


def test_turns_cut_trajectories_and_a_window_ends_them():
    """By hand: with every stretch turning, a point moves to a neighbour or stays, by the biased coin."""
    energies = np.array([0.0, 1.0, 0.5, np.inf])
    turns = np.ones((4, 4), bool) & ~np.eye(4, dtype=bool)
    matrix, _ = transitions(kernels.nuts(0.1, max_depth=3).move, Table(energies, turns))
    down = np.exp(-1.0)
    assert matrix[0, 1] == pytest.approx(0.5 * down) and matrix[1, 0] == pytest.approx(0.5)
    assert matrix[2, 1] == pytest.approx(0.5 * np.exp(-0.5)) and matrix[0, 2] == 0.0 and matrix[:3, 3].sum() == 0.0


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("half_share", lambda half, whole: jnp.exp(jnp.minimum(whole - half, 0.0))),
        ("half_share", lambda half, whole: jnp.ones_like(half)),
        pytest.param("leaf_share", lambda leaf, half: jnp.where(half == leaf, 1.0, 0.5), marks=pytest.mark.slow),
        pytest.param("trailing_ones", lambda number: jnp.minimum(number & 1, 1), marks=pytest.mark.slow),
    ],
    ids=["ratio inverted", "always the new half", "the last leaves alike", "only the shortest halves checked"],
)
def test_a_wrong_choice_is_found(name, wrong, monkeypatch):
    monkeypatch.setattr(tree, name, wrong)
    monkeypatch.setattr(table_of, "_functions", {})
    report = orbit(kernels.nuts(0.1, max_depth=3), tables=6, sizes=(12,))
    assert report.status == "failed" and report.tv > 1e-4, report


def test_a_kernel_that_moves_along_no_orbit_is_refused():
    with pytest.raises(LawfulError, match="does not move along orbits"):
        orbit(kernels.mh())
    with pytest.raises(LawfulError, match="depth 10 are too many"):
        orbit(kernels.nuts())
