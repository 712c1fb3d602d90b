"""Keeps the Python objects of all nodes of a scene, so that callbacks of their observers stay whole."""

from typing import Any

import vtk


class NodeKeeper:
    """Holds every node while it is in the scene.

    VTK shows Python's garbage collector the callbacks of a node as if the node's Python object owned them. Where that
    object is garbage and the node is still in the scene, the callbacks are cleared, and the next event crashes.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._nodes = {node.GetAddressAsString(""): node for node in _nodesOf(scene)}

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def onAdded(caller: Any, event: Any, node: Any) -> None:
            self._nodes[node.GetAddressAsString("")] = node

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def onRemoved(caller: Any, event: Any, node: Any) -> None:
            self._nodes.pop(node.GetAddressAsString(""), None)

        self._callbacks = (onAdded, onRemoved)
        scene.AddObserver(scene.NodeAddedEvent, onAdded)
        scene.AddObserver(scene.NodeRemovedEvent, onRemoved)


def _nodesOf(scene: Any) -> list:
    return [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
