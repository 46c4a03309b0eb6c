"""NumPyro models: specification only, no inference."""
