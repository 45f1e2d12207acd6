"""A program of its own: the same inferences on meshes of 1, 2 and 4 devices; writes what they found as JSON.

    python -m tests.inference.sharding.devices JOB:DEVICES ...

It needs as many devices as `JAX_NUM_CPU_DEVICES` gives.
"""

import functools
import hashlib
import json
import shutil
import sys
import tempfile
import time

import jax
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful import inference
from lawful.errors import CheckpointMismatch
from lawful.inference import kernels
from lawful.inference.devices import watch

FLOW = np.array([0.3, 0.9, 1.1, 2.0, 1.4, -0.2])
RUNS = 400


def one(y):
    """Given y = 0.5 the mean is 0.25, the variance 0.5, and the log evidence -1.328012."""
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    lawful.sample("y", dist.Normal(x, 1.0), obs=y)


def level(flow):
    """A level that wanders, seen through noise."""
    scale = lawful.sample("scale", dist.Gamma(5.0, 10.0))

    def step(x, y):
        x = lawful.sample("x", dist.Normal(x, scale))
        lawful.sample("y", dist.StudentT(4.0, x, 1.0), obs=y)
        return x, x

    return lawful.scan(step, 0.0, flow)[1]


def mesh(devices):
    chosen = jax.devices()[:devices]
    return jax.make_mesh((devices,), ("p",), axis_types=(jax.sharding.AxisType.Auto,), devices=chosen)


def digest(result):
    """Name every bit of the draws, the weights, the evidence and the numbers of distinct ancestors."""
    found = hashlib.sha256()
    for name in sorted(result.posterior):
        found.update(np.ascontiguousarray(result.posterior[name]).tobytes())
    if result.weighted is not None:
        found.update(np.ascontiguousarray(result.weighted[1]).tobytes())
        found.update(np.asarray(result.log_evidence).tobytes())
    if "n_unique" in result.stats:
        found.update(np.asarray(result.stats["n_unique"], float).tobytes())
    return found.hexdigest()


def exact(devices):
    plan = inference.smc(level, particles=480, runs=2, resampling="exact", mesh=mesh(devices))
    return digest(plan(jax.random.key(1), FLOW))


def importance(devices):
    return digest(inference.importance(level, particles=96, mesh=mesh(devices))(jax.random.key(2), FLOW))


def chains(devices):
    walk = kernels.mh(kernels.random_walk(0.5))
    how = {} if devices == 0 else {"mesh": mesh(devices)}
    return digest(inference.mcmc(one, walk, chains=8, warmup=5, draws=20, **how)(jax.random.key(4), 0.5))


def eight(y):
    """As many data, and as many coordinates, as there are chains below."""
    with lawful.plate("i", 8):
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=y)


def in_chunks(kernel, devices):
    """Whole; and in chunks, stopped once and resumed from a checkpoint: bits of both, and where the state lay."""
    build = functools.partial(
        inference.mcmc, eight, kernel, chains=8, warmup=12, draws=20, mesh=mesh(devices) if devices else None
    )
    y = np.linspace(-1.0, 1.0, 8)

    def stop(progress):
        return progress.phase == "sampling" and progress.step >= 10

    with tempfile.TemporaryDirectory() as folder:
        part = build(run=inference.RunOptions(chunk=5, checkpoint=folder, callbacks=stop))(jax.random.key(4), y)
        with tempfile.TemporaryDirectory() as beside:
            other = shutil.copytree(folder, beside, dirs_exist_ok=True)
            alone = inference.resume(other, eight, y)  # the model knows of no mesh
        assert ("RESUMED_ELSEWHERE" in [f.code for f in alone.reasons]) == (devices > 1)
        whole = inference.resume(folder, build(run=inference.RunOptions(chunk=4)), y)
    assert part.finished == 10 and whole.finished == 20
    lies = {len(x.sharding.device_set) for x in whole.state}
    assert lies == {max(1, devices)}, lies
    return [digest(build()(jax.random.key(4), y)), digest(whole)]


