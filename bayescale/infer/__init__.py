"""From a model and a table to draws: mode, samplers, trees, files."""
