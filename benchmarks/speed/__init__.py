"""How long a fit takes, everything counted, beside other ways to fit the same model; see ``python -m benchmarks.speed -h``."""
