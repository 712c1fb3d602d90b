"""Models for other programs: MONAI bundles, TorchScript, torch.export, ONNX, and encoders for MONAI's networks."""
