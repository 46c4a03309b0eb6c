"""From draws to forecasts and derived quantities."""
