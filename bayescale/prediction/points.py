"""The points at which something is asked: a table of covariates and group labels, checked and completed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import DataError, SpecError
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.data.runs import Runs
from bayescale.data.schema import (
    FLOP_PER_PARAM_TOKEN,
    TOKENS_PER_PARAM,
    breaches,
    near,
    passes_below_one,
    read_labels,
    read_numbers,
)
from bayescale.infer.ensemble import Ensemble, EnsembleSelection
from bayescale.infer.fit import Fit, Selection
from bayescale.models.binding import axis_of_path, epochs_column
from bayescale.models.discrepancy import SmoothMisfit
from bayescale.models.noise import BestOf

Array = NDArray[np.float64]
#: What can be asked: a fit, several with weights, or a group of either.
Fitted = Fit | Selection | Ensemble | EnsembleSelection
#: A table, one point a row, or one column each: numbers and labels, or lists of them.
At = pd.DataFrame | Runs | Mapping[str, Any]

#: Any two of these give the other two, by flops = 6·params·tokens.
LINKED = ("params", "tokens", "flops", TOKENS_PER_PARAM)


def unpack(fit: Fitted) -> tuple[Fit, dict[str, str]]:
    """The fit itself, and the group labels that a selection of it fixes; an ensemble is refused."""
    if isinstance(fit, Selection):
        return fit.fit, dict(fit.labels)
    if isinstance(fit, Ensemble | EnsembleSelection):
        whole = fit.ensemble if isinstance(fit, EnsembleSelection) else fit
        raise SpecError(f"expected one fit, got an ensemble: ask one of its members, ensemble.fits[{next(iter(whole.fits))!r}]")
    if not isinstance(fit, Fit):
        raise SpecError(f"expected a Fit, or a part of one (fit.select(...)), got {type(fit).__name__}")
    return fit, {}


def columns_of(fit: Fit) -> tuple[str, ...]:
    """The columns from which the law of a fit reads its covariates."""
    axes = fit.binding.axes
    return tuple(axes[c] for c in fit.model.law.covariates)


def columns_to_forecast(fit: Fit) -> tuple[str, ...]:
    """The columns of the law, and those along which its discrepancy and its noise go."""
    moves = fit.model.discrepancy is not None or fit.binding.noise_reference is not None
    along = [axis_of_path(fit.model, fit.binding.axes, fit.data)] if moves else []
    second = [part.along for part in fit.model.parts if isinstance(part, SmoothMisfit)]
    return tuple(dict.fromkeys((*columns_of(fit), *along, *second)))


def complete(known: Mapping[str, Array], wanted: Iterable[str]) -> dict[str, Array]:
    """Covariates that are known, and those of ``wanted`` that follow from them by ``flops = 6 params tokens``.

    Parameters
    ----------
    known : mapping of covariate to array
        Arrays broadcast.
    wanted : iterable of str

    Returns
    -------
    dict of covariate to array
        What cannot be told is not in it.

    Examples
    --------
    >>> found = complete({"params": np.array([1e9]), "tokens_per_param": np.array([20.0])}, ["tokens", "flops"])
    >>> [f"{found[name].item():.1e}" for name in ("tokens", "flops")]
    ['2.0e+10', '1.2e+20']
    """
    out = dict(known)
    missing = [name for name in wanted if name in LINKED and name not in out]
    if not missing:
        return out
    params, tokens, flops, ratio = (out.get(name) for name in LINKED)
    if params is None and tokens is not None:
        params = flops / (FLOP_PER_PARAM_TOKEN * tokens) if flops is not None else None if ratio is None else tokens / ratio
    if params is None and flops is not None and ratio is not None:
        params = np.sqrt(flops / (FLOP_PER_PARAM_TOKEN * ratio))
    if tokens is None and params is not None:
        tokens = flops / (FLOP_PER_PARAM_TOKEN * params) if flops is not None else None if ratio is None else params * ratio
    if params is not None and tokens is not None:
        all_four = (params, tokens, FLOP_PER_PARAM_TOKEN * params * tokens, tokens / params)
        found = dict(zip(LINKED, all_four, strict=True))
        out |= {name: found[name] for name in missing}
    return out


def read_points(fit: Fit, at: At, labels: Mapping[str, str], needed: Iterable[str]) -> pd.DataFrame:
    """The points of ``at`` as a table with the ``needed`` covariates, checked, all faults at once.

    Parameters
    ----------
    labels : mapping of group column to label
        Of the selection; they hold at every point.
    needed : iterable of str
        Covariates that must be there or follow from others.

    Returns
    -------
    DataFrame, shape (points, columns)
        Covariates in float64, ``<response>_sd`` where it is given (0 where it is not known), group labels and other text as
        text; ``""`` where a label is missing. The response is left out.

    Raises
    ------
    DataError
        Naming everything that is wrong, with the rows.
    """
    # A table of runs or of draws may be given as it is: none of these columns has to be there.
    frame = as_frame(at).drop(columns=[fit.response, CHAIN, DRAW, POINT], errors="ignore")
    faults: list[str] = []
    for column, label in labels.items():
        if column in frame and (frame[column].astype(str) != label).any():
            faults.append(f"{column} is {label!r} by the selection, and something else in `at`: leave it out of `at`")
        frame[column] = label
    error, needed = f"{fit.response}_sd", tuple(needed)
    # Others of the four are read only where something must follow from them: an unused column may hold anything.
    sources = needed if set(needed) <= set(frame) else dict.fromkeys((*needed, *LINKED))
    numbers: dict[str, Array] = {}
    for name in (*sources, error):
        if name not in frame:
            continue
        values, odd, found = read_numbers(name, frame[name])
        found += breaches(name, values, "response_sd" if name == error else "covariate", told=odd)
        faults += [fault.message for fault in found]
        if name == epochs_column(fit.model, fit.binding.axes):
            faults += [fault.message for fault in passes_below_one(name, values)]
        numbers[name] = np.nan_to_num(values) if name == error else values
    with np.errstate(all="ignore"):  # a number that makes no sense is told among the faults
        numbers = complete(numbers, needed)
    faults += [_lacking(fit, name, frame) for name in needed if name not in numbers]
    tries = {fit.model.noise.column} if isinstance(fit.model.noise, BestOf) else set()
    faults += _misspelt(frame, {*fit.model.group_columns, error, *tries})
    if faults:
        raise DataError("the points asked for cannot be used:", faults)
    groups = {*fit.data.groups, *fit.model.group_columns}
    return pd.DataFrame({**_others(frame, groups, numbers), **numbers}, index=frame.index)


def coordinates_of(table: pd.DataFrame, response: str) -> dict[str, Any]:
    """The columns of a table of points as coordinates along them."""
    shown = [str(name) for name in table if name not in (response, f"{response}_sd", CHAIN, DRAW, POINT)]
    return {POINT: np.arange(len(table)), **{name: (POINT, table[name].to_numpy()) for name in shown}}


def scalars_only(at: At | None) -> bool:
    """Whether ``at`` speaks of one point, in numbers and labels that are not in lists."""
    return at is None or (isinstance(at, Mapping) and all(_is_scalar(value) for value in at.values()))


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str) or np.ndim(value) == 0


def as_frame(at: At) -> pd.DataFrame:
    """A new frame, its rows numbered from 0; numbers and labels alone are repeated along the lists beside them."""
    if isinstance(at, Runs):
        at = at.table
    if isinstance(at, pd.DataFrame):
        if not len(at):
            raise DataError("`at` is an empty table: expected at least one point a row")
        return at.reset_index(drop=True).copy()
    if not isinstance(at, Mapping):
        raise DataError(f"`at` is a DataFrame or a dict such as {{'params': [1e9, 1e10]}}, got {type(at).__name__}")
    cells = {str(k): [v] if _is_scalar(v) else list(v) for k, v in at.items()}
    lengths = {name: len(v) for name, v in cells.items() if not _is_scalar(at.get(name, 0))}
    size = max(lengths.values(), default=1)
    if not size or any(n not in (1, size) for n in lengths.values()):
        told = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise DataError(f"the lists in `at` must have one length, and not be empty; got {told}")
    return pd.DataFrame({name: v * size if len(v) == 1 else v for name, v in cells.items()}, index=range(size))


def _lacking(fit: Fit, name: str, frame: pd.DataFrame) -> str:
    meant = near(name, [str(c) for c in frame])
    guess = f" Did you mean {meant!r}?" if meant else ""
    given = ", ".join(map(str, frame)) or "(none)"
    return f"there is no {name!r}, which the law {fit.model.law.name!r} needs.{guess} Given: {given}"


def _misspelt(frame: pd.DataFrame, words: set[str]) -> list[str]:
    """A column that is spelt nearly like a group column is a slip, which would silently ask for an unseen group."""
    faults = []
    for name in map(str, frame):
        meant = get_close_matches(name, sorted(words - set(frame)), n=1, cutoff=0.8) if name not in words else []
        if meant:
            faults.append(f"column {name!r} is not known. Did you mean {meant[0]!r}? If not, drop or rename it")
    return faults


def _others(frame: pd.DataFrame, groups: set[str], numbers: Mapping[str, Array]) -> dict[str, Any]:
    """Labels as text, and other columns as they are where they are numbers."""
    out: dict[str, Any] = {}
    for name in frame:
        column = frame[name]
        if name in numbers or not isinstance(name, str) or isinstance(column, pd.DataFrame):
            continue
        numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
        if numeric and name not in groups:
            out[name] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            out[name] = np.array(read_labels(column)[0], dtype=object)
    return out
