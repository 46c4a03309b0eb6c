"""The words that columns, dimensions and groups of a result are called by, in one place."""

from __future__ import annotations

CHAIN, DRAW, POINT, RUN, ROW = "chain", "draw", "point", "run", "row"

#: Passes over the unique tokens, which laws of repeated data take as they are: at least 1, and they multiply what is paid for.
EPOCHS = "epochs"

#: Covariates a law may take, with the unit each is measured in.
COVARIATES = {
    "params": "parameters",
    "tokens": "tokens",
    "flops": "FLOP",
    "samples": "samples",
    "steps": "optimiser steps",
    EPOCHS: "passes over the data",
    "compute": "as recorded",
}

#: What laws of downstream tasks take, and others give.
LOSS = "loss"

#: Covariates that single laws take; a table's columns of these names are read where such a law asks for them.
COVARIATES_OF_LAWS = {
    "vocab_params": "parameters of the vocabulary",
    "vocab_size": "words of the vocabulary",
    "characters": "characters of text",
    "experts": "experts",
    "streams": "parallel streams",
    "learning_rate": "peak learning rate",
    "batch": "tokens or sequences of a step",
    LOSS: "nats/token",
}

#: Columns that identify a run without describing its scale.
IDENTIFIERS = ("seed", "run", "step")

#: Columns that together say which losses may be compared, and so share a floor.
TEXT = ("dataset", "tokenizer", "source")

#: Verdicts of ``decide``.
GO, NO_GO, HOLD = "GO", "NO_GO", "HOLD"
