"""Numerics: the kernels in which rounding and speed decide, resampling and effective sample sizes.

Law: what an algorithm draws here it can also enumerate, from the same function of the same uniforms.
"""

from .ess import EssBelow, ess, ess_below, log_ess
from .picks import multinomial, residual
from .resampling import SCHEMES
from .scheme import Scheme
from .strata import stratified, systematic

__all__ = [
    "SCHEMES",
    "EssBelow",
    "Scheme",
    "ess",
    "ess_below",
    "log_ess",
    "multinomial",
    "residual",
    "stratified",
    "systematic",
]
