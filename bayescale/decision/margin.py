"""How far a decision is from another: which targets would be met how surely, and at which scale the answer turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.decision.meeting import meeting
from bayescale.decision.rules import Line, Threshold
from bayescale.infer.fit import Fit
from bayescale.prediction.mixing import fits_of, labels_of
from bayescale.prediction.parameters import Unseen
from bayescale.prediction.points import LINKED, At, Fitted, columns_of, columns_to_forecast, read_points
from bayescale.prediction.predict import predict

#: Probabilities at which the target that would be met is told, beside the one that was asked for.
PROBABILITIES = (0.5, 0.8, 0.9, 0.95, 0.99)
#: Scales at which the probability is told, as factors of the run that was asked for.
FACTORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Covariates that say how large a run is.
_SCALES = ("params", "tokens", "flops", "samples", "steps", "compute")


def target_margin(draws: xr.Dataset, rule: Threshold | Line, probabilities: Sequence[float] = PROBABILITIES) -> pd.DataFrame:
    """The strictest target that these draws meet with each probability.

    Parameters
    ----------
    draws : Dataset
        Of :func:`predict`, dims (chain, draw, point); all points must meet the target.
    rule : Threshold or Line
        Its own probability is among the rows, where there is one that can be asked for.
    probabilities : sequence of float

    Returns
    -------
    DataFrame
        ``probability``; ``target``, in the unit of the response (infinite where too many draws are not finite); ``margin``, by
        how much it is easier than the rule's (negative: stricter than what was asked, so that the rule is met with room).

    Examples
    --------
    >>> import bayescale as bs
    >>> z = np.linspace(1.8, 2.0, 1001).reshape(1, 1001, 1)
    >>> draws = xr.Dataset({"loss": (("chain", "draw", "point"), z)})
    >>> target_margin(draws, bs.Threshold("loss", "<=", 2.1), [0.5]).round(2).to_numpy().tolist()
    [[0.5, 1.9, -0.2], [0.9, 1.98, -0.12]]
    """
    sign = 1.0 if "<" in rule.op else -1.0
    own = {rule.probability} if 0 < rule.probability < 1 else set()
    asked = np.array(sorted({*probabilities, *own}))
    # An observed draw, not a point between two: the share of draws that meet it is then no less than what is asked.
    worst = sign * meeting(draws, (rule.target,)).worst[0].reshape(-1)
    found = sign * np.quantile(np.where(np.isnan(worst), np.inf, worst), asked, method="inverted_cdf")
    return pd.DataFrame({"probability": asked, "target": found, "margin": sign * (found - rule.value)})


def scale_margin(
    fit: Fitted,
    at: At,
    rule: Threshold | Line,
    *,
    factors: Sequence[float] = FACTORS,
    unseen: Unseen = "population",
    seed: int = 0,
) -> pd.DataFrame | None:
    """The probability that the same runs meet the target when they are larger or smaller.

    A law of params and tokens: both by the root of the factor, so that compute goes with it. A law of one covariate: that.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one
    at : DataFrame or dict
        The runs, as of :func:`predict`.
    rule : Threshold or Line
    factors : sequence of float
    unseen, seed
        As of :func:`predict`.

    Returns
    -------
    DataFrame or None
        ``factor``, the covariates of the first run, ``probability``; None where the law has no covariate, or several, of
        which one could say that the run is larger. The attribute ``along`` is what the factor multiplies.
    """
    fits = fits_of(fit)
    along = {_moved(one) for one in fits}
    if len(along) != 1 or not (moved := along.pop()):
        return None
    needed = tuple(dict.fromkeys(c for one in fits for c in columns_to_forecast(one)))
    points = read_points(fits[0], at, labels_of(fit), needed)
    if any(c in needed for c in LINKED if c not in moved) and set(moved) != {"params", "tokens"}:
        return None
    points = points.drop(columns=[c for c in LINKED if c in points and c not in moved])
    shares, firsts = [], []
    for factor in factors:
        # The same seed at every scale: the run itself has the probability that `decide` gives it, and the rest move smoothly.
        scaled = points.assign(**{c: points[c] * factor ** (1 / len(moved)) for c in moved})
        drawn = predict(fit, scaled, unseen=unseen, seed=seed)
        shares.append(meeting(drawn, (rule.target,)).probability)
        firsts.append(scaled[list(moved)].iloc[0].to_dict())
    table = pd.DataFrame({"factor": list(map(float, factors)), **pd.DataFrame(firsts), "probability": shares})
    table.attrs["along"] = "compute" if len(moved) == 2 else moved[0]
    return table


def turning_factor(table: pd.DataFrame, line: float) -> float | None:
    """The factor nearest to 1 at which the probability of :func:`scale_margin` passes a line; None where it does not.

    Examples
    --------
    >>> turning_factor(pd.DataFrame({"factor": [1.0, 10.0], "probability": [0.8, 1.0]}), 0.9).__round__(3)
    3.162
    """
    size, share = np.log(table["factor"].to_numpy()), table["probability"].to_numpy() - line
    passed = np.flatnonzero((share[:-1] >= 0) != (share[1:] >= 0))
    found = [size[i] - share[i] * (size[i + 1] - size[i]) / (share[i + 1] - share[i]) for i in passed]
    return float(np.exp(min(found, key=abs))) if found else None


def _moved(fit: Fit) -> tuple[str, ...]:
    """The covariates that make a run of this law larger; none where that is not plain."""
    columns = columns_of(fit)
    if set(columns) == {"params", "tokens"}:
        return ("params", "tokens")
    return columns if len(columns) == 1 and columns[0] in _SCALES else ()
