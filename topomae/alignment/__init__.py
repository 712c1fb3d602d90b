"""Alignment of what the encoder makes of two views of a scan, within a subject and across subjects.

After arXiv 2605.14654: which parts of a scan resemble each other is the same in every modality, and much the
same in every person. The objectives keep that neighbourhood topology instead of making features equal.

- `within.within_subject` : two views of the same voxels.
- `across.across_subjects` : scans of different people, matched by mutual nearest neighbours.
- `loss.AlignmentLoss` : both, for the feature maps of a batch.
- `tokens` : which feature map, and how it becomes tokens.
- `collapse` : notices features that have all become alike.
"""
