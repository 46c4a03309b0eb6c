"""Judging fits and choosing models."""
