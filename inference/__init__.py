"""lawful.inference: algorithms as short compositions of lawful transformers.

`inference.smc(model, particles=1000)(key, *args)`: an inference is built from a model and called with a key and the
model's arguments.
"""

if __name__ == "inference":
    raise ImportError(
        "import lawful.inference, not inference: "
        "the folder inference/ is installed as the package lawful.inference (run make setup)"
    )

from . import check, factor_graphs, kernels
from .annealed_importance import annealed_importance
from .bp import BeliefPlan, bp
from .compare import compare
from .conditional_means import conditional_means
from .enumerate_sites import Enumeration, enumerate_sites, enumeration
from .findings import Finding, Limits, Status
from .integrate_normals import integrate_normals
from .ladders import by_ess
from .local_proposals import local_proposals
from .marginalise import marginalise
from .mcmc import mcmc
from .moving import move
from .nesting import nested
from .noncentred import noncentred
from .parallel_tempering import parallel_tempering
from .particle_mcmc import particle_gibbs, pmmh
from .paths import data_by_data, prior_to_posterior
from .peers import blackjax_nuts, numpyro_nuts
from .population_cycle import population_cycle
from .population_hmc import population_hmc
from .population_walk import population_walk
from .predictive import Predictive, predictive
from .propose import propose, propose_each
from .recovery import EnumeratedPlan, recover
from .rejuvenation import rejuvenate, waste_free
from .representations.enumerated import Enumerated, enumerate
from .representations.sequential import Suspend, sequential, suspend
from .representations.traced import Trace
from .result import Result
from .running.driver import Chunk
from .running.options import RunOptions
from .running.progress import Progress, log_to, progress_bar, stop_when
from .running.resuming import resume
from .sharding.resampling import Islands
from .smc import importance, particle_filter, smc
from .smc2 import ibis, smc2
from .tempered_smc import tempered_smc
from .tempering import temper
from .transformer import Transformer
from .transformers import Advance, Collapse, Finish, PushEvidence, ess_below, repeat_to_end, resample, spawn

__all__ = [
    "BeliefPlan",
    "annealed_importance",
    "Advance",
    "Chunk",
    "Collapse",
    "Enumerated",
    "EnumeratedPlan",
    "Enumeration",
    "Finding",
    "Finish",
    "Islands",
    "Limits",
    "Predictive",
    "Progress",
    "PushEvidence",
    "Result",
    "RunOptions",
    "Status",
    "Suspend",
    "Trace",
    "Transformer",
    "blackjax_nuts",
    "bp",
    "by_ess",
    "check",
    "compare",
    "conditional_means",
    "data_by_data",
    "enumerate",
    "enumerate_sites",
    "enumeration",
    "factor_graphs",
    "ess_below",
    "ibis",
    "importance",
    "integrate_normals",
    "kernels",
    "log_to",
    "marginalise",
    "mcmc",
    "move",
    "nested",
    "noncentred",
    "numpyro_nuts",
    "parallel_tempering",
    "particle_filter",
    "particle_gibbs",
    "pmmh",
    "population_cycle",
    "population_hmc",
    "population_walk",
    "predictive",
    "prior_to_posterior",
    "progress_bar",
    "local_proposals",
    "propose",
    "propose_each",
    "recover",
    "rejuvenate",
    "repeat_to_end",
    "resample",
    "resume",
    "sequential",
    "smc",
    "smc2",
    "spawn",
    "stop_when",
    "suspend",
    "temper",
    "tempered_smc",
    "waste_free",
]


def __dir__() -> list[str]:
    """List the public names; submodules can be imported none the less."""
    return sorted(__all__)
