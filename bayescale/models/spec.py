"""A model as plain data, for files: what is needed to build it again, and to know that it is the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from bayescale.core.errors import SpecError, unknown
from bayescale.core.frozen import FrozenMap
from bayescale.laws.base import Law, get_law
from bayescale.laws.param import Param
from bayescale.models.capability import CapabilityModel
from bayescale.models.discrepancy import Discrepancy, RunEffect, SlopeDrift, SmoothMisfit
from bayescale.models.noise import BestOf, BestSoFar, Gaussian, Noise, StudentT
from bayescale.models.pooling import NoPooling, PartialPooling, Pooling
from bayescale.models.scaling import ScalingModel

#: Version of the layout below. A later one reads the earlier ones, never the other way round.
FORMAT = 3

#: The same for a model of capability.
CAPABILITY_FORMAT = 1

_KIND, _CAPABILITY_KIND = "ScalingModel", "CapabilityModel"
_POOLINGS = ("partial", "none")
_NOISES: dict[str, type[Noise]] = {"StudentT": StudentT, "Gaussian": Gaussian, "BestSoFar": BestSoFar, "BestOf": BestOf}
_DISCREPANCIES: dict[str, type[Discrepancy]] = {"SlopeDrift": SlopeDrift, "SmoothMisfit": SmoothMisfit, "RunEffect": RunEffect}


def to_spec(model: ScalingModel) -> dict[str, Any]:
    """The model as a dictionary of text, numbers, lists and dictionaries.

    A law is code, which a file should not carry: its name, the digest of its source and its parameters are noted.

    Examples
    --------
    >>> from bayescale import ScalingModel
    >>> spec = to_spec(ScalingModel("power_law", axes={"x": "params"}))
    >>> spec["law"]["name"], spec["axes"], from_spec(spec) == ScalingModel("power_law", axes={"x": "params"})
    ('power_law', {'x': 'params'}, True)
    """
    return {
        "kind": _KIND,
        "format": FORMAT,
        "law": _law_out(model.law),
        "axes": dict(model.axes),
        "pooling": {name: _pooling_out(pooling) for name, pooling in model.pooling.items()},
        "noise": _part_out(model.noise),
        "discrepancy": [_part_out(part) for part in model.parts],
        "priors": model.priors if isinstance(model.priors, str) else {n: _param_out(p) for n, p in model.priors.items()},
        "reasons": list(model.reasons),
    }


def from_spec(spec: Mapping[str, Any]) -> ScalingModel:
    """The model of a dictionary that :func:`to_spec` made.

    Raises
    ------
    SpecError
        When its law is not registered, or is registered with other code or other priors; when the dictionary is of a later
        version, or none of ours.
    """
    kind, version = spec.get("kind"), spec.get("format")
    if kind != _KIND or not isinstance(version, int):
        raise SpecError(f"expected the specification of a {_KIND}, got kind {kind!r}, format {version!r}")
    if version > FORMAT:
        raise SpecError(f"the specification has format {version}, this bayescale reads up to {FORMAT}: upgrade bayescale")
    try:
        law = _law_in(spec["law"])
        noise = _part_in("noise", spec["noise"], _NOISES)
        noted = spec.get("discrepancy") or []
        # One part, not a list of them, in the first version.
        parts = tuple(_part_in("discrepancy", p, _DISCREPANCIES) for p in ([noted] if isinstance(noted, Mapping) else noted))
        priors = spec["priors"]
        return ScalingModel(
            law,
            axes=spec["axes"],
            pooling={name: _pooling_in(pooling) for name, pooling in spec["pooling"].items()},
            noise=noise,
            discrepancy=parts,
            priors=priors if isinstance(priors, str) else {name: _param_in(param) for name, param in priors.items()},
            reasons=tuple(spec["reasons"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"the specification is not whole: {type(error).__name__}: {error}") from error


def capability_spec(model: CapabilityModel) -> dict[str, Any]:
    """A model of capability as a dictionary of text, numbers, lists and dictionaries."""
    values = {f.name: getattr(model, f.name) for f in fields(model)}
    plain = {"anchors": list(model.anchors), "ceilings": dict(model.ceilings)}
    return {"kind": _CAPABILITY_KIND, "format": CAPABILITY_FORMAT, **values, **plain}


def capability_from_spec(spec: Mapping[str, Any]) -> CapabilityModel:
    """The model of a dictionary that :func:`capability_spec` made.

    Raises
    ------
    SpecError
        When the dictionary is of a later version, or none of ours.
    """
    values = dict(spec)
    kind, version = values.pop("kind", None), values.pop("format", None)
    if kind != _CAPABILITY_KIND or not isinstance(version, int):
        raise SpecError(f"expected the specification of a {_CAPABILITY_KIND}, got kind {kind!r}, format {version!r}")
    if version > CAPABILITY_FORMAT:
        said = f"the specification has format {version}, this bayescale reads up to {CAPABILITY_FORMAT}"
        raise SpecError(f"{said}: upgrade bayescale")
    try:
        return CapabilityModel(**values)
    except TypeError as error:
        raise SpecError(f"the specification is not whole: {error}") from error


def _part_out(part: Noise | Discrepancy) -> dict[str, Any]:
    """A noise or a discrepancy: what kind it is, and its fields."""
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    return {"kind": type(part).__name__} | {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Param):
        return _param_out(value)
    return value.item() if isinstance(value, np.generic) else value


def _part_in(word: str, noted: Mapping[str, Any], kinds: Mapping[str, Any]) -> Any:
    values = dict(noted)
    kind = str(values.pop("kind"))
    if kind not in kinds:
        raise SpecError(unknown(word, kind, kinds))
    return kinds[kind](**{n: _param_in(v) if isinstance(v, Mapping) else v for n, v in values.items()})


def _law_out(law: Law) -> dict[str, Any]:
    return {
        "name": law.name,
        "digest": law.digest,
        "covariates": list(law.covariates),
        "params": {name: _param_out(param) for name, param in law.params.items()},
    }


def _law_in(noted: Mapping[str, Any]) -> Law:
    """The registered law, if it is the one that was noted."""
    name = str(noted["name"])
    params = {p: _param_in(v) for p, v in noted["params"].items()}
    signature = f"{name}({', '.join(noted['covariates'])}; {', '.join(params)})"
    try:
        law = get_law(name)
    except SpecError as error:
        raise SpecError(
            f"the model is of the law {name!r}, which is not registered: {signature}, source digest {noted['digest']}. "
            "Run its @law definition (the cell or module that makes it) first, then load again."
        ) from error
    changed = []
    if law.covariates != tuple(noted["covariates"]):
        changed.append(f"covariates {', '.join(law.covariates)} (were {', '.join(noted['covariates'])})")
    if set(law.params) != set(params):
        changed.append(f"parameters {', '.join(law.params)} (were {', '.join(params)})")
    changed += [f"prior of {p}: {law.params[p]} (was {v})" for p, v in params.items() if p in law.params and law.params[p] != v]
    if not changed and law.digest != noted["digest"]:
        changed.append(f"source digest {law.digest} (was {noted['digest']})")
    if changed:
        raise SpecError(
            f"the law {name!r} that is registered is another than the model was made with: {'; '.join(changed)}. "
            "Run the @law definition that it was made with (give the new one another name), then load again."
        )
    return law


def _param_out(param: Param) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for field in fields(param):
        value = getattr(param, field.name)
        if isinstance(value, Mapping):
            value = dict(value)
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, np.generic):
            value = value.item()
        out[field.name] = value
    return out


def _param_in(noted: Mapping[str, Any]) -> Param:
    frozen: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in noted.items()}
    return Param(**{**frozen, "decays": FrozenMap(noted["decays"])})


def _pooling_out(pooling: Pooling) -> dict[str, Any]:
    if isinstance(pooling, PartialPooling):
        more = {"across_conventions": pooling.across_conventions, "centered": pooling.centered}
        return {"kind": "partial", "by": list(pooling.by), **more}
    return {"kind": "none", "by": list(pooling.by)}


def _pooling_in(noted: Mapping[str, Any]) -> Pooling:
    kind, by = noted["kind"], tuple(noted["by"])
    if kind not in _POOLINGS:
        raise SpecError(unknown("pooling", str(kind), _POOLINGS))
    if kind == "none":
        return NoPooling(by)
    return PartialPooling(by, across_conventions=noted["across_conventions"], centered=noted["centered"])
