"""Priors of exponents from the literature: a random-effects meta-analysis of published fits."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from bayescale.laws.base import Law
from bayescale.laws.param import Param
from bayescale.models.studies import NON_EMBEDDING, PUBLISHED, TOTAL, Published

#: Independent studies below which an exponent keeps its weak prior.
FEWEST = 3

#: Relative standard error taken for a fit that prints none: about twice that of the best documented one.
UNPRINTED_ERROR = 0.1

#: Scale of the half-normal prior on the spread between studies, on the link scale.
BETWEEN_STUDIES = 0.3

_WIDTH = {"95% bootstrap": 2 * 1.959964, "10th-90th bootstrap percentile": 2 * 1.281552}
_COLUMNS = ["parameter", "fit", "study", "cite", "x", "size", "value", "log_se", "used", "reason", "source"]


def literature_priors(
    law: Law, conventions: Mapping[str, str] | None = None, *, without: Collection[str] = ()
) -> dict[str, Param]:
    """Priors of a law's exponents from published fits of the same form and size convention.

    An exponent gets one when at least three independent studies speak of it; fits of the same runs are one study. Amplitudes
    and floors get none, since they depend on the text and the tokenizer. With the bundled table these are ``alpha`` and
    ``beta`` of ``chinchilla`` for total parameters; see :func:`literature_table`.

    Parameters
    ----------
    law : Law
        The law.
    conventions : mapping, optional
        What the table to be fitted counts; ``{"params": "non-embedding"}``. Parameters are taken as total when it is silent,
        and no study matches a word other than these two.
    without : collection of str, optional
        Bib keys of studies to leave out, when the table to be fitted is one of them.

    Returns
    -------
    dict of str to Param
        Only the exponents that have a literature prior; the others keep the law's own, weak one.

    Notes
    -----
    Study i found ``y_i`` on the link (log) scale, with standard error ``s_i``; ``y_i ~ Normal(theta_i, s_i)``,
    ``theta_i ~ Normal(mu, tau)``, ``mu`` with the weak prior ``Normal(m_0, s_0)`` of the law, ``tau ~ HalfNormal(0.3)``.
    Given ``tau``, with ``w_i = 1/(s_i^2 + tau^2)`` and ``W = 1/s_0^2 + sum w_i``, ``mu`` is normal with mean
    ``m = (m_0/s_0^2 + sum w_i y_i)/W`` and variance ``1/W``, and a new study's exponent has mean ``m`` and variance
    ``tau^2 + 1/W`` (:cite:t:`gelman2013`, section 5.4; :cite:t:`roever2020`). ``tau`` is summed out on a grid, weighted by its
    posterior, and the prior is the normal with the resulting mean and variance. A plug-in estimate of ``tau`` would often be
    0 with so few studies. Studies that tie alpha to beta count for both. Several fits of one study (corpora) are averaged.

    Examples
    --------
    >>> from bayescale.laws.base import get_law
    >>> from bayescale.models.literature import literature_priors
    >>> sorted(literature_priors(get_law("chinchilla")))
    ['alpha', 'beta']
    >>> literature_priors(get_law("chinchilla"), without=["hoffmann2022"])
    {}
    """
    table = literature_table(law, conventions, without=without)
    return {str(name): _from_studies(law.params[str(name)], rows) for name, rows in table[table["used"]].groupby("parameter")}


def literature_table(law: Law, conventions: Mapping[str, str] | None = None, *, without: Collection[str] = ()) -> pd.DataFrame:
    """Published fits of a law, which of them its literature priors use, and why not the others.

    Parameters
    ----------
    law, conventions, without
        As of :func:`literature_priors`.

    Returns
    -------
    DataFrame
        One row a fit and exponent: ``parameter``, ``fit`` (its name in ``published_laws``), ``study`` (bib key of the runs),
        ``cite`` (bib key of the fit), ``x`` (what the variable is, for a law of one), ``size`` (parameters counted),
        ``value`` (the exponent), ``log_se`` (its relative standard error; 0.1 where none is printed), ``used``, ``reason``
        (empty when used), ``source``.
    """
    size = _size_convention(conventions)
    printed = _printed()
    rows = [
        {"parameter": ours, **_record(item, ours, theirs, printed), "reason": _fault(item, size, without)}
        for item in PUBLISHED
        if item.law == law.name
        for ours, theirs in item.exponents.items()
        if ours in law.params
    ]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    fit_for = table["reason"] == ""
    studies = table[fit_for].groupby("parameter")["study"].nunique()
    few = fit_for & (table["parameter"].map(studies) < FEWEST)
    table.loc[few, "reason"] = [
        f"fewer than {FEWEST} independent studies ({studies[p]}) of this form and convention" for p in table["parameter"][few]
    ]
    table["used"] = table["reason"] == ""
    return table.astype({"value": float, "log_se": float, "used": bool})


def _size_convention(conventions: Mapping[str, str] | None) -> str:
    """How the table counts parameters, in our words."""
    said = str((conventions or {}).get("params", TOTAL)).strip().lower().replace("_", "-").replace(" ", "-")
    return NON_EMBEDDING if said in (NON_EMBEDDING, "nonembedding") else said


def _fault(item: Published, size: str, without: Collection[str]) -> str:
    """Why a fit does not count; empty when it does."""
    if item.excluded:
        return item.excluded
    if item.study in without or item.cite in without:
        return "left out on request"
    if item.x:
        return f"of {item.x}, and a law of one variable does not say what its x is"
    return "" if item.size == size else f"counts {item.size} params, not {size}"


def _printed() -> dict[tuple[str, str, str], pd.Series[Any]]:
    """Rows of the bundled table by (fit, form, parameter)."""
    from bayescale.data.datasets import load_dataset

    table = load_dataset("published_laws")
    return {(str(row["law"]), str(row["form"]), str(row["parameter"])): row for _, row in table.iterrows()}


def _record(item: Published, ours: str, theirs: str, printed: Mapping[tuple[str, str, str], pd.Series[Any]]) -> dict[str, Any]:
    """What a fit says of one exponent."""
    said = {"fit": item.fit, "study": item.study, "cite": item.cite, "x": item.x, "size": item.size}
    if not item.form:
        return {**said, "value": item.values[ours], "log_se": UNPRINTED_ERROR, "source": item.source}
    row = printed[item.fit, item.form, theirs]
    return {**said, "value": item.factor * float(row["value"]), "log_se": _log_se(row), "source": row["source"]}


def _log_se(row: pd.Series[Any]) -> float:
    """Standard error of the log of a printed exponent, from its standard error or its interval."""
    if pd.notna(row["std_error"]):
        return abs(float(row["std_error"]) / float(row["value"]))
    if pd.notna(row["ci_low"]) and pd.notna(row["ci_high"]) and row["ci_level"] in _WIDTH:
        return abs(math.log(float(row["ci_high"]) / float(row["ci_low"]))) / _WIDTH[str(row["ci_level"])]
    return UNPRINTED_ERROR


def _from_studies(param: Param, rows: pd.DataFrame) -> Param:
    """The prior of a new study's exponent, given the fits that count."""
    by_study = rows.assign(log=np.log(rows["value"]), variance=rows["log_se"] ** 2).groupby("study")[["log", "variance"]].mean()
    mean, sd = population(by_study["log"].to_numpy(), np.sqrt(by_study["variance"].to_numpy()), param.loc, param.scale)
    return replace(param, loc=mean, scale=sd)


def population(
    y: np.ndarray, se: np.ndarray, loc: float, scale: float, between: float = BETWEEN_STUDIES
) -> tuple[float, float]:
    """Mean and standard deviation of the next study's parameter; the formula is in :func:`literature_priors`.

    Parameters
    ----------
    y, se : array (study,)
        Estimates and their standard errors, on the link scale.
    loc, scale : float
        Normal prior of the population mean.
    between : float
        Scale of the half-normal prior on the spread between studies.
    """
    tau = np.linspace(0.0, 6.0 * between, 2001)
    weight = 1 / (se**2 + tau[:, None] ** 2)
    precision = 1 / scale**2 + weight.sum(axis=1)
    mean = (loc / scale**2 + weight @ y) / precision
    misfit = loc**2 / scale**2 + weight @ y**2 - precision * mean**2
    log_posterior = 0.5 * (np.log(weight).sum(axis=1) - np.log(precision) - misfit) - 0.5 * (tau / between) ** 2
    share = softmax(log_posterior)
    centre = float(share @ mean)
    variance = float(share @ (tau**2 + 1 / precision + (mean - centre) ** 2))
    return centre, math.sqrt(variance)
