"""From forecasts to a verdict with its reasons."""
