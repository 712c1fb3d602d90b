"""Fuzzing of our parsers; see run.py."""
