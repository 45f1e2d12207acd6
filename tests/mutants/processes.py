"""Planted faults in the covariances of Gaussian processes."""

from lawful.models import covariances, gaussian_process
from tests.mutants.patching import patched, rewritten


def kink_by_rule():
    """Derivatives of Matern's kernel take |u| to have the derivative 0 at 0."""
    return patched(covariances, "_decay", lambda original: original.fun)


def operator_on_one_argument():
    """Covariances from lags have the operator on the first argument alone."""
    return rewritten(gaussian_process, "even_covariance", "operator, operator)", "operator)")
