"""The decision report: everything behind a verdict on one page, for people who were not there."""
