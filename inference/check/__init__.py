"""Check: every claim of a transformer, kernel or estimator as a test with a false-alarm rate and a stated power.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results, plans, algorithms.
"""

from ..contract import Contract
from ..eager.atoms import Atoms
from ..eager.decisions import decision
from . import strategies
from .exact.exact_checks import preserves
from .exact.invariance import invariant
from .exact.measure import Comparison, Measure, Trace, compare, freeze
from .exact.reference import enumerate_measure
from .exact.resamplers import BATTERY, resampler
from .identities.coordinates import coordinates
from .identities.identities import mh_symmetry
from .identities.integral import integral
from .identities.integrator import integrator
from .identities.involutions import involution
from .identities.maximum import maximum
from .identities.orbit import orbit
from .programs.grammar import random_program
from .programs.limits import Limits
from .programs.programs import FiniteProgram
from .rows.law import check_row
from .statistics.estimates import one
from .statistics.geweke import geweke
from .statistics.keys import ALPHA, CAPACITY, SUITE_ALPHA, Registry, key_of, stage_keys
from .statistics.power import min_detectable, min_samples
from .statistics.report import Report
from .statistics.sandwich import Sandwich, evidence_sandwich
from .statistics.sbc import sbc
from .statistics.sequential import SequentialRule, Verdict
from .statistics.statistical import unbiased
from .statistics.two_sample import two_sample

__all__ = [
    "ALPHA",
    "Atoms",
    "BATTERY",
    "CAPACITY",
    "Comparison",
    "Contract",
    "FiniteProgram",
    "Limits",
    "Measure",
    "Registry",
    "Report",
    "SUITE_ALPHA",
    "Sandwich",
    "SequentialRule",
    "Trace",
    "Verdict",
    "check_row",
    "compare",
    "coordinates",
    "decision",
    "enumerate_measure",
    "evidence_sandwich",
    "freeze",
    "geweke",
    "integral",
    "integrator",
    "invariant",
    "involution",
    "key_of",
    "maximum",
    "mh_symmetry",
    "min_detectable",
    "min_samples",
    "one",
    "orbit",
    "preserves",
    "random_program",
    "resampler",
    "sbc",
    "stage_keys",
    "strategies",
    "two_sample",
    "unbiased",
]


def __dir__() -> list[str]:
    """List the public names; submodules can be imported none the less."""
    return sorted(__all__)
