"""Tables on their way into ``fit_many``: read, checked, and sorted into batches that share a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import pandas as pd

from bayescale.core.errors import DataError, SpecError
from bayescale.data.runs import Runs
from bayescale.infer.fit import read_runs
from bayescale.infer.samplers import Hmc
from bayescale.infer.siblings import shared
from bayescale.models.binding import Binding, bind
from bayescale.models.scaling import ScalingModel

#: A table is padded to the longest of its batch, as long as that has no more than so many times its rows.
LONGEST = 2.5


@dataclass(frozen=True)
class Bound:
    """One table before anything is computed."""

    key: Any
    runs: Runs
    binding: Binding
    seed: int


def check_call(model: object, data: Mapping[Any, Any], sampler: object) -> None:
    """Refuse what is no batch: every table has a model, and trajectories are of one length."""
    if not isinstance(data, Mapping) or not data:
        raise DataError("`data` is a mapping of keys to tables, with one table at least")
    if not isinstance(sampler, Hmc):
        raise SpecError(f"a batch is sampled with Hmc(...), whose trajectories are of one length; got {sampler!r}")
    models = model if isinstance(model, Mapping) else dict.fromkeys(data, model)
    missing = [repr(key) for key in data if key not in models]
    if missing:
        raise SpecError(f"`model` has none for {', '.join(missing[:5])}")
    wrong = [f"{key!r} ({type(models[key]).__name__})" for key in data if not isinstance(models[key], ScalingModel)]
    if wrong:
        raise SpecError(f"expected a ScalingModel for each table, got another thing for {', '.join(wrong[:5])}")


def sibling_labels(siblings: object, data: Mapping[Any, Any]) -> dict[Any, str]:
    """The label of each table's siblings; none where they are not pooled."""
    if isinstance(siblings, bool):
        return dict.fromkeys(data, "all") if siblings else {}
    if not isinstance(siblings, Mapping):
        raise SpecError(f"`siblings` is True, False or a mapping of keys to labels, got {type(siblings).__name__}")
    missing = [repr(key) for key in data if key not in siblings]
    if missing:
        raise SpecError(f"`siblings` has no label for {', '.join(missing[:5])}")
    return {key: str(siblings[key]) for key in data}


def check_siblings(bound: Iterable[Bound], labels: Mapping[Any, str]) -> None:
    """Refuse siblings of several laws, and models that pool already."""
    kinds: dict[str, dict[tuple[str, ...], Any]] = {}
    for one in bound:
        model = one.binding.model
        if model.pooling:
            raise SpecError(f"{one.key!r}: siblings are pooled by `fit_many`, and its model pools already (over {model.dims})")
        kinds.setdefault(labels[one.key], {}).setdefault((model.law.name, *shared(one.binding)), one.key)
    for label, found in kinds.items():
        if len(found) > 1:
            told = "; ".join(f"{key!r} has {', '.join(names)}" for names, key in found.items())
            raise SpecError(f"siblings {label!r} are of one law with one kind of discrepancy: {told}")


def read_all(
    model: ScalingModel | Mapping[Any, ScalingModel],
    data: Mapping[Any, pd.DataFrame | Runs],
    columns: Mapping[str, str] | None,
    response: str,
    seed: int,
) -> list[Bound]:
    """Every table read and bound; what is wrong with any of them is told at once."""
    models = model if isinstance(model, Mapping) else dict.fromkeys(data, model)
    read, faults = {}, []
    for key, table in data.items():
        try:
            runs = read_runs(models[key], table, columns=columns, response=response)
            read[key] = models[key], runs, bind(models[key], runs)
        except (DataError, SpecError) as error:
            faults.append(f"{key}: {error}")
    if faults:
        raise DataError(f"{len(faults)} of {len(data)} tables cannot be used:", faults)
    out = []
    for members in _batches(read):
        rows = -(-max(len(read[key][1]) for key in members) // 8) * 8
        for key in members:
            found, runs, _ = read[key]
            out.append(Bound(key, runs, bind(found, runs, rows=rows), seed))
    order = {key: i for i, key in enumerate(data)}
    return sorted(out, key=lambda one: order[one.key])


def _batches(read: Mapping[Any, tuple[ScalingModel, Runs, Binding]]) -> Iterable[list[Any]]:
    """Tables of one model and structure, of like length."""
    kinds: dict[Any, list[Any]] = {}
    for key, (model, _, binding) in read.items():
        kinds.setdefault((model, _structure(binding)), []).append(key)
    for members in kinds.values():
        left = sorted(members, key=lambda key: -len(read[key][1]))
        while left:
            longest = len(read[left[0]][1])
            batch = [key for key in left if len(read[key][1]) * LONGEST >= longest]
            left = [key for key in left if key not in batch]
            yield batch


def _structure(binding: Binding) -> tuple[Any, ...]:
    """What two tables share, beside their length, that go through a program together."""
    slots = ((name, slot.centered.shape, tuple(p.shape for p in slot.parents)) for name, slot in binding.design.slots.items())
    path, basis = binding.design.path, binding.design.basis
    shapes = None if basis is None else tuple(leaf.shape for leaf in jax.tree.leaves(basis))
    # Which arrays there are: of two tables of one model, one may have known errors of its covariates.
    there = jax.tree.structure(binding.design)
    return (there, *slots, None if path is None else path.span.shape, shapes)
