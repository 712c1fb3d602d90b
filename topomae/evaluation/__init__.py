"""Predictions against labels: which belong together, how well they agree, per case and in all."""
