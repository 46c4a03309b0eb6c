"""Scaling laws: pure functions of ratios to a reference run, with their priors."""
