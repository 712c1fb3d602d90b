"""Topology of volumes: persistence diagrams, distances between them, and the loss made of both.

- `persistence.persistence` : diagram of a volume, with the voxels of birth and death.
- `wasserstein.wasserstein` : exact 2-Wasserstein distance of two diagrams.
- `loss.TopologicalLoss` : the distance as a loss, with its exact gradient.
- `betti.betti_numbers` : components, tunnels and cavities of a mask.
- `reading` : diagrams as points in the patient, and the voxels of a feature.
"""
