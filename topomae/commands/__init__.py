"""The commands: each a thin shell around the function of the same name in `topomae`."""
