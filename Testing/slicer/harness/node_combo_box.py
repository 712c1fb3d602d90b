"""Stand-ins of the widgets that choose nodes of the scene."""

from typing import Any

import vtk

from .pythonqt import makeQtModule
from .scene_widgets import SceneHolder
from .stand_in import standIn, stored

qt = makeQtModule()


@standIn
class qMRMLNodeComboBox(SceneHolder, qt.QWidget):
    """Chooses a node of given classes; grey until it has a scene, as in Slicer."""

    currentNodeChanged = qt.Signal(object)
    currentNodeIDChanged = qt.Signal(str)
    currentNodeRenamed = qt.Signal(str)
    nodeActivated = qt.Signal(object)
    nodeAdded = qt.Signal(object)
    nodeAddedByUser = qt.Signal(object)
    nodeAddedByUserAction = qt.Signal(object)
    nodeAboutToBeEdited = qt.Signal(object)
    nodeAboutToBeRemoved = qt.Signal(object)

    nodeTypes = stored("QStringList", "nodeTypes", (), "_refresh")
    hideChildNodeTypes = stored("QStringList", "hideChildNodeTypes", (), "_refresh")
    showHidden = stored(bool, "showHidden", False, "_refresh")
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True, "_refresh")
    noneEnabled = stored(bool, "noneEnabled", False, "_refresh")
    noneDisplay = stored(str, "noneDisplay", "None", "_refresh")
    baseName = stored(str, "baseName", "")
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)
    editEnabled = stored(bool, "editEnabled", False)
    renameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    interactionNodeSingletonTag = stored(str, "interactionNodeSingletonTag", "Singleton")
    sizeAdjustPolicy = stored(int, "sizeAdjustPolicy", 0)

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._attributes: list[tuple[str, str, str | None]] = []
        self._listed: list[str] = []  # IDs of the nodes to choose from, in the order of the scene
        self._nodeID = self._requestedID = ""
        self._filling = False
        self._combo = qt.QComboBox(self)
        self._combo.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self._combo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._combo.setMinimumContentsLength(8)
        self._combo.currentIndexChanged.connect(self._onIndex)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._refresh()
        self.setEnabled(False)

    # ------------------------------------------------------------------ scene

    def _sceneReplaced(self, before, scene):
        events = _sceneEvents(scene) if scene is not None else ()
        self._observe(scene, events, self._onScene)
        self._refresh()
        if self._requestedID:
            self.setCurrentNodeID(self._requestedID)
            self._requestedID = ""
        self.setEnabled(scene is not None)

    def _onScene(self, *_):
        if not self.mrmlScene().IsBatchProcessing():
            self._refresh()

    def _onNode(self, *_):
        """A node changed: perhaps its name, or an attribute that decides whether it is listed."""
        if [node.GetID() for node in self._acceptedNodes()] != self._listed:
            self._refresh()
        else:
            self._showNames()

    def _acceptedNodes(self) -> list[Any]:
        scene = self.mrmlScene()
        if scene is None:
            return []
        nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
        return [node for node in nodes if self._accepts(node)]

    def _accepts(self, node) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        for kind in self.nodeTypes:
            listed = node.IsA(kind) if self.showChildNodeTypes else node.GetClassName() == kind
            if listed and not any(node.IsA(hidden) for hidden in self.hideChildNodeTypes):
                return all(hasAttribute(node, name, value) for of, name, value in self._attributes if of == kind)
        return False

    # ------------------------------------------------------------------ list

    def _refresh(self):
        nodes = self._acceptedNodes()
        before, self._listed = self._listed, [node.GetID() for node in nodes]
        self._observeAll(nodes, (vtk.vtkCommand.ModifiedEvent,), self._onNode)
        self._filling = True
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay, "")
        for node in nodes:
            self._combo.addItem("", node.GetID())
        self._filling = False
        self._showNames()
        self._choose(self._nodeID if self._nodeID in self._listed else self._replacement(before))
        for node in nodes:
            if node.GetID() not in before:
                self.nodeAdded.emit(node)

    def _replacement(self, before: list[str]) -> str:
        """Who takes the place of a current node that is not listed any more: the next one, as QComboBox does it."""
        if not self._listed:
            return ""
        if self._nodeID in before:
            return self._listed[min(before.index(self._nodeID), len(self._listed) - 1)]
        return "" if self.noneEnabled or before else self._listed[0]

    def _showNames(self):
        first = 1 if self.noneEnabled else 0
        for index, nodeID in enumerate(self._listed):
            node = self.mrmlScene().GetNodeByID(nodeID)
            name = (node.GetName() or "") if node is not None else ""
            if self._combo.itemText(first + index) != name:
                self._combo.setItemText(first + index, name)
        kind = self._typeLabel(self.nodeTypes[0]) if self.nodeTypes else "node"
        self._combo.setPlaceholderText(f"Select a {kind}")

    def _typeLabel(self, kind: str) -> str:
        scene = self.mrmlScene()
        return (scene.GetTypeDisplayNameByClassName(kind) if scene is not None else "") or "node"

    def _onIndex(self, index):
        if not self._filling:
            self._choose(self._combo.itemData(index) if index >= 0 else "")

    def _choose(self, nodeID: str):
        self._filling = True
        self._combo.setCurrentIndex(self._combo.findData(nodeID))
        self._filling = False
        if nodeID != self._nodeID:
            self._nodeID = nodeID
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(nodeID)

    # ------------------------------------------------------------------ as in C++

    def currentNode(self):
        scene = self.mrmlScene()
        return scene.GetNodeByID(self._nodeID) if scene is not None and self._nodeID else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID((node.GetID() or "") if node is not None else "")

    def setCurrentNodeID(self, nodeID):
        """A node that is not listed leaves nothing chosen; without a scene the wish is kept until there is one."""
        if self.mrmlScene() is None:
            self._requestedID = nodeID
        self._choose(nodeID if nodeID in self._listed else "")

    currentNodeID = qt.Property(str, lambda self: self._nodeID, setCurrentNodeID)

    def setCurrentNodeIndex(self, index):
        self._choose(self._listed[index] if 0 <= index < len(self._listed) else "")

    def nodeCount(self):
        return len(self._listed)

    def nodeFromIndex(self, index):
        return self.mrmlScene().GetNodeByID(self._listed[index]) if 0 <= index < len(self._listed) else None

    def addAttribute(self, nodeType, attributeName, attributeValue=None):
        """An attribute without a value accepts any value, but the node must have the attribute."""
        self._attributes.append((nodeType, attributeName, attributeValue))
        self._refresh()

    def removeAttribute(self, nodeType, attributeName):
        self._attributes = [kept for kept in self._attributes if kept[:2] != (nodeType, attributeName)]
        self._refresh()

    def addNode(self, nodeType=""):
        if not self.nodeTypes or (nodeType and nodeType not in self.nodeTypes):
            return None
        kind, scene = nodeType or self.nodeTypes[0], self.mrmlScene()
        node = scene.CreateNodeByClass(kind)
        node.UnRegister(None)
        node.SetName(scene.GenerateUniqueName(self.baseName or node.GetNodeTagName()))
        for _, name, value in self._attributes:
            node.SetAttribute(name, value or "")
        scene.AddNode(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self):
        node = self.currentNode()
        if node is not None:
            self.nodeAboutToBeRemoved.emit(node)
            self.mrmlScene().RemoveNode(node)


