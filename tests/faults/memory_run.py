"""A run in a process of its own: what it was told to take and what it took, or what it was refused with.

`python -m tests.faults.memory_run METHOD [ROOM]` prints JSON; with ROOM the process may have so many bytes more than it
has before the run.
"""

import json
import resource
import sys
from pathlib import Path

import jax
import numpyro.distributions as dist

from lawful import inference, sample, scan
from lawful.errors import MemoryLimitError
from lawful.inference import kernels
from tests.peak import peak_bytes

jax.config.update("jax_enable_x64", True)
KEY = jax.random.key(0)


def wide():
    sample("x", dist.Normal(0.0, 1.0).expand([500]).to_event(1))


def walk():
    def step(x, _):
        x = sample("x", dist.Normal(x, 1.0).to_event(1))
        sample("y", dist.Normal(x[0], 1.0), obs=0.5)
        return x, None

    return scan(step, jax.numpy.zeros(10), None, length=50)[0]


def mcmc(size):
    return inference.mcmc(wide, kernels.random_walk(0.1), chains=8, warmup=0, draws=60 * size)


def smc(size):
    return inference.smc(walk, particles=200 * size)


def pages(place):
    return int(Path("/proc/self/statm").read_text().split()[place]) * resource.getpagesize()


def main(method, room=None):
    make = {"mcmc": mcmc, "smc": smc}[method]
    make(1)(KEY)  # compiles, and starts the threads
    plan = make(100)
    told = plan.memory()
    if room is not None:
        limit = pages(0) + int(room)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = pages(1)
    try:
        plan(KEY)
    except MemoryLimitError as error:
        return {"needed": error.needed, "available": error.available, "chunk": error.chunk, "message": str(error)}
    return {"told": told, "took": peak_bytes() - before}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
