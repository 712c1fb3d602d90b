"""The parts of the module TopoMAETrain: data set, plan, training and runs."""
