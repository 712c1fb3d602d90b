"""Whole volumes and their classes: training, using and judging a network that says one class per volume."""
