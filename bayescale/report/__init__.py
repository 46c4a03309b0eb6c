"""Written reports of a decision."""
