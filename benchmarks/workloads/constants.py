"""Constants that several workloads share."""

from __future__ import annotations

import numpy as np

LOG_TWO_PI = float(np.log(2 * np.pi))
