"""Nodes that a panel makes and fills again and again: found by their role, kept together in one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from TopoMAELib.harmless import cleanName

ROLE_ATTRIBUTE = "TopoMAE.Role"


def findRoleNode(role: str, className: str = "vtkMRMLNode") -> slicer.vtkMRMLNode | None:
    """The node of the scene that has a role, also in a scene that was saved and loaded again."""
    for node in slicer.util.getNodesByClass(className):
        if node.GetAttribute(ROLE_ATTRIBUTE) == role:
            return node
    return None


def roleNode(className: str, role: str, name: str, folder: str = "", hidden: bool = False) -> slicer.vtkMRMLNode:
    """The node with a role, made if the scene has none.

    Args:
        className: MRML class of the node to make.
        role: what the node is for, unique in the scene.
        name: name of the node; a node that is found is renamed.
        folder: subject hierarchy folder to put a new node in; none if empty.
        hidden: keep a new node out of node selectors, and from being selected there when it is added.
    """
    name = cleanName(name)
    node = findRoleNode(role, className)
    if node is not None:
        if node.GetName() != name:
            node.SetName(name)
        return node
    node = slicer.mrmlScene.CreateNodeByClass(className)
    node.UnRegister(None)
    node.SetName(name)
    node.SetAttribute(ROLE_ATTRIBUTE, role)
    node.SetHideFromEditors(hidden)
    node = slicer.mrmlScene.AddNode(node)
    if hasattr(node, "CreateDefaultDisplayNodes"):
        node.CreateDefaultDisplayNodes()
    if folder:
        putInFolder(node, folder)
    return node


def putInFolder(node: slicer.vtkMRMLNode, folder: str) -> None:
    """Put a node into a top-level folder of the subject hierarchy, made if there is none of that name."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None:
        return
    top = hierarchy.GetSceneItemID()
    folderItem = hierarchy.GetItemChildWithName(top, folder) or hierarchy.CreateFolderItem(top, folder)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, folderItem)
    else:
        hierarchy.CreateItem(folderItem, node)


def removeRoleNodes(role: str, folder: str = "") -> None:
    """Remove the node with a role and those whose role begins with it and a dot; then the folder, if it is empty."""
    role = role.rstrip(".")
    for node in slicer.util.getNodesByClass("vtkMRMLNode"):
        found = node.GetAttribute(ROLE_ATTRIBUTE) or ""
        if (found == role or found.startswith(role + ".")) and slicer.mrmlScene.IsNodePresent(node):
            slicer.mrmlScene.RemoveNode(node)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None or not folder:
        return
    item = hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), folder)
    if item and hierarchy.GetNumberOfItemChildren(item) == 0:
        hierarchy.RemoveItem(item)


def fillTable(tableNode: slicer.vtkMRMLTableNode, columns: Mapping[str, Sequence]) -> None:
    """Replace the columns of a table node, in one step, so that charts never see half a table.

    Args:
        tableNode: the node.
        columns: column name to values: a list of str, or a one-dimensional numpy array of numbers.
    """
    table = vtk.vtkTable()
    for name, values in columns.items():
        if isinstance(values, list):
            column = vtk.vtkStringArray()
            for value in values:
                column.InsertNextValue(value)
        else:
            column = numpy_to_vtk(values, deep=True)
        column.SetName(name)
        table.AddColumn(column)
    tableNode.SetAndObserveTable(table)
