"""The words that columns, dimensions and groups of a result are called by, in one place."""

from __future__ import annotations

CHAIN, DRAW, POINT, RUN, ROW = "chain", "draw", "point", "run", "row"

#: Covariates a law may take, with the unit each is measured in.
COVARIATES = {
    "params": "parameters",
    "tokens": "tokens",
    "flops": "FLOP",
    "samples": "samples",
    "steps": "optimiser steps",
    "epochs": "passes over the data",
    "compute": "as recorded",
}

#: Columns that identify a run without describing its scale.
IDENTIFIERS = ("seed", "run", "step")

#: Verdicts of ``decide``.
GO, NO_GO, HOLD = "GO", "NO_GO", "HOLD"
