"""Everything that the module offers to scripts, in one object."""

from __future__ import annotations

from TopoMAESegmentLib.key_point_logic import KeyPointLogic
from TopoMAESegmentLib.logic import SegmentLogic
from TopoMAESegmentLib.topology_logic import TopologyLogic


class ModuleLogic(SegmentLogic, TopologyLogic, KeyPointLogic):
    """Segmentation, topology and key points with one worker; none of it needs a widget.

    Example, in the Python console::

        logic = slicer.util.getModuleLogic("TopoMAESegment")
        segmentation = logic.segment(volumeNode, model="/models/hippocampus", waitForCompletion=True)
        for topology in logic.bettiNumbers(segmentation):
            print(topology.name, topology.numbers, topology.verdict())
        diagram = logic.persistenceDiagram(volumeNode)
        points = logic.keyPoints(volumeNode, pretrained="/runs/pretrain")
    """
