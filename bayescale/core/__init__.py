"""What every layer may use: errors, names, findings, numerics."""
