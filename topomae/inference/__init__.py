"""From any volume to a label map on the volume's own voxels: inputs, sliding window, outputs."""
