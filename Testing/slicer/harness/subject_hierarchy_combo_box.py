"""Stand-in of the widget that chooses an item of the subject hierarchy."""

from typing import Any

import slicer
import vtk

from .ctk_widgets import ctkComboBox
from .node_combo_box import hasAttribute
from .pythonqt import makeQtModule
from .scene_widgets import SceneHolder
from .stand_in import standIn, stored

qt = makeQtModule()

NO_ITEM = 0  # vtkMRMLSubjectHierarchyNode.GetInvalidItemID()


@standIn
class qMRMLSubjectHierarchyComboBox(SceneHolder, ctkComboBox):
    """Chooses an item of the subject hierarchy (a folder, a study, a node); the tree is shown as an indented list."""

    currentItemChanged = qt.Signal("qlonglong")
    currentItemModified = qt.Signal("qlonglong")

    noneEnabled = stored(bool, "noneEnabled", False, "_refresh")
    noneDisplay = stored(str, "noneDisplay", "None", "_refresh")
    showRootItem = stored(bool, "showRootItem", True)
    showCurrentItemParents = stored(bool, "showCurrentItemParents", True)
    showEmptyHierarchyItems = stored(bool, "showEmptyHierarchyItems", True)
    highlightReferencedItems = stored(bool, "highlightReferencedItems", False)
    alignPopupVertically = stored(bool, "alignPopupVertically", True)
    maximumNumberOfShownItems = stored(int, "maximumNumberOfShownItems", 20)

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._item = NO_ITEM
        self._filling = False
        self._levels: tuple[str, ...] = ()
        self._nodeTypes: tuple[str, ...] = ()
        self._attributeFilters: list[tuple[str, str]] = []
        self._rootItem = NO_ITEM
        self.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.setPlaceholderText("Select subject hierarchy item")
        self.currentIndexChanged.connect(self._onIndex)

    def subjectHierarchyNode(self):
        scene = self.mrmlScene()
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene) if scene is not None else None

    def _sceneReplaced(self, before, scene):
        kind = slicer.vtkMRMLScene
        self._observe(scene, (kind.StartCloseEvent,), self._onSceneCloses)
        self._observe(scene, (kind.EndCloseEvent, kind.EndImportEvent), self._onScene)
        self._onScene()

    def _onSceneCloses(self, *_):
        """The hierarchy node goes with the scene: an observer that still held it would keep a dead one alive."""
        self._observe(None, (), self._onHierarchy)

    def _onScene(self, *_):
        hierarchy = self.subjectHierarchyNode()
        kind = slicer.vtkMRMLSubjectHierarchyNode
        events = (
            kind.SubjectHierarchyItemAddedEvent,
            kind.SubjectHierarchyItemRemovedEvent,
            kind.SubjectHierarchyItemModifiedEvent,
            kind.SubjectHierarchyItemReparentedEvent,
        )
        self._observe(hierarchy, events, self._onHierarchy)
        self._refresh()

    def _onHierarchy(self, *_):
        self._refresh()

    def _shownItems(self) -> list[tuple[int, int]]:
        """Item and depth, parents before children."""
        hierarchy = self.subjectHierarchyNode()
        return self._below(hierarchy, self._rootItem or hierarchy.GetSceneItemID(), 0) if hierarchy is not None else []

    def _below(self, hierarchy: Any, parent: int, depth: int) -> list[tuple[int, int]]:
        children, found = vtk.vtkIdList(), []
        hierarchy.GetItemChildren(parent, children, False)
        for item in (children.GetId(index) for index in range(children.GetNumberOfIds())):
            found += [(item, depth)] if self._accepts(hierarchy, item) else []
            found += self._below(hierarchy, item, depth + 1)
        return found

    def _accepts(self, hierarchy, item) -> bool:
        node = hierarchy.GetItemDataNode(item)
        if node is None:
            level = hierarchy.GetItemLevel(item)
            return level in self._levels if self._levels else self.showEmptyHierarchyItems
        if node.GetHideFromEditors() or self._levels:
            return False
        if self._nodeTypes and not any(node.IsA(kind) for kind in self._nodeTypes):
            return False
        return all(hasAttribute(node, name, value or None) for name, value in self._attributeFilters)

    def _refresh(self):
        hierarchy, items = self.subjectHierarchyNode(), self._shownItems()
        self._filling = True
        self.clear()
        if self.noneEnabled:
            self.addItem(self.noneDisplay, NO_ITEM)
        for item, depth in items:
            self.addItem("   " * depth + hierarchy.GetItemName(item), item)
        self._filling = False
        self._choose(self._item if self._item in [item for item, _ in items] else NO_ITEM)

    def _onIndex(self, index):
        if not self._filling:
            self._choose(self.itemData(index) if index >= 0 else NO_ITEM)

    def _choose(self, item):
        self._filling = True
        self.setCurrentIndex(self.findData(item))
        self._filling = False
        if item != self._item:
            self._item = item
            self.currentItemChanged.emit(item)

    def currentItem(self):
        return self._item

    def setCurrentItem(self, itemID):
        self._choose(itemID if itemID in [item for item, _ in self._shownItems()] else NO_ITEM)

    def clearSelection(self):
        self._choose(NO_ITEM)

    def rootItem(self):
        return self._rootItem

    def setRootItem(self, itemID):
        self._rootItem = itemID
        self._refresh()

    def setLevelFilter(self, levels):
        self._levels = tuple(levels)
        self._refresh()

    def setNodeTypes(self, types):
        self._nodeTypes = tuple(types)
        self._refresh()

    def addNodeAttributeFilter(self, attributeName, attributeValue="", include=True, className=""):
        if not include or className:
            raise NotImplementedError("the stand-in knows including filters for all classes only")
        self._attributeFilters.append((attributeName, attributeValue))
        self._refresh()
