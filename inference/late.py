"""Late: libraries that are loaded when they are first used, since most runs never do, and loading them takes seconds.

Law: a name here stands for the library of that name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


class Late:
    """A library, loaded when something of it is first read.

    >>> Late("math").sqrt(4.0)
    2.0
    """

    def __init__(self, name: str) -> None:
        """Load nothing yet."""
        self._name = name

    def __getattr__(self, name: str) -> Any:
        """Read a name of the library."""
        return getattr(import_module(self._name), name)


if TYPE_CHECKING:
    import arviz_base as arviz_base
    import pandas as pandas
    import xarray as xarray
    import zarr as zarr

    arviz_stats: Any  # it does not say which of its names are public
    figures: Any
else:
    arviz_base, arviz_stats, figures = Late("arviz_base"), Late("arviz_stats"), Late("matplotlib.figure")
    pandas, xarray, zarr = Late("pandas"), Late("xarray"), Late("zarr")
