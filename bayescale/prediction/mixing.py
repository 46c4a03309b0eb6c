"""Answers of an ensemble: each member is asked, and each draw is from one of them. Nothing else knows of ensembles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayescale.core.errors import BayescaleError, DataError, SpecError
from bayescale.core.names import CHAIN, DRAW
from bayescale.infer.ensemble import Ensemble, EnsembleSelection, Members
from bayescale.infer.fit import Fit, Selection
from bayescale.prediction.points import Fitted, columns_of, unpack

#: Coordinate (chain, draw) that names the member a draw is from.
MEMBER = "member"

Labels = dict[str, str]


@dataclass(frozen=True, eq=False)
class Answers[T]:
    """What each member answered, and which member each draw is from; of a fit that is no ensemble, its one answer.

    Parameters
    ----------
    of : mapping of name to answer
    members : Members or None
    chains : mapping
        Coordinates of chain and draw.
    """

    of: Mapping[str, T]
    members: Members | None
    chains: Mapping[str, Any]

    @property
    def first(self) -> T:
        """The answer of the first member that has a draw."""
        return next(iter(self.of.values()))


def source(asked: Fitted) -> Fit | Ensemble:
    """The fit or ensemble, without the labels that a selection of it fixes."""
    if isinstance(asked, EnsembleSelection):
        return asked.ensemble
    return asked if isinstance(asked, Ensemble) else unpack(asked)[0]


def labels_of(asked: Fitted) -> Labels:
    """The group labels that a selection fixes."""
    return dict(asked.labels) if isinstance(asked, Selection | EnsembleSelection) else {}


def selected_rows(table: pd.DataFrame, labels: Labels) -> NDArray[np.bool_]:
    """Which rows of a table have the labels; a member of an ensemble may have been read without a column that another has."""
    keep = np.ones(len(table), dtype=bool)
    for column, label in labels.items():
        if column in table:
            keep &= (table[column].astype(str) == label).to_numpy()
    return keep


def one_noise_scale(asked: Fitted, verb: str) -> None:
    """Refuse members whose noise is on different scales, where variances are to be added up.

    Raises
    ------
    SpecError
        Naming the scales.
    """
    scales = {fit.model.noise.on for fit in fits_of(asked)}
    if len(scales) > 1:
        told = f"the members have noise on different scales ({', '.join(sorted(scales))}), whose variances do not add up"
        raise SpecError(f"{verb}: {told}: ask it of each member (ensemble.fits)")


def fits_of(asked: Fitted) -> list[Fit]:
    """The fit, or those of an ensemble that have a weight."""
    whole = source(asked)
    return [whole] if isinstance(whole, Fit) else [fit for name, fit in whole.fits.items() if whole.weights[name] > 0]


def axis_of(asked: Fitted) -> str:
    """The only covariate of the law, or of all the laws; flops where there are several."""
    columns = {column for fit in fits_of(asked) for column in columns_of(fit)}
    return columns.pop() if len(columns) == 1 else "flops"


def answers[T](asked: Fitted, seed: int, ask: Callable[[Fit, Labels], T]) -> Answers[T]:
    """Ask a fit, or each member of an ensemble that has a draw.

    Parameters
    ----------
    ask : callable
        Takes a fit and the group labels that hold; what it refuses is told with the name of the member.
    """
    whole = source(asked)
    if isinstance(whole, Fit):
        coords = {d: whole.posterior.coords[d] for d in (CHAIN, DRAW)}
        return Answers({"": ask(*unpack(asked))}, None, coords)
    members, labels, found = whole.members(seed), labels_of(asked), {}
    for name in members.names:
        with _told_by(name):
            found[name] = ask(whole.fits[name], labels)
    names = np.array(members.names)[members.which].reshape(members.shape)
    chains, draws = (np.arange(size) for size in members.shape)
    return Answers(found, members, {CHAIN: chains, DRAW: draws, MEMBER: ((CHAIN, DRAW), names)})


def mixed_draws(asked: Fitted, seed: int, ask: Callable[[Fit, Labels], xr.Dataset]) -> xr.Dataset:
    """Draws of a fit, or of an ensemble: variables with dims (chain, draw, …) that every member's answer has."""
    found = answers(asked, seed, ask)
    if found.members is None:
        return found.first
    sets, members = list(found.of.values()), found.members
    variables = {}
    for name, variable in found.first.data_vars.items():
        if all(name in one for one in sets):
            dims = (CHAIN, DRAW, *(d for d in variable.dims if d not in (CHAIN, DRAW)))
            parts = [one[name].transpose(*dims).to_numpy() for one in sets]
            flat = [part.reshape(-1, *part.shape[2:]) for part in parts]
            out = np.empty((len(members.which), *flat[0].shape[1:]), dtype=np.result_type(*flat))
            for i, values in enumerate(flat):
                out[members.which == i] = values[members.place[members.which == i]]
            variables[name] = (dims, out.reshape(*members.shape, *out.shape[1:]), variable.attrs)
    # Points have what any of the members read of them.
    coords = {str(n): c for one in reversed(sets) for n, c in one.coords.items() if not {CHAIN, DRAW} & set(c.dims)}
    mixed = xr.Dataset(variables, coords={**coords, **found.chains})
    return mixed.assign_attrs(found.first.attrs | ({"law": law_names(asked)} if "law" in found.first.attrs else {}))


def law_names(asked: Fitted) -> str:
    """The law, or the laws of an ensemble that have a weight."""
    return " + ".join(dict.fromkeys(fit.model.law.name for fit in fits_of(asked)))


@contextmanager
def _told_by(name: str) -> Iterator[None]:
    try:
        yield
    except BayescaleError as error:
        told = type(error)(f"member {name!r} of the ensemble: {error}")
        if isinstance(told, DataError) and isinstance(error, DataError):
            told.faults = error.faults
        raise told from error
