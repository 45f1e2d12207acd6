"""The line that a report gives repeats its verdict and its statistic in another process, given the objects it names."""

import json
import subprocess
import sys
import textwrap

import jax.numpy as jnp
import pytest

from lawful.inference.check import geweke, invariant, sbc, unbiased

OBJECTS = """
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist
    import lawful
    from lawful.inference import kernels

    def positive(y):
        scale = lawful.sample("scale", dist.Gamma(2.0, 1.0))
        with lawful.plate("i", 2):
            lawful.sample("y", dist.Normal(0.0, scale), obs=y)

    def algorithm(program):
        return lambda key, shapes, y: {"scale": jax.random.gamma(key, 2.0, (19,))}

    def estimator(keys):
        return jnp.where(jax.vmap(jax.random.bernoulli)(keys), jnp.log(3.0), 0.0)

    kernel = kernels.mh(kernels.random_walk(0.7))
    args = (jnp.array([0.3, 1.2]),)
"""


@pytest.mark.slow
def test_statistical_verdicts_are_repeated_in_a_fresh_process():
    scope: dict = {}
    exec(textwrap.dedent(OBJECTS), scope)
    kernel, args, positive = scope["kernel"], scope["args"], scope["positive"]
    reports = [
        invariant(kernel, positive, *args, n=500),
        geweke(positive, kernel, *args, n=500),
        sbc(positive, scope["algorithm"], *args, n_sims=100, draws=19, bins=5, batched=True),
        unbiased(scope["estimator"], jnp.log(2.0), n=500),
    ]
    assert [report.status for report in reports] == ["passed", "passed", "failed", "passed"]
    assert all(report.power > 0 and report.min_detectable_effect > 0 for report in reports)
    lines = [report.repro for report in reports]
    show = "print(json.dumps([[r.status, r.p_value, list(r.worst)] for r in (eval(line) for line in lines)]))"
    code = (
        f"{textwrap.dedent(OBJECTS)}\nimport json\njax.config.update('jax_enable_x64', True)\nlines = {lines!r}\n{show}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout.splitlines()[-1])
    assert again == [[r.status, pytest.approx(r.p_value, rel=1e-9), list(r.worst)] for r in reports]