def on(build, devices):
    """All draws, weights and evidence of a method on a mesh; on none where `devices` is 0."""
    result = build(mesh=mesh(devices) if devices else None)(jax.random.key(7), FLOW)
    found = [result.posterior[name] for name in sorted(result.posterior)]
    found += [] if result.weighted is None else [result.weighted[1], result.log_evidence]
    found += [np.nan_to_num(result.stats["n_unique"])] if "n_unique" in result.stats else []
    return np.concatenate([np.ravel(x) for x in found]).tolist()


def annealed(**how):
    walk = kernels.mh(kernels.random_walk(1.0))
    return inference.annealed_importance(level, particles=48, kernel=walk, ladder=4, **how)


def waste_free(**how):
    """Chains that all devices can share evenly, on a given ladder."""
    walk = kernels.mh(kernels.random_walk(1.0))
    settings = {"particles": 96, "chains": 24, "ladder": [0.3, 1.0], "resampling": "exact"}
    return inference.tempered_smc(level, kernel=walk, **settings, **how)


def smc2(**how):
    return inference.smc2(level, kernels.random_walk(0.5), ["scale"], particles=48, inner=10, **how)


def pmmh(**how):
    walk = kernels.random_walk(0.5)
    return inference.pmmh(level, walk, ["scale"], particles=10, chains=8, warmup=3, draws=6, **how)


def particle_gibbs(**how):
    move = kernels.on("scale", kernels.random_walk(0.2))
    return inference.particle_gibbs(level, "x", move, particles=10, chains=8, warmup=3, draws=6, **how)


def parallel_tempering(**how):
    walk = kernels.random_walk(0.5)
    settings = {"powers": (0.3, 1.0), "chains": 8, "warmup": 5, "draws": 10}
    return inference.parallel_tempering(level, walk, **settings, **how)


def filtered(resampling, **how):
    return inference.smc(level, particles=480, runs=2, resampling=resampling, **how)


def tempered(**how):
    return inference.tempered_smc(level, particles=96, chains=24, runs=2, resampling="exact", **how)


def elsewhere(folder, part, devices):
    """Go on without the mesh: with a remark, or an error that says where the run was, or that it was on islands."""
    try:
        alone = inference.resume(folder, part.model, FLOW)
    except CheckpointMismatch as error:
        assert "islands" in str(error) or f"It was written on {devices} of cpu" in str(error), error
    else:
        assert ("RESUMED_ELSEWHERE" in [f.code for f in alone.reasons]) == (devices > 0)


def later(y):
    """What is drawn before a resampling is read after a loop."""
    a, b = (lawful.sample(name, dist.Normal(0.0, 1.0)) for name in "ab")
    lawful.sample("first", dist.Normal(a + b, 1.0), obs=y[0])
    steps = jax.lax.scan(lambda x, _: (lawful.sample("x", dist.Normal(0.9 * x, 1.0)), None), a, None, length=5)
    lawful.sample("second", dist.Normal(steps[0], 1.0), obs=y[1])


def written_out(y):
    """Steps that a Python loop wrote."""
    x = 0.0
    for i in range(12):
        x = lawful.sample(f"x{i}", dist.Normal(x, 0.5))
        lawful.sample(f"y{i}", dist.Normal(x, 1.0), obs=y[i % 6])


def always(model, **how):
    return inference.smc(model, particles=96, runs=2, resampling="exact", resample_below=None, **how)


def constant(flow):
    """A level that does not move: there is no loop."""
    x = lawful.sample("x", dist.Normal(0.0, 1.0))
    lawful.sample("flow", dist.Normal(x, 1.0).expand(flow.shape).to_event(1), obs=flow)


def separate(**how):
    return inference.importance(constant, particles=96, runs=3, **how)


