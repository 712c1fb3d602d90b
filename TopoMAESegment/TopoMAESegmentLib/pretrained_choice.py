"""Which pre-training run a panel uses: what the user chose, else the one that the chosen model came from."""

from __future__ import annotations

from pathlib import Path

import ctk
import slicer
from slicer.i18n import tr as _

_SETTING = "TopoMAE/PretrainedRun"


class PretrainedChoice:
    """Ties a ctkPathLineEdit to the folder of a pre-training run."""

    def __init__(self, pathLineEdit: object, segmentContext: object, settings: object = None):
        """Show the folder used last.

        Args:
            pathLineEdit: ctkPathLineEdit for a folder.
            segmentContext: tells the chosen model.
            settings: a QSettings; the application's own by default.
        """
        self._edit, self._context = pathLineEdit, segmentContext
        self._settings = settings if settings is not None else slicer.app.userSettings()
        self._suggested = ""
        pathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        remembered = self._settings.value(_SETTING)
        if remembered:
            self._edit.setCurrentPath(str(remembered))
        self.suggest()
        self._edit.currentPathChanged.connect(self._onPathChanged)

    def folder(self) -> str:
        """The folder.

        Raises:
            ValueError: none is chosen, or it does not exist.
        """
        text = (self._edit.currentPath or "").strip()
        if not text:
            raise ValueError(_("Choose the folder of a pre-training run first."))
        if not Path(text).is_dir():
            raise ValueError(
                _("The folder {folder} does not exist. Choose the folder of a pre-training run.").format(folder=text)
            )
        return text

    def suggest(self) -> None:
        """Take the run that the chosen model was fine-tuned from, unless the user has chosen another."""
        card = self._context.modelCard()
        run = card.pretrainedRun if card is not None else ""
        current = (self._edit.currentPath or "").strip()
        if run and run != current and (not current or current == self._suggested or not Path(current).is_dir()):
            self._suggested = run
            self._edit.setCurrentPath(run)

    def _onPathChanged(self, path: str) -> None:
        if path and path != self._suggested and Path(path).is_dir():
            self._settings.setValue(_SETTING, path)
