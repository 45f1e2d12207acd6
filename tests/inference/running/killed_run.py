"""A run with checkpoints, for a process that is killed: `python killed_run.py METHOD FOLDER OUT`.

It goes on from what FOLDER holds, writes a line after every chunk, and all arrays of its result to OUT. Without FOLDER
it runs as a whole. The method "streamed" has its draws in a store in FOLDER.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful import inference
from lawful.inference import RunOptions, kernels
from lawful.inference.checkpoints.checkpoint_folder import generations
from lawful.inference.plans.chains import row_streams as streams
from lawful.inference.running import saving

jax.config.update("jax_enable_x64", True)
saving.SHARE = streams.SHARE = 0  # a checkpoint after every chunk
Y = jnp.sin(jnp.arange(60.0))


def model(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 2.0))
    sd = lawful.sample("sd", dist.Gamma(2.0, 1.0))
    lawful.deterministic("twice", 2 * mu)
    lawful.sample("y", dist.Normal(mu, sd).expand([60]).to_event(1), obs=y)


def walk(y):
    def step(x, y):
        x = lawful.sample("x", dist.Normal(x, 1.0))
        lawful.sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    return lawful.scan(step, 0.0, y)[0]


def chains(run):
    return inference.mcmc(model, kernels.hmc(n_steps=3), chains=2, warmup=60, draws=60, run=run)


PLANS = {
    "mcmc": (model, chains),
    "streamed": (model, chains),
    "smc": (walk, lambda run: inference.smc(walk, particles=100, runs=2, run=run)),
    "tempered": (model, lambda run: inference.tempered_smc(model, particles=100, runs=2, run=run)),
}


def arrays(result):
    found = {f"posterior {name}": x for name, x in result.posterior.items()}
    found |= {f"stats {name}": x for name, x in result.stats.items()}
    if result.warmup is not None:
        found |= {f"warmup {name}": x for name, x in {**result.warmup.posterior, **result.warmup.stats}.items()}
    if result.weighted is not None:
        found |= {f"particles {name}": x for name, x in result.weighted.values.items()}
        found |= {"log_weight": result.weighted.log_weight, "log_evidence": result.log_evidence}
    return found


def after_chunk(progress):
    print(progress.phase, progress.step, flush=True)
    time.sleep(0.01)  # so that a kill finds the run between two chunks as well


def main(method, folder, out):
    program, build = PLANS[method]
    chunk, store = 1 if method == "tempered" else 3, f"{folder}/draws.zarr" if method == "streamed" else None
    options = RunOptions(chunk=chunk, checkpoint=folder, callbacks=[after_chunk], store=store)
    if folder is None:
        result = build(None)(jax.random.key(1), Y)
    elif generations(folder):
        result = inference.resume(folder, program, Y, run=options)
    else:
        result = build(options)(jax.random.key(1), Y)
    np.savez(out, **arrays(result))


if __name__ == "__main__":
    main(sys.argv[1], None if sys.argv[2] == "-" else sys.argv[2], sys.argv[3])
