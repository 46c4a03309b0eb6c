"""``backtest``: fit below a cut-off, forecast what lies above it, and score the forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayescale.core.errors import DataError, SpecError, unknown
from bayescale.core.names import CHAIN, DRAW, ROW
from bayescale.data.runs import Runs, as_runs
from bayescale.data.schema import TOKENS_PER_PARAM
from bayescale.evaluate.recommend import is_positive, recommended
from bayescale.evaluate.recalibrate import conformal_factor, residuals, stretched
from bayescale.evaluate.scores import LEVELS, Array, covered, percent, rmsle, score
from bayescale.infer.batch import fit_many
from bayescale.infer.fit import Fit, fit
from bayescale.infer.progress import progress_bar
from bayescale.infer.samplers import Hmc, Sampler
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.predict import predict
