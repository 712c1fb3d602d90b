"""Networks in folders: the MONAI bundle of a model, the weights of a pre-training, nothing that is executed."""
