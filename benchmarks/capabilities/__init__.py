"""Whether the accuracy of models not yet scored is forecast from benchmarks, families and compute, and how surely."""
