"""``Cost``: what a run costs, as declared; ``fit_cost`` in :mod:`bayescale.prediction.cost_fit` learns it from records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import DataError, SpecError
from bayescale.core.names import CHAIN, DRAW, POINT
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN, UNITS, breaches, read_numbers, rows_text
from bayescale.prediction.points import LINKED, At, as_frame, complete

Array = NDArray[np.float64]

#: The form of a cost that is declared without another.
SIX_ND = "6ND"
#: FLOP of a forward pass per parameter and token.
FLOP_PER_PARAM_SERVED = 2.0
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Cost:
    """What a run costs: ``price · (6·params·tokens + 2·params·inference_tokens)``, or another form.

    Parameters
    ----------
    form : str or callable
        ``"6ND"``; or a column that is counted (``"flops"``, ``"samples"``, ``"steps"``: a price per example, say); or a
        function of a table of points, one a row, to their costs, shape (point,).
    price : float
        Of one unit of the form: 2e-18 for a dollar per 5e17 FLOP.
    unit : str
        Of the cost. By default that of the form, ``"FLOP"``; with a price it must be said.
    inference_tokens : float
        Tokens that the trained model will serve, 2·params FLOP each :cite:p:`sardana2024`. With ``"6ND"`` only.

    Raises
    ------
    SpecError
        Naming everything that makes no sense: a negative price, a price without a unit.

    See Also
    --------
    fit_cost : the cost of runs like those whose compute was recorded, as draws.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = {"params": [1e9, 7e10], "tokens": [2e10, 1.4e12]}
    >>> print(bs.Cost()(runs))
    [1.20e+20 5.88e+23]
    >>> hours = bs.Cost.hours(4e14)  # of an accelerator that achieves 400 TFLOP/s
    >>> hours(runs).round().tolist(), hours.unit
    ([83.0, 408333.0], 'accelerator-hours')
    >>> bs.Cost.hours(4e14, price=2.0, unit="USD")(runs).round().tolist()
    [167.0, 816667.0]
    """

    form: str | Callable[[pd.DataFrame], Any] = SIX_ND
    price: float = 1.0
    unit: str = ""
    inference_tokens: float = 0.0

    def __post_init__(self) -> None:
        faults = []
        if not (callable(self.form) or (isinstance(self.form, str) and self.form.strip())):
            faults.append(f"form is '6ND', the name of a column, or a function of a table of points; got {self.form!r}")
        if not _number(self.price) or self.price <= 0:
            faults.append(f"price is a positive number, got {self.price!r}")
        if not _number(self.inference_tokens) or self.inference_tokens < 0:
            faults.append(f"inference_tokens is a number of at least 0, got {self.inference_tokens!r}")
        elif self.inference_tokens and self.form != SIX_ND:
            faults.append("inference_tokens goes with form='6ND': put what serving costs into the function")
        if not isinstance(self.unit, str):
            faults.append(f"unit is a word, got {self.unit!r}")
        elif not self.unit and (callable(self.form) or self.price != 1):
            faults.append("say the unit of the cost: unit='USD'")
        if faults:
            raise SpecError("cost: " + "; ".join(faults))
        if not self.unit:
            own = "FLOP" if self.form == SIX_ND else UNITS.get(str(self.form), str(self.form))
            object.__setattr__(self, "unit", own)

    @classmethod
    def hours(cls, flops_per_second: float, *, price: float = 1.0, unit: str = "", inference_tokens: float = 0.0) -> Cost:
        """Accelerator-hours, or what they are paid with.

        Parameters
        ----------
        flops_per_second : float
            FLOP that one accelerator achieves in a second of training (its peak times the utilisation).
        price : float
            Of an accelerator-hour, in ``unit``.
        unit : str
            By default ``"accelerator-hours"``; with a price it must be said.
        inference_tokens : float
            As of :class:`Cost`.
        """
        if not _number(flops_per_second) or flops_per_second <= 0:
            raise SpecError(f"cost: flops_per_second is a positive number, got {flops_per_second!r}")
        if not _number(price) or price <= 0:
            raise SpecError(f"cost: price is a positive number, got {price!r}")
        word = unit or ("accelerator-hours" if price == 1 else "")
        return cls(SIX_ND, price / (flops_per_second * SECONDS_PER_HOUR), word, inference_tokens)

    def __call__(self, at: At) -> Array:
        """Costs of runs, shape (point,), in ``unit``.

        Parameters
        ----------
        at : DataFrame or dict
            One run a row; ``params``, ``tokens``, ``flops`` and ``tokens_per_param`` follow from two of them.

        Raises
        ------
        DataError
            When a column is missing, or a cost is negative or not finite, with the rows.
        """
        frame = as_frame(at)
        if callable(self.form):
            known = {n: frame[n].to_numpy(float) for n in LINKED if n in frame}
            return self._checked(self.form(frame.assign(**complete(known, LINKED))), len(frame))
        if self.form == SIX_ND:
            read = read_columns(frame, ("params", "tokens"))
            return self._checked(self._flops(read["params"], read["tokens"]), len(frame))
        return self._checked(read_columns(frame, (self.form,))[self.form], len(frame))

    def draws(self, at: At, *, seed: int = 0) -> xr.DataArray:
        """The same as draws, dims (chain, draw, point): one, since nothing of a declared cost is uncertain."""
        values = self(at)
        return xr.DataArray(values[None, None], dims=(CHAIN, DRAW, POINT), attrs={"units": self.unit}, name="cost")

    def at_size(self, params: Array, tokens: Array) -> Array:
        """Costs of sizes and data, arrays that broadcast.

        Raises
        ------
        SpecError
            When the cost depends on more than these.
        """
        params, tokens = np.broadcast_arrays(np.asarray(params, dtype=float), np.asarray(tokens, dtype=float))
        if self.form == SIX_ND:
            return self.price * self._flops(params, tokens)
        columns = complete({"params": params.reshape(-1), "tokens": tokens.reshape(-1)}, LINKED)
        if isinstance(self.form, str):
            if self.form not in columns:
                raise SpecError(f"a cost by {self.form!r} says nothing of size and data, which this question is about")
            return self.price * columns[self.form].reshape(params.shape)
        return self._checked(self.form(pd.DataFrame(columns)), params.size).reshape(params.shape)

    @property
    def said(self) -> str:
        """The cost in a few words."""
        if callable(self.form):
            return str(getattr(self.form, "__name__", "stated"))
        form = "6·params·tokens" if self.form == SIX_ND else self.form
        served = f" + 2·params·{self.inference_tokens:.3g}" if self.inference_tokens else ""
        return f"{form}{served}" + (f" at {self.price:.3g} {self.unit}" if self.price != 1 else "")

    def _flops(self, params: Array, tokens: Array) -> Array:
        return params * (FLOP_PER_PARAM_TOKEN * tokens + FLOP_PER_PARAM_SERVED * self.inference_tokens)

    def _checked(self, values: Any, points: int) -> Array:
        try:
            out = self.price * np.broadcast_to(np.asarray(values, dtype=float), points)
        except (TypeError, ValueError):
            raise SpecError(f"the function of a cost gives a number a point, shape ({points},); got {values!r}") from None
        wrong = np.flatnonzero(~(np.isfinite(out) & (out >= 0)))
        if len(wrong):
            raise DataError(f"cost: expected a finite number of at least 0, got {out[wrong[0]]:.6g} in {rows_text(wrong)}")
        return out


def read_columns(frame: pd.DataFrame, names: tuple[str, ...]) -> dict[str, Array]:
    """Columns of a table of runs that a cost is of, derived where they follow from others, checked.

    Raises
    ------
    DataError
        Naming everything that is missing or wrong, with the rows.
    """
    sources = names if set(names) <= set(frame) else dict.fromkeys((*names, *LINKED))
    known, faults = {}, []
    for name in sources:
        if name in frame:
            values, odd, found = read_numbers(name, frame[name])
            faults += [f.message for f in (*found, *breaches(name, values, "covariate", told=odd))]
            known[name] = values
    with np.errstate(all="ignore"):  # a number that makes no sense is told among the faults
        known = complete(known, names)
    given = ", ".join(map(str, frame)) or "(none)"
    faults += [f"there is no {name!r}, which the cost is of. Given: {given}" for name in names if name not in known]
    if faults:
        raise DataError("the runs cannot be priced:", faults)
    return {name: known[name] for name in names}


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))
