"""Whether runs of unlike evaluations share the floor of their law, told from where the law itself ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bayescale.core.findings import Finding, Status
from bayescale.core.names import LOSS, TEXT
from bayescale.data.schema import TOKENS_PER_PARAM
from bayescale.infer.fit import Fit
from bayescale.prediction.values import law_values

#: A law is at its floor so many times above its reference run, and nearly so at the root of that; of less than this part of the
#: response there it has none.
ENDLESS, NO_FLOOR = 1e60, 1e-2
#: A parameter is part of the floor when the floor moves by so much as it becomes so many times as large.
NUDGE, MOVED = 1.1, 0.01

SHOWN = 3


def shared_floor(fit: Fit) -> Iterator[Finding]:
    """A floor that runs of several evaluations share, which says that nothing but scale sets their responses apart."""
    floors, table = _floor_parameters(fit), fit.data.table
    apart = []
    for column in (c for c in TEXT if c in fit.data.groups and table[c].nunique() > 1):
        pooled = (list(fit.model.pooling_of(name).by) for name in floors)
        if floors and all(not by or table.groupby(by)[column].nunique().max() > 1 for by in pooled):
            apart.append(column)
    if apart:
        labels = ", ".join(sorted(map(str, table[apart[0]].unique()))[:SHOWN])
        said = f"the floor of the law ({' and '.join(floors)}) is shared by runs of several {' and '.join(apart)} ({labels})"
        advice = "Unlike evaluations end at unlike floors, and a shared one bends every crossing: "
        advice += f"pooling={{{floors[0]!r}: NoPooling({apart[0]!r})}}, unless they are the same."
        yield Finding("data", Status.REVIEW, said, float(table[apart[0]].nunique()), 1.0, advice)


def _floor_parameters(fit: Fit) -> list[str]:
    """Parameters that move what the law ends at, at their medians; none where it ends at nought, or nowhere."""
    law, axes = fit.model.law, fit.binding.axes
    moved = [c for c in law.covariates if c not in law.absolute and axes[c] != TOKENS_PER_PARAM]
    if not moved or LOSS in axes.values():  # a law of the loss ends where that is nought
        return []
    middle = {name: float(fit.posterior[name].median()) for name in law.params}
    rows = [middle, *({**middle, name: middle[name] * NUDGE} for name in law.params)]
    parameters = {name: np.array([row[name] for row in rows]) for name in law.params}
    here, far, end = (
        law_values(law, {c: np.full(len(rows), scale if c in moved else 1.0) for c in law.covariates}, parameters)
        for scale in (1.0, ENDLESS**0.5, ENDLESS)
    )
    if not abs(end[0]) > NO_FLOOR * abs(here[0]) or not abs(far[0] / end[0] - 1) < MOVED:
        return []
    # Levels and shares of them; what moves the best of a knob moves what is reached beside it, and is no floor.
    levels = {name for name, param in law.params.items() if param.unit or param.link == "logit"}
    changes = zip(law.params, np.abs(end[1:] / end[0] - 1), strict=True)
    return [name for name, change in changes if change > MOVED and name in levels]
