from . import check as check
from . import graphs as graphs
from . import kernels as kernels
from .algorithms.annealed_importance import annealed_importance as annealed_importance
from .algorithms.bp import BeliefPlan as BeliefPlan
from .algorithms.bp import bp as bp
from .algorithms.enumerated import Enumerated as Enumerated
from .algorithms.enumerated import enumerate as enumerate
from .algorithms.guide import guide as guide
from .algorithms.ibis import ibis as ibis
from .algorithms.importance import importance as importance
from .algorithms.infer import InferPlan as InferPlan
from .algorithms.infer import infer as infer
from .algorithms.maximise import maximise as maximise
from .algorithms.mcmc import mcmc as mcmc
from .algorithms.method import Method as Method
from .algorithms.method import call as call
from .algorithms.method import method as method
from .algorithms.parallel_tempering import parallel_tempering as parallel_tempering
from .algorithms.particle_gibbs import particle_gibbs as particle_gibbs
from .algorithms.pmmh import pmmh as pmmh
from .algorithms.smc import particle_filter as particle_filter
from .algorithms.smc import smc as smc
from .algorithms.smc2 import smc2 as smc2
from .algorithms.tempered_smc import tempered_smc as tempered_smc
from .checkpoints.journal import Journal as Journal
from .checkpoints.journal import LongStep as LongStep
from .contract import Transformer as Transformer
from .devices.island_resampling import Islands as Islands
from .findings.evidence import pooled_evidence as pooled_evidence
from .findings.findings import Finding as Finding
from .findings.findings import Limits as Limits
from .findings.findings import Status as Status
from .kernels.particles.hmc import population_hmc as population_hmc
from .kernels.particles.move import move as move
from .kernels.particles.walk import population_walk as population_walk
from .laws.resampling_schemes import ess_below as ess_below
from .laws.symmetric_mixture import SymmetricMixture as SymmetricMixture
from .plans.plan import Plan as Plan
from .plans.resuming import resume as resume
from .representations.annealing_paths import data_by_data as data_by_data
from .representations.annealing_paths import prior_to_posterior as prior_to_posterior
from .representations.element_terms import LogMarginals as LogMarginals
from .representations.long_format import Wide as Wide
from .representations.long_format import wide as wide
from .representations.population import Advance as Advance
from .representations.sequential import Suspend as Suspend
from .representations.sequential import sequential as sequential
from .representations.sequential import suspend as suspend
from .representations.traced import Trace as Trace
from .results.compare import compare as compare
from .results.compare import model_probabilities as model_probabilities
from .results.conditional_means import conditional_means as conditional_means
from .results.optima import Optima as Optima
from .results.optima import Optimum as Optimum
from .results.predictive import Predictive as Predictive
from .results.predictive import predictive as predictive
from .results.recover import recover as recover
from .results.result import Result as Result
from .results.scores import Errors as Errors
from .results.scores import LeftOut as LeftOut
from .results.scores import information as information
from .results.scores import leave_one_out as leave_one_out
from .results.scores import parameter_names as parameter_names
from .results.scores import robust_errors as robust_errors
from .results.scores import scores as scores
from .running.bar import (
    progress_bar as progress_bar,
)
from .running.chunks import Chunk as Chunk
from .running.jobs import map_parts as map_parts
from .running.jobs import parts_for_cores as parts_for_cores
from .running.options import RunOptions as RunOptions
from .running.progress import (
    Progress as Progress,
)
from .running.progress import (
    log_to as log_to,
)
from .running.progress import (
    stop_when as stop_when,
)
from .transformers.collapse import Collapse as Collapse
from .transformers.enumeration import Enumeration as Enumeration
from .transformers.enumeration import enumeration as enumeration
from .transformers.gaussian.integrate_normals import integrate_normals as integrate_normals
from .transformers.gaussian.moments import NormalMoments as NormalMoments
from .transformers.gaussian.moments import filtered as filtered
from .transformers.gaussian.moments import smoothed as smoothed
from .transformers.gaussian.share_regression import ShareRegression as ShareRegression
from .transformers.gaussian.share_regression import share_regression as share_regression
from .transformers.gaussian.share_regression import share_regression_of_sums as share_regression_of_sums
from .transformers.log_marginals import log_marginals as log_marginals
from .transformers.log_predictives import log_predictives as log_predictives
from .transformers.marginalise import marginalise as marginalise
from .transformers.nested import nested as nested
from .transformers.noncentred import noncentred as noncentred
from .transformers.pauses import Finish as Finish
from .transformers.pauses import repeat_to_end as repeat_to_end
from .transformers.pauses import spawn as spawn
from .transformers.propose.fitted_proposals import local_proposals as local_proposals
from .transformers.propose.guide import Guide as Guide
from .transformers.propose.laplace_mixture import LaplaceMixtures as LaplaceMixtures
from .transformers.propose.laplace_mixture import laplace_mixture as laplace_mixture
from .transformers.propose.propose import propose as propose
from .transformers.propose.propose import propose_each as propose_each
from .transformers.propose.start_from import start_from as start_from
from .transformers.rejuvenation import rejuvenate as rejuvenate
from .transformers.rejuvenation import waste_free as waste_free
from .transformers.resample import PushEvidence as PushEvidence
from .transformers.resample import resample as resample
from .transformers.reweigh.selected import selected as selected
from .transformers.reweigh.tilt import tilt as tilt
from .transformers.reweigh.unmask import unmask as unmask
from .transformers.temper import temper as temper
from .transformers.temperatures import by_ess as by_ess

__all__: list[str]
