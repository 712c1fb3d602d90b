"""What both modules of the extension TopoMAE share. Nothing here imports the engine."""
