"""What the Qt plugins of the subject hierarchy do: every new node of the user gets an item, every segment too."""

from types import ModuleType
from typing import Any

import vtk

from .uncaught import errors

# Class of nodes -> name of the plugin that takes them, from Slicer's loadable modules. Other nodes get no item.
PLUGINS = {
    "vtkMRMLSegmentationNode": "Segmentations",
    "vtkMRMLLabelMapVolumeNode": "LabelMaps",
    "vtkMRMLVolumeNode": "Volumes",
    "vtkMRMLMarkupsNode": "Markups",
    "vtkMRMLModelNode": "Models",
    "vtkMRMLTransformNode": "Transforms",
    "vtkMRMLTableNode": "Tables",
    "vtkMRMLTextNode": "Texts",
    "vtkMRMLPlotChartNode": "Plots",
}


class SubjectHierarchyPlugins:
    """Keeps subject hierarchy items in step with the nodes of a scene."""

    def __init__(self, slicer: ModuleType, scene: Any) -> None:
        self._slicer, self._scene = slicer, scene
        self._constants = slicer.vtkMRMLSubjectHierarchyConstants
        self._segmentID = slicer.vtkMRMLSegmentationNode.GetSegmentIDAttributeName()
        self._itemBeingRemoved = 0
        self._segmentsCallback = self._onSegmentsChanged
        observe(scene, scene.NodeAddedEvent, vtk.VTK_OBJECT, self._onNodeAdded)
        observe(scene, scene.NodeAboutToBeRemovedEvent, vtk.VTK_OBJECT, self._onNodeAboutToBeRemoved)
        scene.AddObserver(scene.EndImportEvent, lambda *_: self._addMissingItems())
        scene.AddObserver(scene.EndCloseEvent, lambda *_: self._watch())
        self._watch()

    def _hierarchy(self) -> Any:
        """The one subject hierarchy node; makes it, and merges imported ones into it."""
        return self._slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)

    def _watch(self) -> None:
        """Listen to the subject hierarchy node; closing a scene replaces it."""
        hierarchy = self._hierarchy()
        if hierarchy.GetScene() is not self._scene:
            # The scene knows its hierarchy by a weak pointer, so it still has the one that is gone, as in Slicer.
            errors.append("The subject hierarchy node was kept while the scene was closed; ask for it each time.")
            hierarchy.RemoveAllItems()
            self._scene.AddNode(hierarchy)
        event = hierarchy.SubjectHierarchyItemAboutToBeRemovedEvent
        if not hierarchy.HasObserver(event):
            observe(hierarchy, event, vtk.VTK_LONG, self._onItemAboutToBeRemoved)

    # ------------------------------------------------------------------------------------ nodes

    def _onNodeAdded(self, node: Any) -> None:
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            self._watch()
        elif not self._scene.IsImporting():
            self._addItem(node)

    def _addItem(self, node: Any) -> None:
        plugin = next((name for kind, name in PLUGINS.items() if node.IsA(kind)), None)
        excluded = node.GetAttribute(self._constants.GetSubjectHierarchyExcludeFromTreeAttributeName())
        hierarchy = self._hierarchy()
        if plugin is None or excluded or node.GetHideFromEditors() or hierarchy.GetItemByDataNode(node):
            return
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        hierarchy.SetItemOwnerPluginName(item, plugin)
        if plugin == "Segmentations":
            self._followSegments(node)

    def _onNodeAboutToBeRemoved(self, node: Any) -> None:
        if self._scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        item = self._hierarchy().GetItemByDataNode(node)
        if item:
            self._hierarchy().RemoveItem(item, False, False)

    def _addMissingItems(self) -> None:
        """After a scene was read: items for nodes that its own hierarchy did not hold."""
        for node in self._slicer.util.getNodesByClass("vtkMRMLStorableNode"):
            self._addItem(node)
        for node in self._slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            self._followSegments(node)

    # ------------------------------------------------------------------------------------ segments

    def _followSegments(self, node: Any) -> None:
        attribute = self._constants.GetSubjectHierarchyVirtualBranchAttributeName()
        self._hierarchy().SetItemAttribute(self._hierarchy().GetItemByDataNode(node), attribute, "1")
        for event in ("SegmentAdded", "SegmentRemoved", "SegmentModified"):
            node.AddObserver(getattr(self._slicer.vtkSegmentation, event), self._segmentsCallback)
        self._onSegmentsChanged(node)

    def _onSegmentsChanged(self, node: Any, event: Any = None) -> None:
        hierarchy, segmentation = self._hierarchy(), node.GetSegmentation()
        parent = hierarchy.GetItemByDataNode(node)
        if self._scene.IsImporting() or not parent or segmentation is None:
            return
        items = {hierarchy.GetItemAttribute(item, self._segmentID): item for item in self._children(parent)}
        for segmentID in segmentation.GetSegmentIDs():
            name = segmentation.GetSegment(segmentID).GetName() or ""
            item = items.pop(segmentID, None)
            if item is None:
                item = hierarchy.CreateHierarchyItem(parent, name, "Subseries")
                hierarchy.SetItemAttribute(item, self._segmentID, segmentID)
                hierarchy.SetItemOwnerPluginName(item, "Segments")
            elif hierarchy.GetItemName(item) != name:
                hierarchy.SetItemName(item, name)
        for item in items.values():
            if item != self._itemBeingRemoved:
                hierarchy.RemoveItem(item)

    def _children(self, parent: int) -> list[int]:
        found = vtk.vtkIdList()
        self._hierarchy().GetItemChildren(parent, found)
        return [found.GetId(index) for index in range(found.GetNumberOfIds())]

    def _onItemAboutToBeRemoved(self, item: int) -> None:
        hierarchy = self._hierarchy()
        if self._scene.IsClosing() or not hierarchy.HasItemAttribute(item, self._segmentID):
            return
        node = hierarchy.GetItemDataNode(hierarchy.GetItemParent(item))
        segmentID = hierarchy.GetItemAttribute(item, self._segmentID)
        if node is not None and node.GetSegmentation().GetSegment(segmentID) is not None:
            self._itemBeingRemoved = item
            node.GetSegmentation().RemoveSegment(segmentID)
            self._itemBeingRemoved = 0


_callbacks: list[Any] = []  # kept, else garbage collection clears callbacks of nodes that are still in the scene


def observe(subject: Any, event: Any, dataType: Any, method: Any) -> int:
    """Call a method with the data of an event (of the given VTK type); returns the observer's tag."""

    @vtk.calldata_type(dataType)
    def callback(caller: Any, event: Any, data: Any) -> None:
        method(data)

    _callbacks.append(callback)
    return subject.AddObserver(event, callback)
