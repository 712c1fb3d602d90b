"""From settings and data to weights: pre-training and fine-tuning, and the loop they share."""
