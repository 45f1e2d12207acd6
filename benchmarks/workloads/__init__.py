"""What is timed: data, seeds and exact answers of every workload, in NumPy alone so that each environment imports it.

Law: the check values of the data and the exact answers are fixed numbers, tested in tests/benchmarks/. One file holds
one workload; `answers` is what the harness compares with.
"""

from .answers import MOMENTS as MOMENTS
from .answers import exact_answers as exact_answers
from .answers import posterior_means as posterior_means
from .answers import posterior_scales as posterior_scales
from .constants import LOG_TWO_PI as LOG_TWO_PI
from .w1 import MODELS as MODELS
from .w1 import STEPS as STEPS
from .w1 import StateSpace as StateSpace
from .w1 import kalman_filter as kalman_filter
from .w1 import observations as observations
from .w1 import point_mass_filter as point_mass_filter
from .w2 import PREDICTORS as PREDICTORS
from .w2 import REGRESSION_MEAN as REGRESSION_MEAN
from .w2 import REGRESSION_SCALE as REGRESSION_SCALE
from .w2 import ROWS as ROWS
from .w2 import regression as regression
from .w2 import regression_evidence as regression_evidence
from .w2 import regression_laplace as regression_laplace
from .w2 import regression_starts as regression_starts
from .w2 import regression_walk as regression_walk
from .w3b import LABELLED as LABELLED
from .w3b import MIXTURE_MEAN as MIXTURE_MEAN
from .w3b import MIXTURE_PRIOR as MIXTURE_PRIOR
from .w3b import MIXTURE_SCALE as MIXTURE_SCALE
from .w3b import MIXTURE_START as MIXTURE_START
from .w3b import MIXTURE_WEIGHT as MIXTURE_WEIGHT
from .w3b import mixture as mixture
from .w3b import mixture_moments as mixture_moments
from .w3b import mixture_starts as mixture_starts
from .w4 import SCHOOLS_MEAN as SCHOOLS_MEAN
from .w4 import SCHOOLS_SCALE as SCHOOLS_SCALE
from .w4 import schools as schools
from .w4 import schools_moments as schools_moments
from .w5a import COUPLING as COUPLING
from .w5a import potts_marginals as potts_marginals
from .w5a import potts_scores as potts_scores
from .w5b import HIDDEN_LOG_LIKELIHOOD as HIDDEN_LOG_LIKELIHOOD
from .w5b import HIDDEN_STEPS as HIDDEN_STEPS
from .w5b import hidden as hidden
from .w5b import hidden_answers as hidden_answers
from .w5c import ALARM_EVIDENCE as ALARM_EVIDENCE
from .w5c import ALARM_LOG_EVIDENCE as ALARM_LOG_EVIDENCE
from .w5c import alarm_answers as alarm_answers
from .w5c import alarm_file as alarm_file
from .w5c import alarm_marginals as alarm_marginals
from .w5c import alarm_states as alarm_states
from .w5c import alarm_tables as alarm_tables
from .w5d import BAGS as BAGS
from .w5d import CHECKED_BAGS as CHECKED_BAGS
from .w5d import bags as bags
from .w5d import count_messages as count_messages
from .w5d import count_potentials as count_potentials
from .w5e import ATTRACTION as ATTRACTION
from .w5e import REPULSION as REPULSION
from .w5e import count_marginals as count_marginals
from .w5e import count_scores as count_scores
from .w5e import pair_marginals as pair_marginals
from .w5e import pairs as pairs
from .w7 import CHAIN_VALUE as CHAIN_VALUE
from .w7 import chain_answers as chain_answers
from .w7 import chain_data as chain_data
