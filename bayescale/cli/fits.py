"""Saved fits, as commands that speak of a law want them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayescale.infer.ensemble import Ensemble
    from bayescale.infer.fit import Fit


def load_runs(path: Path) -> Fit | Ensemble:
    """A saved fit to runs; one to benchmark scores, which has no law, is refused.

    Raises
    ------
    SpecError
        When it was fitted to scores.
    """
    import bayescale as bs

    fitted = bs.load(path)
    if isinstance(fitted, bs.CapabilityFit):
        raise bs.SpecError(
            f"{path} is a fit to benchmark scores, which has no law; bayescale predict, decide and report take it"
        )
    return fitted
