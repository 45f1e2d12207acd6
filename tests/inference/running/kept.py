"""Runs that were stopped half-way and whose checkpoints are kept in `kept/`.

Those of populations were written before files of the library moved, those of chains since all chains run in one loop.

Law: a kept file is read by all code that follows. It was written by the code of its time, compiled as tests are:

    JAX_DISABLE_MOST_OPTIMIZATIONS=1 python tests/inference/running/kept.py NAME FOLDER
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful import deterministic, inference, plate, sample, scan
from lawful.backends.compile_options import compile_quickly
from lawful.inference import RunOptions, kernels

SEED = 11
Y = np.array([0.3, -0.2, 1.1, 0.4])


def clusters(y):
    level = sample("level", dist.Normal(0.0, 2.0))
    which = sample("which", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
    middle = deterministic("middle", level + which)
    with plate("i", 4):
        sample("y", dist.Normal(middle, 1.0), obs=y)


def line(y, wide=1.0):
    level = sample("level", dist.Normal(0.0, 2.0))
    scale = sample("scale", dist.LogNormal(0.0, wide))
    with plate("i", 4):
        sample("y", dist.Normal(level, scale), obs=y)


def walk(y):
    def step(x, y):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    return scan(step, 0.0, y)[0]


def chains(run):
    kernel = kernels.cycle(kernels.on("level", kernels.random_walk(0.8)), kernels.on("which", kernels.gibbs()))
    return inference.mcmc(clusters, kernel, chains=2, warmup=2, draws=8, run=run)


def tuned(run):
    return inference.mcmc(line, kernels.hmc(n_steps=2), chains=2, warmup=4, draws=4, run=run)


def filtered(run):
    return inference.smc(walk, particles=10, runs=2, move=kernels.mh(), run=run)


def tempered(run):
    return inference.tempered_smc(line, particles=10, runs=2, run=run)


def half(progress):
    return progress.phase != "warmup" and progress.step >= progress.total / 2


KEPT = {
    "filtered": (walk, filtered),
    "chains": (clusters, chains),
    "tuned": (line, tuned),
    "tempered": (line, tempered),
}

if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    compile_quickly()
    KEPT[sys.argv[1]][1](RunOptions(chunk=1, checkpoint=sys.argv[2], callbacks=half))(SEED, Y)