def _sceneEvents(scene) -> tuple[int, ...]:
    return (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)


def hasAttribute(node: Any, name: str, value: str | None) -> bool:
    """Whether a node has an attribute, with this value unless that is None."""
    actual = node.GetAttribute(name)
    return actual is not None and value in (None, actual)


@standIn
class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """Chooses several nodes."""

    checkedNodesChanged = qt.Signal()

    def __init__(self, parent: Any = None):
        self._checkedIDs: list[str] = []  # before the base class fills its list
        super().__init__(parent)

    def _showNames(self):
        super()._showNames()
        checked = [node.GetName() or "" for node in self.checkedNodes()]
        self._combo.setPlaceholderText(", ".join(checked) or "None")
        self._combo.setCurrentIndex(-1)

    def _nodesWhere(self, checked: bool):
        listed = [nodeID for nodeID in self._listed if (nodeID in self._checkedIDs) == checked]
        return tuple(self.mrmlScene().GetNodeByID(nodeID) for nodeID in listed)

    def checkedNodes(self):
        return self._nodesWhere(True)

    def uncheckedNodes(self):
        return self._nodesWhere(False)

    def allChecked(self):
        return not self.uncheckedNodes()

    def noneChecked(self):
        return not self.checkedNodes()

    def checkState(self, node):
        return qt.Qt.Checked if node is not None and node.GetID() in self._checkedIDs else qt.Qt.Unchecked

    def setCheckState(self, node, state):
        if node is None or node.GetID() not in self._listed or state == self.checkState(node):
            return
        if state == qt.Qt.Checked:
            self._checkedIDs.append(node.GetID())
        else:
            self._checkedIDs.remove(node.GetID())
        self._showNames()
        self.checkedNodesChanged.emit()

    def check(self, node):
        self.setCheckState(node, qt.Qt.Checked)

    def uncheck(self, node):
        self.setCheckState(node, qt.Qt.Unchecked)
