"""NumPyro on a posterior: its whole run inside one `jax.jit`, so that a second run compiles nothing; 64 bits.

The chains run as one vector or one after another, with a dense or diagonal metric: for each posterior what was
faster in a short look, the first call included.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from numpyro.infer import MCMC, NUTS, init_to_uniform, init_to_value

from benchmarks.contestants.posteriordb.data import DrawsRun, columns, start
from benchmarks.contestants.posteriordb.numpyro_models import MODELS
from benchmarks.contestants.staged import Staged

PACKAGES = ("numpyro", "jax", "jaxlib", "arviz-stats")
DTYPE = "float64"
DIAGONAL = ("gp_pois_regr-gp_pois_regr", "low_dim_gauss_mix-low_dim_gauss_mix", "sblrc-blr")
SEQUENTIAL = ("low_dim_gauss_mix-low_dim_gauss_mix",)


def build(settings: dict[str, Any]) -> DrawsRun:
    """The contestant for one posterior."""
    jax.config.update("jax_enable_x64", True)
    name, data = settings["posterior"], columns(settings)
    arrays = {name: x for name, x in data.items() if isinstance(x, np.ndarray)}
    sizes = {name: x for name, x in data.items() if name not in arrays}
    dense = settings.get("dense", name not in DIAGONAL)
    method = settings.get("method", "sequential" if name in SEQUENTIAL else "vectorized")
    values = start(settings)
    strategy = init_to_uniform if values is None else init_to_value(values=values)

    def chains(key: jax.Array, arrays: dict[str, jax.Array]) -> dict[str, jax.Array]:
        kernel = NUTS(MODELS[name], dense_mass=dense, init_strategy=strategy)
        mcmc = MCMC(
            kernel, num_warmup=settings["warmup"], num_samples=settings["draws"],
            num_chains=settings["chains"], chain_method=method, progress_bar=False,
        )  # fmt: skip
        mcmc.run(key, sizes | arrays)
        return mcmc.get_samples(group_by_chain=True)

    staged = Staged(chains)
    how = f"{'dense' if dense else 'diagonal'} metric, {method}"
    return DrawsRun(lambda i: staged(jax.random.key(i), arrays), settings, how)
