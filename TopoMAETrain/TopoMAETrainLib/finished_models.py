"""Models of finished fine-tunings come into the list of models, once: who takes one off the list meant it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import slicer

from TopoMAELib.model_folders import ModelFolderError, ModelList
from TopoMAELib.run_folder import DONE, RunFolder

_SETTING = "TopoMAE/OfferedModels"
_MOST = 500  # remembered; older ones are forgotten


class FinishedModels:
    """Adds models to the list that TopoMAESegment offers.

    Args:
        models: the list.
        settings: application settings; those of the user by default.
    """

    def __init__(self, models: ModelList | None = None, settings: object = None):
        self.models = models or ModelList(settings)
        self._settings = settings

    def offer(self, run: RunFolder) -> bool:
        """Add the model of a run, if it is a finished fine-tuning that was not offered before; tells whether."""
        folder = run.modelFolder() if run.kind == "finetune" else None
        if folder is None or run.state() != DONE or str(folder.resolve()) in self._offered():
            return False
        try:
            self.models.add(folder.resolve())
        except ModelFolderError as error:
            logging.warning(f"TopoMAETrain: the model of the run {run.path} cannot be listed: {error}")
            return False
        self._remember([*self._offered(), str(folder.resolve())])
        return True

    def forget(self, runPath: Path) -> None:
        """Take the model of a deleted run off the list."""
        folder = str((runPath / "model").resolve())
        self._remember([one for one in self._offered() if one != folder])
        self.models.remove(folder)

    def _offered(self) -> list[str]:
        try:
            offered = json.loads(self._store().value(_SETTING) or "[]")
        except (TypeError, ValueError):
            return []
        return [str(folder) for folder in offered] if isinstance(offered, list) else []

    def _remember(self, folders: list[str]) -> None:
        self._store().setValue(_SETTING, json.dumps(folders[-_MOST:]))

    def _store(self) -> object:
        return self._settings if self._settings is not None else slicer.app.userSettings()
