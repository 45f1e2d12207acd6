"""`python -m benchmarks.studies.papers.any_order`: unmasking in any order, its distance to the law and its calls.

Lines: total variation of 20,000 weighed draws of eight spins, all unmasked in one step, beside the 0.999 quantile of as
many exact draws; calls of a step's conditionals beside their formula, and steps a call at the two published speeds; and
a torus of ten by ten, unmasked in 16 steps from conditionals of belief propagation, beside derivatives of its log mass.
"""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np

from lawful import inference
from lawful.inference import graphs
from lawful.models.papers.any_order import by_graph, by_table, calls_of, expected_calls, in_any_order, steps_of
from lawful.models.papers.partial_states import log_marginal

from .bars import judge

SEEDS = range(100, 105)
DRAWS, SITES, STEPS = 20_000, 8, 16


def spins(seed: int, strength: float) -> jax.Array:
    """Make the table of eight spins whose pairs have normal couplings of that scale over the root of eight."""
    coupling = np.triu(np.random.default_rng(seed).normal(size=(SITES, SITES)), 1) * strength / np.sqrt(SITES)
    spin = 2.0 * np.indices((2,) * SITES).reshape(SITES, -1).T - 1
    mass = np.exp(np.einsum("ni,ij,nj->n", spin, coupling, spin))
    return jnp.asarray((mass / mass.sum()).reshape((2,) * SITES))


def one_draw(posterior: dict[str, np.ndarray], key: jax.Array, steps: int, runs: int) -> np.ndarray:
    """Take the state of one particle of each run, whose place is drawn: resampling keeps the order of particles."""
    time = np.asarray(posterior["time"]).reshape(runs, -1, np.shape(posterior["time"])[-1])
    particle = np.asarray(jax.random.randint(key, (runs,), 0, time.shape[1]))
    value = np.asarray(posterior["value"]).reshape(runs, time.shape[1], steps, -1)[np.arange(runs), particle]
    step = np.asarray(steps_of(time[np.arange(runs), particle], steps))
    return np.take_along_axis(value, step[:, None], 1)[:, 0]


def distance(states: np.ndarray, table: jax.Array) -> float:
    """Give the total variation between the frequencies of states and a table."""
    counts = np.bincount(np.ravel_multi_index(tuple(states.T), table.shape), minlength=table.size)
    return float(np.abs(counts / len(states) - np.ravel(table)).sum() / 2)


def floor(seed: int, table: jax.Array) -> float:
    """Give the 0.999 quantile of the total variation of exact draws."""
    probabilities = np.ravel(table) / np.sum(table)
    counts = np.random.default_rng(seed).multinomial(DRAWS, probabilities, 4000)
    return float(np.quantile(np.abs(counts / DRAWS - probabilities).sum(1) / 2, 0.999))


def one_step(seed: int, particles: int, strength: float) -> tuple[float, float]:
    """Give the total variation of draws unmasked in one step, and the floor."""
    table = spins(seed, strength)
    result = inference.smc(in_any_order, particles=particles, runs=DRAWS)(
        jax.random.key(seed), by_table(table), SITES, 1
    )
    states = one_draw(result.posterior, jax.random.key(seed + 1), 1, DRAWS)
    return distance(states, table), floor(seed, table)


def torus() -> graphs.FactorGraph:
    """Make the graph of ten by ten spins, coupling 0.2 an edge and field 0.2, its variables in a row."""
    spin, number = np.array([-1.0, 1.0]), np.arange(100).reshape(10, 10)
    graph = graphs.FactorGraph()
    x = graph.variables("x", shape=(100,), cardinality=2, log_potential=np.tile(0.2 * spin, (100, 1)))
    for axis in (0, 1):
        graph.factors(
            f"along {axis}", [x[number.ravel()], x[np.roll(number, 1, axis).ravel()]], 0.2 * np.outer(spin, spin)
        )
    return graph


def main() -> int:
    """Print all lines; return the number of bars that are missed."""
    jax.config.update("jax_enable_x64", True)
    missed = 0
    for strength, particles in ((0.3, 64), (0.5, 64), (0.5, 256)):
        for seed in SEEDS:
            alone, (weighed, least) = one_step(seed, 1, strength)[0], one_step(seed, particles, strength)
            name = f"seed {seed}, couplings {strength}, total variation, one step, {particles} particles"
            found = f"{weighed:.4f}, without weights {alone:.3f}"
            missed += judge(name, f"{least:.4f}", found, weighed <= least)
    for sites, steps in ((SITES, 4), (SITES, 3 * SITES), (SITES, 20 * SITES), (6, 128), (100, 300)):
        time = jax.random.uniform(jax.random.key(steps), (10_000, sites))
        calls = np.asarray(jax.vmap(lambda row, steps=steps: calls_of(row, steps))(time))
        wanted, error = expected_calls(sites, steps), calls.std() / 100
        found = f"{calls.mean():.3f}, {steps / calls.mean():.2f} steps a call"
        near = abs(calls.mean() - wanted) < 3 * error
        missed += judge(f"calls of {sites} sites in {steps} steps", f"{wanted:.3f}, 3 standard errors", found, near)
    nothing = np.zeros((10, 10), bool)
    log_z, slopes = jax.value_and_grad(lambda theta: log_marginal(nothing, nothing, *theta))(jnp.array([0.2, 0.2]))
    for seed in SEEDS[:2]:
        plan = inference.smc(in_any_order, particles=256, runs=8)
        law = by_graph(torus(), lambda graph: graphs.infer(graph, "loopy", tol=1e-4, certify=False))
        result = plan(jax.random.key(seed), law, 100, STEPS, look_ahead=True)
        value = np.asarray(result.posterior["value"]).reshape(8, -1, STEPS, 100)
        step = np.asarray(steps_of(np.asarray(result.posterior["time"]).reshape(8, -1, 100), STEPS))
        spin = 2.0 * np.take_along_axis(value, step[:, :, None], 2)[:, :, 0].reshape(8, -1, 10, 10) - 1
        bonds = (spin * (np.roll(spin, 1, 2) + np.roll(spin, 1, 3))).sum((2, 3)).mean(1)
        for name, runs, truth in (
            ("bonds", bonds, slopes[0]),
            ("magnetisation", spin.sum((2, 3)).mean(1), slopes[1]),
            ("log Z", np.asarray(result.log_evidence), log_z),
        ):
            score = (runs.mean() - float(truth)) / (runs.std(ddof=1) / np.sqrt(8))
            found = f"{runs.mean():.3f} beside {float(truth):.3f}, {score:+.2f} standard errors"
            missed += judge(f"seed {seed}, torus in {STEPS} steps, {name}", "3 standard errors", found, abs(score) < 3)
    return missed


if __name__ == "__main__":
    sys.exit(main())
