"""The law: every claim of a transformer, kernel or estimator as a test with a false-alarm rate and a stated power."""

from . import strategies
from .atoms import Atoms
from .contracts import Contract
from .coordinates import coordinates
from .estimates import one
from .exact import preserves
from .geweke import geweke
from .grammar import random_program
from .identities import mh_symmetry
from .integrator import integrator
from .invariance import invariant
from .involutions import involution
from .keys import ALPHA, CAPACITY, SUITE_ALPHA, Registry, key_of, stage_keys
from .law import check_row
from .limits import Limits
from .measure import Comparison, Measure, Trace, compare, freeze
from .orbit import orbit
from .power import min_detectable, min_samples
from .programs import FiniteProgram
from .reference import decision, enumerate_measure
from .report import Report
from .resamplers import BATTERY, resampler
from .sandwich import Sandwich, evidence_sandwich
from .sbc import sbc
from .sequential import SequentialRule, Verdict
from .statistical import unbiased
from .two_sample import two_sample

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
    "integrator",
    "invariant",
    "involution",
    "key_of",
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
