"""What decisions are worth: crossovers, go and no-go, which run next, allocation, and the report."""
