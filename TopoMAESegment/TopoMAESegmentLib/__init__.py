"""Parts of the module TopoMAESegment."""
