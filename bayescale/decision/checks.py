"""``check``: everything wrong or worrying about a table, before any fitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bayescale.core.findings import Review
from bayescale.data.inspection import inspect_runs
from bayescale.data.runs import Runs

#: What a table without faults is checked for. These alone do not judge a fit, so no GO rests on them.
TABLE_CHECKS = frozenset(
    {"columns", "scales", "variation", "collinearity", "trend", "groups", "replicates", "rounding", "conventions"}
)


def check(
    data: pd.DataFrame | Runs,
    *,
    columns: Mapping[str, str] | None = None,
    groups: Sequence[str] = (),
    response: str = "loss",
    units: Mapping[str, str] | None = None,
    conventions: Mapping[str, str] | None = None,
    covariates: Sequence[str] | None = None,
    positive_response: bool = True,
) -> Review:
    """Everything wrong (FAIL) or worrying (REVIEW) about a table of runs; faults of the table are findings, not errors.

    Parameters
    ----------
    data : DataFrame or Runs
        One row a run.
    columns : mapping, optional
        Our name of a column to the table's: ``{"loss": "loss_nats"}``.
    groups, response, units, conventions, covariates, positive_response
        As in :meth:`Runs.from_frame`.

    Returns
    -------
    Review
        FAIL when the table cannot be fitted; it judges no fit, which is what :func:`review` does.

    Examples
    --------
    >>> import pandas as pd
    >>> import bayescale as bs
    >>> found = bs.check(pd.DataFrame({"params": [1e8, 1e9, 1e10], "loss": [3.2, 2.8, -1.0]}))
    >>> found.status
    <Status.FAIL: 'FAIL'>
    >>> [f.check for f in found.only(bs.Status.FAIL)]
    ['response']
    """
    return Review(
        inspect_runs(
            data,
            columns=columns,
            groups=groups,
            response=response,
            units=units,
            conventions=conventions,
            covariates=covariates,
            positive_response=positive_response,
        )
    )
