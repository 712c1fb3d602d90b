"""The models that the user has: a list of folders in the application's settings."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import slicer

from TopoMAELib.model_card import ModelCard, ModelFolderError, ModelLabel

__all__ = ["ModelCard", "ModelEntry", "ModelFolderError", "ModelLabel", "ModelList"]

_SETTING = "TopoMAE/ModelFolders"


@dataclass(frozen=True)
class ModelEntry:
    """A folder of the list: its card, or the sentence that says why it cannot be used now."""

    folder: str
    card: ModelCard | None
    problem: str


class ModelList:
    """Known model folders, shared by all modules.

    Attributes:
        changed: called without arguments after every change, whichever list object made it.
    """

    changed: list[Callable[[], None]] = []  # noqa: RUF012 (shared by all objects on purpose)

    def __init__(self, settings: object = None) -> None:
        """Args: settings: a QSettings; the application's own by default."""
        self._settings = settings

    def folders(self) -> list[str]:
        """The folders, in the order in which they were added."""
        text = self._store().value(_SETTING)
        try:
            folders = json.loads(text) if text else []
        except (TypeError, ValueError):
            logging.warning("The list of model folders in the settings cannot be read; it starts empty.")
            folders = []
        return [folder for folder in folders if isinstance(folder, str)] if isinstance(folders, list) else []

    def entries(self) -> list[ModelEntry]:
        """Every folder with its card, or with what is wrong with it (moved, on a disk that is not there)."""
        return [_entryOf(folder) for folder in self.folders()]

    def cards(self) -> list[ModelCard]:
        """The cards of all folders that can be used now."""
        return [entry.card for entry in self.entries() if entry.card]

    def add(self, folder: str | Path) -> ModelCard:
        """Add a model folder or a finished fine-tuning run; nothing changes if it is there already.

        Raises:
            ModelFolderError: it is no model.
        """
        card = ModelCard.read(folder)
        folders = self.folders()
        if card.folder not in folders:
            self._write([*folders, card.folder])
        return card

    def remove(self, folder: str | Path) -> None:
        """Take a folder off the list; nothing on the disk is deleted."""
        self._write([one for one in self.folders() if one != str(folder)])

    def _write(self, folders: list[str]) -> None:
        # As JSON text: an INI file gives a list of one string back as a string.
        self._store().setValue(_SETTING, json.dumps(folders))
        for callback in list(self.changed):
            callback()

    def _store(self) -> object:
        return self._settings if self._settings is not None else slicer.app.userSettings()


def _entryOf(folder: str) -> ModelEntry:
    try:
        return ModelEntry(folder, ModelCard.read(folder), "")
    except ModelFolderError as error:
        return ModelEntry(folder, None, str(error))
