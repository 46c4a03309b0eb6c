"""Checks of the points to forecast: how far they lie from what was seen, and whether their groups were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayescale.core.findings import Finding, Status
from bayescale.data.schema import FLOP_PER_PARAM_TOKEN, TOKENS_PER_PARAM
from bayescale.decision.subject import Subject
from bayescale.decision.thresholds import Thresholds
from bayescale.infer.fit import Fit
from bayescale.models.pooling import PartialPooling

_SHOWN = 3

#: What to do about a forecast from afar.
_ADVICE = (
    "Its interval holds only if the law goes on unchanged: hold the largest runs back and see whether they are covered, or "
    "train a larger pilot run."
)


def extrapolation(subject: Subject) -> Iterator[Finding]:
    """By which factor the points lie beyond the runs of their group, and beyond any run."""
    name, fit, at, lines = "extrapolation", subject.fit, subject.at, subject.thresholds
    if at is None:
        said = "no points to forecast were given, so how far they are from the runs is not known"
        yield Finding(name, Status.NOT_ASSESSED, said, advice="review(fit, at) takes them.")
        return
    seen, asked = _scales(fit, fit.data.table), _scales(fit, at)
    members = _members(fit, at)
    own = farthest(seen, asked, members)
    overall = None if members.all() else farthest(seen, asked, np.ones_like(members))
    yield from judge_distance(own, overall, lines)


def judge_distance(own: Distance, overall: Distance | None, lines: Thresholds) -> Iterator[Finding]:
    """What is found of points so far from the runs of their group, and from any run (None: their group is all there is)."""
    name = "extrapolation"
    if own.factor <= lines.extrapolation:
        said = f"every point is within a factor of {lines.extrapolation:g} of the fitted runs: {own.said}"
        yield Finding(name, Status.PASS, said, own.factor, lines.extrapolation)
    elif own.factor <= lines.far_extrapolation:
        yield Finding(name, Status.REVIEW, f"the forecast extrapolates: {own.said}", own.factor, lines.extrapolation, _ADVICE)
    else:
        said = f"the forecast goes far beyond what was seen: {own.said}"
        yield Finding(name, Status.REVIEW, said, own.factor, lines.far_extrapolation, _ADVICE)
    if own.factor <= lines.extrapolation or overall is None:
        return
    if overall.factor > lines.extrapolation:
        said = f"no run of any group was seen at such scale: {overall.said}"
        advice = "Other groups cannot tell whether the law holds there: pooling makes the interval narrower, not truer."
        yield Finding(name, Status.REVIEW, said, overall.factor, lines.extrapolation, advice)
    else:
        said = f"other groups were seen at such scale: {overall.said}"
        yield Finding(name, Status.PASS, said, overall.factor, lines.extrapolation)


class Distance(NamedTuple):
    """By which factor points lie outside the fitted runs, and where most, in words."""

    factor: float
    said: str


def _scales(fit: Fit, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """The covariates of the law; of one of size and data their product and ratio too, in which runs may differ as well."""
    read = list(fit.binding.axes.values())
    scales = {name: table[name].to_numpy(dtype=np.float64) for name in read}
    if {"params", "tokens"} <= set(read):
        scales["flops"] = FLOP_PER_PARAM_TOKEN * scales["params"] * scales["tokens"]
        scales[TOKENS_PER_PARAM] = scales["tokens"] / scales["params"]
    return scales


def _members(fit: Fit, at: pd.DataFrame) -> np.ndarray:
    """Which runs are of the group of each point (point, run): by the exponents' groups, or else by those of the levels.

    All runs where that group was not fitted.
    """
    law = fit.model.law.params
    exponents = {tuple(v.by) for p, v in fit.model.pooling.items() if not law[p].unit}
    levels = [fit.binding.levels[by] for by in exponents or {tuple(v.by) for v in fit.model.pooling.values()}]
    inside = np.ones((len(at), len(fit.data)), dtype=bool)
    for level in levels:
        points, runs = level.codes(at), level.codes(fit.data.table)
        inside &= (points[:, None] == runs[None, :]) | (points[:, None] < 0)
    return inside | ~inside.any(axis=1, keepdims=True)


def farthest(seen: Mapping[str, np.ndarray], asked: Mapping[str, np.ndarray], members: np.ndarray) -> Distance:
    """By which factor points lie outside their runs (point, run), along the scale where most."""
    factor, said = 0.0, ""
    for name, values in asked.items():
        runs = np.broadcast_to(seen[name], members.shape)
        most = np.where(members, runs, -np.inf).max(axis=1)
        least = np.where(members, runs, np.inf).min(axis=1)
        for factors, edge, words in ((values / most, most, "largest"), (least / values, least, "smallest")):
            point = int(factors.argmax())
            if factors[point] > factor:
                factor = float(factors[point])
                whose = "" if members[point].all() else " of its group"
                times = f"{factor:.3g} times" if words == "largest" else f"1/{factor:.3g} of"
                said = f"{name} of point {point} ({values[point]:.3g}) is {times} the {words} fitted{whose} ({edge[point]:.3g})"
    return Distance(factor, said)


def groups(subject: Subject) -> Iterator[Finding]:
    """Whether the groups of the points were fitted; an unseen one is drawn from the population, or from the prior."""
    name, fit, at = "groups", subject.fit, subject.at
    if at is None or not fit.model.pooling:
        return
    found = False
    for by in dict.fromkeys(tuple(pooling.by) for pooling in fit.model.pooling.values()):
        level = fit.binding.levels[by]
        rows = np.flatnonzero(level.codes(at) < 0)
        if not len(rows):
            continue
        found = True
        who = [p for p, v in fit.model.pooling.items() if tuple(v.by) == by]
        pooled = all(isinstance(fit.model.pooling_of(p), PartialPooling) for p in who)
        labels = [_label(at, by, int(row)) for row in rows]
        shown = ", ".join(dict.fromkeys(labels[:_SHOWN])) + (" …" if len(labels) > _SHOWN else "")
        where = "its population" if pooled else "the prior, since it is not pooled"
        said = f"unseen {by[-1]} in {len(rows)} of {len(at)} points ({shown}): {' and '.join(who)} drawn from {where}"
        advice = "A run or two of it would narrow the forecast." if pooled else "Name a fitted one, or pool it."
        yield Finding(name, Status.REVIEW, said, float(len(rows)), 0.0, advice)
    if not found:
        yield Finding(name, Status.PASS, "the groups of every point were fitted", 0.0, 0.0)


def _label(at: pd.DataFrame, by: tuple[str, ...], row: int) -> str:
    """What a point says of its group."""
    told = [str(at[column].iloc[row]) for column in by if column in at]
    return " / ".join(filter(None, told)) or "no label"
