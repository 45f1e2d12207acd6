"""Linear entries: the numbers that files hold, where a graph holds their natural logs.

Law, for a number x in a file, its log t in a graph, and the number w(t) that is written for t:
- zero and -inf stand for each other, and nothing else does: no positive number becomes zero, no finite log -inf;
- an entry that was read is written again as the same float64 number, as long as its log is still that of the entry;
- elsewhere w(t) is the float64 number whose log is nearest to t. Its log is t itself where |t| >= 1, and within 2**-53
  of t otherwise: near one, float64 has fewer numbers than logs;
- numbers beyond the normal range of float64, from 2.2e-308 to 1.8e308, are read and written as decimals, so that the
  same holds of their logs.

Why an entry has to be kept: for |t| > 1 many numbers share one log, 16 of them at t = -20.
"""

from __future__ import annotations

import decimal

import numpy as np

from lawful.errors import LawfulError

SMALLEST, LARGEST = np.finfo(np.float64).smallest_normal, np.finfo(np.float64).max
DIGITS = 17  # tell all float64 numbers apart
FAR = 3  # steps of float64 that an exponential and a logarithm of a machine may be off together
CONTEXT = decimal.Context(prec=40, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[])


def logs_of(entries: np.ndarray) -> np.ndarray:
    """Take natural logs, in float64; zero gives -inf.

    NumPy's, not those of an accelerator: these are equal wherever a number stands, and see numbers below 2.2e-308.
    """
    flat = np.asarray(entries, np.float64).reshape(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.ascontiguousarray(flat))
    for place in np.flatnonzero((flat > 0) & (flat < SMALLEST)).tolist():
        # Rounded correctly, so that a number and the decimals that it is written with have one log.
        logs[place] = float(CONTEXT.create_decimal_from_float(float(flat[place])).ln(CONTEXT))
    return logs.reshape(np.shape(entries))


def log_of_word(word: str) -> float:
    """Take the log of a positive number that a float64 cannot hold; infinite where a decimal cannot hold it either.

    >>> log_of_word("1e-400")
    -921.0340371976183
    """
    return float(CONTEXT.create_decimal(word).ln(CONTEXT))


def same_number(word: str, entry: float) -> bool:
    """Tell whether a float64 number is the number that a word means, within its digits.

    >>> same_number("5e-324", 5e-324), same_number("1.1125369292536007e-308", 1.1125369292536007e-308)
    (False, True)
    """
    if not 0 < entry < np.inf:
        return False
    exact = CONTEXT.create_decimal_from_float(entry)
    return abs(CONTEXT.create_decimal(word) - exact) <= exact * decimal.Decimal("1e-16")


def beyond(entries: np.ndarray) -> np.ndarray:
    """Mark numbers outside the normal range of float64, and zeros, which may have been too small to be read."""
    return (entries < SMALLEST) | (entries > LARGEST)


def is_zero(word: str) -> bool:
    """Tell whether a number in a file is zero, and not only small.

    >>> is_zero("0.0e5"), is_zero("1e-999")
    (True, False)
    """
    return not word.lower().partition("e")[0].strip("+-0.")


def entries_of(logs: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Find the numbers to write for logs; see the law of this module.

    Args:
        logs: natural logs in the precision of the graph, -inf allowed.
        known: entries as they were read, of the same shape, NaN where none is known.

    Returns: numbers in float64; NaN for those beyond its normal range, which `words_of` writes by their logs.

    >>> entries_of(np.array([np.log(0.25), -np.inf])).tolist()
    [0.25, 0.0]
    """
    target = np.asarray(logs, np.float64)
    with np.errstate(over="ignore", under="ignore"):
        found = start = np.exp(target)
        gap = _gap(found, target)
        for towards in (0.0, np.inf):
            other = start
            for _ in range(FAR):  # neighbours may share a log, so all are looked at
                other = np.nextafter(other, towards)
                closer = _gap(other, target) < gap
                found, gap = np.where(closer, other, found), np.where(closer, _gap(other, target), gap)
    outside = beyond(found) | (target > np.log(LARGEST))
    found = np.where(target == -np.inf, 0.0, np.where(outside, np.nan, found))
    if known is None:
        return found
    kept = logs_of(np.where(np.isnan(known), 1.0, known)).astype(logs.dtype) == logs
    return np.where(kept & ~np.isnan(known), known, found)


def words_of(entries: np.ndarray, logs: np.ndarray) -> list[str]:
    """Write numbers with 17 significant digits; those that are NaN by their logs.

    Raises: LawfulError for a log whose number is beyond decimals, too.

    >>> words_of(np.array([0.5, np.nan]), np.array([-0.69, -921.0340371976183]))
    ['0.5', '9.9999999999995580e-401']
    """
    words = list(map("%.17g".__mod__, entries.reshape(-1).tolist()))
    flat = np.asarray(logs, np.float64).reshape(-1)
    for k in np.flatnonzero(np.isnan(entries.reshape(-1))).tolist():
        number = CONTEXT.create_decimal(flat[k]).exp(CONTEXT)
        if not number or not number.is_finite():
            raise LawfulError(
                f"a log score of {flat[k]} is beyond all numbers that can be written. Fix: scale the table."
            )
        words[k] = f"{number:.{DIGITS - 1}e}"
    return words


def _gap(entries: np.ndarray, logs: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.abs(logs_of(entries) - logs)