def population_in_chunks(build, devices, ended=(0, 1)):
    """Whole; in chunks; and stopped twice, once in each run, and resumed: bits of all three.

    `ended` are the runs that are finished at each stop: those before, or where a run is a chunk, that one, too.
    """
    build = functools.partial(build, mesh=mesh(devices) if devices else None)
    options, key = inference.RunOptions, jax.random.key(8)
    with tempfile.TemporaryDirectory() as folder:
        first = build(run=options(chunk=2, checkpoint=folder, callbacks=lambda progress: True))(key, FLOW)
        assert len(first.log_evidence) == ended[0] and first.run["stopped_by"]
        assert first.run.get("devices", 0) == devices
        with tempfile.TemporaryDirectory() as beside:
            elsewhere(shutil.copytree(folder, beside, dirs_exist_ok=True), first, devices)
        second = build(run=options(chunk=3, callbacks=lambda progress: progress.phase.startswith("run 2")))
        part = inference.resume(folder, second, FLOW)
        assert len(part.log_evidence) == ended[1]
        resumed = inference.resume(folder, build(run=options(chunk=1)), FLOW)
    assert not resumed.interrupted and "RESUMED_ELSEWHERE" not in [f.code for f in resumed.reasons]
    return [digest(run(key, FLOW)) for run in (build(), build(run=options(chunk=3)))] + [digest(resumed)]


def moments(devices):
    """Of many runs on a ladder, islands mixed at every stage: Z-hat / Z, and that times the means of x and x^2."""
    plan = inference.tempered_smc(
        one, particles=32, ladder=[0.2, 1.0], kernel=kernels.mh(kernels.random_walk(1.0)), steps=1, runs=RUNS,
        resampling=inference.Islands(tau=1.0), mesh=mesh(devices),
    )  # fmt: skip
    result = plan(jax.random.key(6), 0.5)
    ratio = np.exp(result.log_evidence + 1.328012123)
    values, log_weight = result.weighted
    weight, x = np.exp(log_weight), values["x"]
    return [
        ratio.tolist(),
        (ratio * (weight * x).mean(axis=1)).tolist(),
        (ratio * (weight * x**2).mean(axis=1)).tolist(),
    ]


def late(devices):
    """Process 1 comes late, to each of two calls."""
    watch.PATIENCE = 0.8
    plan = inference.importance(one, particles=96, mesh=mesh(devices))
    found = []
    for number in range(2):
        time.sleep(3.0 * jax.process_index())
        found.append(digest(plan(jax.random.key(number), 0.5)))
    return found


JOBS = {
    "exact": exact,
    "importance": importance,
    "chains": chains,
    "walk in chunks": lambda devices: in_chunks(kernels.random_walk(0.5), devices),
    "tuned in chunks": lambda devices: in_chunks(kernels.hmc(n_steps=3), devices),
    "waste-free": lambda devices: on(waste_free, devices),
    "annealed importance": lambda devices: on(annealed, devices),
    "smc2": lambda devices: on(smc2, devices),
    "pmmh": lambda devices: on(pmmh, devices),
    "particle gibbs": lambda devices: on(particle_gibbs, devices),
    "parallel tempering": lambda devices: on(parallel_tempering, devices),
    "filter in chunks": lambda devices: population_in_chunks(functools.partial(filtered, "exact"), devices),
    "islands in chunks": lambda devices: population_in_chunks(functools.partial(filtered, "islands"), devices),
    "later in chunks": lambda devices: population_in_chunks(functools.partial(always, later), devices),
    "written out in chunks": lambda devices: population_in_chunks(functools.partial(always, written_out), devices),
    "tempered in chunks": lambda devices: population_in_chunks(tempered, devices),
    "importance in chunks": lambda devices: population_in_chunks(separate, devices, ended=(1, 2)),
    "islands": moments,
    "late": late,
}


def main(wanted):
    found = {}
    for item in wanted:
        job, devices = item.split(":")
        found[item] = JOBS[job](int(devices))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
