"""Where the numbers of a page come from: data, model, draws, versions, dates."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bayescale.core.errors import SavedFileError, SpecError
from bayescale.data.evals import Evals
from bayescale.decision.forecast import describe, reasons_of
from bayescale.evaluate.stacking import STACKED
from bayescale.infer.ensemble import Ensemble, EnsembleSelection
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.infer.fit import Fit
from bayescale.infer.io import versions
from bayescale.models.spec import capability_spec, to_spec
from bayescale.prediction.mixing import fits_of, labels_of, source
from bayescale.prediction.points import Fitted
from bayescale.report.words import count_of, number

PACKAGES = ("jax", "numpyro", "arviz", "numpy", "scipy", "xarray")
Rows = list[tuple[str, str]]


def provenance(fit: Fitted | CapabilityFit, file: str | os.PathLike[str] | None, seed: int, made: str) -> Rows:
    """What a reader needs to make the same page again: names and values, in the order of a page.

    Parameters
    ----------
    fit
        What was forecast from.
    file : path, optional
        The file that it was loaded from, which knows when and with which versions it was saved.
    seed : int
        Of the forecast.
    made : str
        When the page was made.
    """
    rows: Rows = []
    if isinstance(fit, CapabilityFit):
        rows += _of_fit(fit)
    else:
        members, whole = fits_of(fit), source(fit)
        if labels := labels_of(fit):
            rows.append(("as seen by", ", ".join(f"{column} {label}" for column, label in labels.items())))
        if isinstance(whole, Ensemble):
            told = ", ".join(f"{name} {weight:.3f}" for name, weight in whole.weights.items())
            how = "weighted by held-out forecasts" if STACKED in whole.evidence.index else "with stated weights"
            rows.append(("ensemble", f"{count_of(len(whole.fits), 'law')} {how}: {told}"))
        for member in members:
            rows += _of_fit(member, f" ({member.model.law.name})" if len(members) > 1 else "")
    if file is not None:
        rows += _of_file(fit, Path(file))
    rows += [("seed of the forecast", str(seed)), ("page made with", _told(versions(PACKAGES))), ("page made", made)]
    return rows


def now() -> str:
    """This moment, to the minute, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _of_fit(fit: Fit | CapabilityFit, which: str = "") -> Rows:
    """Data, model and draws of one fit."""
    data, noted = fit.data, fit.tree.attrs
    found, sizes = fit.convergence, fit.posterior.sizes
    row = "score" if isinstance(data, Evals) else "run"
    rows: Rows = [(f"data{which}", f"{count_of(len(data), row)}; SHA-256 {data.digest}")]
    if not isinstance(data, Evals):
        rows.append((f"response{which}", _with_unit(data.response, data.units)))
        rows += [
            (f"{what}{which}", _pairs(held))
            for what, held in (("units", data.units), ("conventions", data.conventions))
            if held
        ]
    if data.notes:
        rows.append((f"notes on the data{which}", "; ".join(data.notes)))
    rows.append((f"model{which}", describe(fit.model)))
    if reasons := reasons_of(fit.model):
        rows.append((f"why this model{which}", "; ".join(reasons)))
    spec = capability_spec(fit.model) if isinstance(fit, CapabilityFit) else to_spec(fit.model)
    spec.pop("reasons", None)
    draws = f"{sizes['chain']} chains of {sizes['draw']} draws; R-hat at most {found.worst_rhat:.3f}, "
    draws += f"effective sample size at least {found.worst_ess:.0f}, {count_of(found.divergences, 'divergence')}"
    rows += [
        (f"specification{which}", json.dumps(spec, ensure_ascii=False)),
        (f"sampler{which}", str(noted.get("sampler", "not recorded"))),
        (f"seed of the fit{which}", str(noted.get("seed", "not recorded"))),
        (f"draws{which}", draws + ("; interrupted by the user" if noted.get("interrupted") else "")),
    ]
    return rows


def _with_unit(response: str, units: Mapping[str, str]) -> str:
    unit = units.get(response, "")
    return f"{response}, in {unit}" if unit else response


def _pairs(held: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {word}" for name, word in held.items())


def _of_file(fit: Fitted | CapabilityFit, path: Path) -> Rows:
    """Name, checksum, date and versions of a saved fit."""
    import netCDF4

    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with netCDF4.Dataset(path) as opened:
            held: dict[str, Any] = {name: opened.getncattr(name) for name in opened.ncattrs()}
    except OSError as error:
        raise SavedFileError(f"cannot read {path}: {error.strerror or error}.") from error
    saved = {str(json.loads(text).get("digest", "")) for text in (held.get("runs"), held.get("evals")) if text}
    whole = fit if isinstance(fit, CapabilityFit) else source(fit)
    if not isinstance(whole, Ensemble | EnsembleSelection) and saved and whole.data.digest not in saved:
        raise SpecError(
            f"{path} holds a fit to other data than the fit that is reported: name the file that it was loaded from"
        )
    rows: Rows = [("file of the fit", f"{path.name}; SHA-256 {digest}")]
    if "created" in held:
        rows.append(("fit saved", str(held["created"])))
    if "versions" in held:
        rows.append(("fit saved with", _told(json.loads(held["versions"]))))
    return rows


def _told(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number(word)}" for name, word in found.items())
