"""lawful.inference: algorithms as short compositions of lawful transformers.

`inference.smc(model, particles=1000)(key, *args)`: an inference is built from a model and called with a key and the
model's arguments.
"""

if __name__ == "inference":
    raise ImportError(
        "import lawful.inference, not inference: "
        "the folder inference/ is installed as the package lawful.inference (run make setup)"
    )

from . import check, graphs, kernels
from .algorithms.annealed_importance import annealed_importance
from .algorithms.bp import BeliefPlan, bp
from .algorithms.enumerated import Enumerated, enumerate
from .algorithms.mcmc import mcmc
from .algorithms.parallel_tempering import parallel_tempering
from .algorithms.particle_mcmc import particle_gibbs, pmmh
from .algorithms.peers import blackjax_nuts, numpyro_nuts
from .algorithms.smc import importance, particle_filter, smc
from .algorithms.smc2 import ibis, smc2
from .algorithms.tempered_smc import tempered_smc
from .contract import Transformer
from .devices.island_resampling import Islands
from .findings.findings import Finding, Limits, Status
from .kernels.particles.cycle import population_cycle
from .kernels.particles.hmc import population_hmc
from .kernels.particles.move import move
from .kernels.particles.walk import population_walk
from .laws.ess import ess_below
from .plans.enumerated_plan import EnumeratedPlan
from .plans.resuming import resume
from .representations.annealing_paths import data_by_data, prior_to_posterior
from .representations.sequential import Suspend, sequential, suspend
from .representations.suspended import Advance
from .representations.traced import Trace
from .results.compare import compare
from .results.conditional_means import conditional_means
from .results.predictive import Predictive, predictive
from .results.recover import recover
from .results.result import Result
from .running.driver import Chunk
from .running.options import RunOptions
from .running.progress import Progress, log_to, progress_bar, stop_when
from .summing.enumerate_sites import Enumeration, enumerate_sites, enumeration
from .transformers.collapse import Collapse
from .transformers.gaussian.integrate_normals import integrate_normals
from .transformers.marginalise import marginalise
from .transformers.nested import nested
from .transformers.noncentred import noncentred
from .transformers.pauses import Finish, repeat_to_end
from .transformers.propose.fitted_proposals import local_proposals
from .transformers.propose.propose import propose, propose_each
from .transformers.push_evidence import PushEvidence
from .transformers.rejuvenation import rejuvenate, waste_free
from .transformers.resample import resample
from .transformers.spawn import spawn
from .transformers.temper import temper
from .transformers.temperatures import by_ess

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
    "graphs",
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
