"""``save`` and ``load``: a fit, or an ensemble of them, as one netCDF file that xarray and ArviZ open too."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale import __version__
from bayescale.core.errors import SavedFileError, SpecError
from bayescale.core.files import reason, written_whole
from bayescale.core.frozen import FrozenMap
from bayescale.core.names import ROW
from bayescale.data.evals import Evals
from bayescale.data.runs import Runs
from bayescale.infer.ensemble import Ensemble
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.infer.fit import Fit
from bayescale.models.discrepancy import RunEffect
from bayescale.models.scaling import ScalingModel
from bayescale.models.spec import capability_from_spec, capability_spec, from_spec, to_spec

#: Version of the layout of the file, under the attribute that marks a file as ours.
FORMAT, MARK = 1, "bayescale_format"
#: That of a file that holds several fits, which earlier versions cannot read.
ENSEMBLE_FORMAT = 2

#: Group of the file that holds a member of an ensemble.
_MEMBER = "member_{}"

_PACKAGES = ("jax", "numpyro", "numpy", "xarray", "arviz")
#: Comes before the checksum at the end of a file.
_SEAL = b"\nbayescale sha256 "
#: Names that netCDF takes, and the characters of others that it does not.
_NAME, _ODD = re.compile(r"[^\W][^/\x00-\x1f\x7f]*(?<! )"), re.compile(r"[/\x00-\x1f\x7f]")


def save(fit: Fit | CapabilityFit | Ensemble, path: str | os.PathLike[str]) -> Path:
    """Write a fit, or an ensemble, to one netCDF file: draws, specification, table, versions, seed.

    The file is written beside ``path`` and moved there once it is whole, so that whatever goes wrong an earlier file of that
    name is kept. It opens without bayescale, by ``xarray.open_datatree(path)``; its attributes ``spec``, ``runs`` and
    ``versions`` are JSON. An ensemble has its members in the groups ``member_0``, ``member_1``, … and their names, weights and
    evidence in the attribute ``ensemble``.

    Parameters
    ----------
    fit : Fit, CapabilityFit or Ensemble
    path : path
        File to write, ``.nc`` by custom; its folder must exist.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SavedFileError
        When it cannot be written there.

    Examples
    --------
    With a model and a table of your own:

    >>> import bayescale as bs
    >>> fitted = bs.fit(model, runs)  # doctest: +SKIP
    >>> bs.load(bs.save(fitted, "chinchilla.nc")).model == fitted.model  # doctest: +SKIP
    True
    """
    if not isinstance(fit, Fit | CapabilityFit | Ensemble):
        raise SpecError(f"save takes a Fit or an Ensemble, and a path, got {type(fit).__name__}")
    tree = _written_ensemble(fit) if isinstance(fit, Ensemble) else _written(fit)
    with written_whole(path, "fit.nc") as part:
        tree.to_netcdf(part, engine="netcdf4")
        _seal(part)
    return Path(path).expanduser()


def load(path: str | os.PathLike[str]) -> Fit | CapabilityFit | Ensemble:
    """Read a fit, or an ensemble, that :func:`save` wrote; every number, label and setting is what it was.

    Parameters
    ----------
    path : path

    Raises
    ------
    SavedFileError
        When the file is missing, damaged, or none of ours.
    SpecError
        When it was fitted with a law that is not registered, or with other code of that name.

    Examples
    --------
    >>> import bayescale as bs
    >>> bs.load("no-such-fit.nc")
    Traceback (most recent call last):
        ...
    bayescale.core.errors.SavedFileError: there is no file no-such-fit.nc.
    """
    given = Path(path).expanduser()
    _check_seal(given)
    try:
        with xr.open_datatree(given, engine="netcdf4", decode_times=False) as opened:
            stored = opened.load()
    except (OSError, RuntimeError) as error:
        raise SavedFileError(
            f"cannot read {given}: {reason(error)}. The file itself is whole: try a copy elsewhere."
        ) from error
    if (written := int(stored.attrs[MARK])) > ENSEMBLE_FORMAT:
        raise SavedFileError(
            f"{given} was saved by a later bayescale (format {written}, here {ENSEMBLE_FORMAT}): upgrade bayescale."
        )
    if "ensemble" in stored.attrs:
        return _read_ensemble(stored, given)
    return _read_scores(stored, given) if "evals" in stored.attrs else _read(stored, given)


def _written(fit: Fit | CapabilityFit) -> xr.DataTree:
    """A fit as it lies in a file."""
    names = _names(fit.tree)
    tree = _bare(fit.tree, names)
    # Earlier versions do not know scores, and say so of a format that is later than theirs.
    tree.attrs = {**_attributes(fit, names), MARK: FORMAT if isinstance(fit, Fit) else ENSEMBLE_FORMAT}
    return tree


def _read_scores(stored: xr.DataTree, path: Path) -> CapabilityFit:
    tree, held = _tree_of(stored)
    noted, table = held["evals"], tree["evals"].to_dataset()
    rows = {name: table[name].to_numpy() for name in noted["columns"]}
    frame = pd.DataFrame(
        {name: v if v.dtype.kind == "f" else [str(label) for label in v] for name, v in rows.items()},
        index=pd.Index(table[ROW].to_numpy(), name=noted["index"]),
    )
    evals = Evals(frame, tuple(noted["notes"]), noted["digest"])
    if evals.subset(np.ones(len(evals), dtype=bool)).digest != evals.digest:
        raise SavedFileError(f"the scores in {path} are not those that were fitted: fit again, or take a copy from elsewhere.")
    return CapabilityFit(capability_from_spec(held["spec"]), evals, tree)


def _read(stored: xr.DataTree, path: Path) -> Fit:
    tree, spec, runs = _rebuild(stored)
    if runs.subset(np.ones(len(runs), dtype=bool)).digest != runs.digest:
        raise SavedFileError(f"the runs in {path} are not those that were fitted: fit again, or take a copy from elsewhere.")
    model = from_spec(spec)
    return Fit(model, runs, _renamed(tree, model, spec["format"]))


def _renamed(tree: xr.DataTree, model: ScalingModel, version: int) -> xr.DataTree:
    """The size of an effect under the name that it has now: until version 2 it had one name, whatever the column."""
    sites = [part.site for part in model.parts if isinstance(part, RunEffect)]
    if version > 2 or not sites or sites == ["effect_size"]:
        return tree
    for group in ("prior", "posterior", "log_prior"):
        held = tree[group].to_dataset()
        tree[group] = xr.DataTree(held.rename({name: sites[0] for name in held.data_vars if name == "effect_size"}))
    return tree


def _written_ensemble(ensemble: Ensemble) -> xr.DataTree:
    """An ensemble as it lies in a file: its fits side by side."""
    tree = xr.DataTree(children={_MEMBER.format(i): _written(fit) for i, fit in enumerate(ensemble.fits.values())})
    evidence = ensemble.evidence
    noted = {
        "weights": dict(ensemble.weights),
        "evidence": {**evidence.to_dict("split"), "name": evidence.index.name},
        "dtypes": {name: str(dtype) for name, dtype in evidence.dtypes.items()},
        "advice": list(ensemble.advice),
    }
    tree.attrs = {MARK: ENSEMBLE_FORMAT, "created": _now(), "ensemble": json.dumps(noted), "versions": json.dumps(versions())}
    return tree


def _read_ensemble(stored: xr.DataTree, path: Path) -> Ensemble:
    noted = json.loads(stored.attrs["ensemble"])
    members = (stored.children[_MEMBER.format(i)].copy() for i in range(len(noted["weights"])))
    fits = dict(zip(noted["weights"], (_read(member, path) for member in members), strict=True))
    rows = noted["evidence"]
    index = pd.Index(rows["index"], name=rows["name"])
    evidence = pd.DataFrame(rows["data"], index, rows["columns"]).astype(noted["dtypes"])
    return Ensemble(fits, noted["weights"], evidence, tuple(noted["advice"]))


def _runs_noted(runs: Runs) -> dict[str, Any]:
    return {
        "columns": [str(name) for name in runs.table.columns],
        "index": runs.table.index.name,
        "response": runs.response,
        "groups": list(runs.groups),
        "units": dict(runs.units),
        "conventions": dict(runs.conventions),
        "notes": list(runs.notes),
        "digest": runs.digest,
    }


def _evals_noted(evals: Evals) -> dict[str, Any]:
    columns = [str(name) for name in evals.table.columns]
    return {"columns": columns, "index": evals.table.index.name, "notes": list(evals.notes), "digest": evals.digest}


def _attributes(fit: Fit | CapabilityFit, names: Mapping[str, str]) -> dict[str, Any]:
    """Attributes of the file: those of the tree for a reader, and everything as JSON, which has room for a seed of 128 bits."""
    tree = fit.tree
    if isinstance(fit, Fit):
        about = {"spec": json.dumps(to_spec(fit.model)), "runs": json.dumps(_runs_noted(fit.data))}
    else:
        about = {"spec": json.dumps(capability_spec(fit.model)), "evals": json.dumps(_evals_noted(fit.data))}
    exact = {str(name): value.item() if isinstance(value, np.generic) else value for name, value in tree.attrs.items()}
    shown = {name: value if isinstance(value, float) else str(value) for name, value in exact.items()}
    shown |= {name: int(value) for name, value in exact.items() if isinstance(value, int) and abs(value) < 2**63}
    held = {
        **about,
        "attributes": json.dumps(exact),
        "versions": json.dumps(versions()),
        # netCDF has one kind of text; a fit that was never saved may hold it as objects, or in arrays of some width.
        "text": json.dumps([(group, name, str(v.dtype)) for group, name, v in _variables(tree) if v.dtype.kind not in "fiub"]),
        "names": json.dumps({written: name for name, written in names.items()}),
    }
    return {**shown, "created": _now(), **held}


def _rebuild(opened: xr.DataTree) -> tuple[xr.DataTree, dict[str, Any], Runs]:
    """The tree as it was saved, the specification of its model, and its runs."""
    tree, held = _tree_of(opened)
    return tree, held["spec"], _runs(tree["runs"].to_dataset(), held["runs"])


def _tree_of(opened: xr.DataTree) -> tuple[xr.DataTree, dict[str, Any]]:
    """The tree as it was saved, and what was noted about it."""
    noted = ("spec", "runs", "evals", "attributes", "text", "names")
    held: dict[str, Any] = {name: json.loads(opened.attrs[name]) for name in noted if name in opened.attrs}
    tree = _bare(opened, held["names"])
    for group, name, dtype in held["text"]:
        node = tree[group]
        node[name] = node[name].astype(dtype)
    tree.attrs = held["attributes"]
    return tree, held


def _runs(table: xr.Dataset, noted: Mapping[str, Any]) -> Runs:
    """The runs of their table and of what was noted about it."""
    columns = {name: table[name].to_numpy() for name in noted["columns"]}
    rows = {name: v if v.dtype.kind == "f" else [str(label) for label in v] for name, v in columns.items()}
    (dim,) = table.dims
    frame = pd.DataFrame(rows, index=pd.Index(table[dim].to_numpy(), name=noted["index"]))
    words = FrozenMap(noted["units"]), FrozenMap(noted["conventions"])
    return Runs(frame, noted["response"], tuple(noted["groups"]), *words, tuple(noted["notes"]), noted["digest"])


def _names(tree: xr.DataTree) -> dict[str, str]:
    """What variables and dimensions are called in the file whose names netCDF refuses (``"# experts"``)."""
    names = {str(name) for node in tree.subtree for name in (*node.dims, *node.variables)}
    refused = sorted(name for name in names if not _NAME.fullmatch(name))
    return {name: f"column_{i}{_ODD.sub('_', name)}_" for i, name in enumerate(refused)}


def _bare(tree: xr.DataTree, names: Mapping[str, str]) -> xr.DataTree:
    """The same tree under other names, without what a file says about storage, which would be obeyed on saving again."""
    groups = {}
    for node in tree.subtree:
        group = node.to_dataset(inherit=False).drop_encoding()
        here = {*group.dims, *group.variables}
        groups[node.path] = group.rename({old: new for old, new in names.items() if old in here})
    return xr.DataTree.from_dict(groups)


def _variables(tree: xr.DataTree) -> Iterator[tuple[str, str, xr.Variable]]:
    """Every variable of every group, coordinates included."""
    for node in tree.subtree:
        for name, variable in node.to_dataset(inherit=False).variables.items():
            yield node.path, str(name), variable


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions(packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Of this package, Python and others, as they are here."""
    found = {"bayescale": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def _seal(path: Path) -> None:
    """Append the checksum of a file: HDF5 reads past it, and crashes the process on a file in which bits were flipped."""
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(_SEAL + digest.encode())
        file.flush()
        os.fsync(file.fileno())


def _check_seal(path: Path) -> None:
    """Refuse what is not, byte for byte, a file that was saved, before the C library sees it."""
    try:
        content = path.read_bytes()
    except IsADirectoryError as error:
        raise SavedFileError(f"{path} is a folder: name a file in it.{_near(path / 'fit.nc', cutoff=0.0)}") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SavedFileError(f"there is no file {path}.{_near(path)}") from error
    except OSError as error:
        raise SavedFileError(f"cannot read {path}: {reason(error)}.") from error
    sealed, digest = content[: -len(_SEAL) - 64], content[-64:]
    if content[len(sealed) : -64] == _SEAL and hashlib.sha256(sealed).hexdigest().encode() == digest:
        return
    if not content:
        raise SavedFileError(f"{path} is empty: the fit was not saved. Fit again, or take a copy from elsewhere.")
    if MARK.encode() in content:
        advice = "take a copy of it from elsewhere, or fit again"
        raise SavedFileError(f"{path} is damaged, cut short, or was changed after it was saved: {advice}.")
    if content.startswith((b"\x89HDF", b"CDF")):
        advice = "name a file that bayescale.save wrote (xarray.open_datatree opens others)"
        raise SavedFileError(f"{path} is a netCDF file, but no saved fit, or only the beginning of one: {advice}.")
    raise SavedFileError(f"{path} is no netCDF file, so no saved fit: name a file that bayescale.save wrote.")


def _near(path: Path, cutoff: float = 0.6) -> str:
    """Which file was probably meant."""
    if not os.path.isdir(path.parent):
        return f" There is no folder {path.parent} either."
    near = get_close_matches(path.name, sorted(found.name for found in path.parent.glob("*.nc")), n=1, cutoff=cutoff)
    return f" Did you mean {path.parent / near[0]}?" if near else ""
