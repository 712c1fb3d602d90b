"""The part of the training panel that loads previews of a pre-training."""

from __future__ import annotations

from slicer.i18n import tr as _

from TopoMAELib.run_folder import PREVIEW_KINDS, RunFolder, RunPreview
from TopoMAETrainLib.previews import KeyPoints, PreviewScene, kindTitles


class RunPreviewView:
    """Loads the latest preview on demand and says how well the key points were predicted.

    Args:
        ui: the named widgets of TopoMAETrainRun.ui.
        scene: puts previews into the scene.
    """

    def __init__(self, ui: object, scene: PreviewScene | None = None):
        self._ui = ui
        self._scene = scene or PreviewScene()
        self._folder: RunFolder | None = None
        self._loaded: tuple[str, int] | None = None
        for kind, title in kindTitles().items():
            ui.previewKindComboBox.addItem(title, kind)
        ui.previewKindComboBox.setCurrentIndex(len(PREVIEW_KINDS) - 1)
        ui.previewButton.clicked.connect(self._onLoad)
        ui.previewKindComboBox.currentIndexChanged.connect(self._onKind)
        ui.previewChannelComboBox.currentIndexChanged.connect(self._onChannel)

    def setRun(self, folder: RunFolder, modalities: list[str]) -> None:
        """Offer the previews of this run from now on.

        Args:
            folder: of the run.
            modalities: names of its image channels.
        """
        self._folder, self._loaded = folder, None
        combo = self._ui.previewChannelComboBox
        wasBlocked = combo.blockSignals(True)
        combo.clear()
        for name in modalities:
            combo.addItem(name)
        combo.blockSignals(wasBlocked)
        combo.setVisible(len(modalities) > 1)
        self._ui.previewKindComboBox.setEnabled(False)
        self._ui.keyPointLabel.setVisible(False)
        self.update()

    def update(self) -> None:
        """Follow the previews that the run has written."""
        latest = self._latest()
        button = self._ui.previewButton
        button.setEnabled(latest is not None)
        if latest is None:
            button.setText(_("Load latest"))
            button.setToolTip(_("Only pre-trainings write previews; this run has none yet."))
        else:
            button.setText(_("Load step {step}").format(step=latest.step))
            button.setToolTip(_("Load input, masked input and reconstructions, and true and predicted key points."))

    def load(self) -> KeyPoints | None:
        """Load the latest preview into the scene; None if there is none.

        Raises:
            ValueError: its files cannot be read.
        """
        latest = self._latest()
        if latest is None:
            return None
        keyPoints = self._scene.load(self._folder.name, latest, max(0, self._ui.previewChannelComboBox.currentIndex))
        self._loaded = (self._folder.name, latest.step)
        self._ui.previewKindComboBox.setEnabled(True)
        self._scene.show(str(self._ui.previewKindComboBox.currentData))
        self._tell(_keyPointWords(latest.step, keyPoints))
        return keyPoints

    def sceneClosed(self) -> None:
        """The volumes are gone."""
        self._loaded = None
        self._ui.previewKindComboBox.setEnabled(False)
        self._ui.keyPointLabel.setVisible(False)

    def _latest(self) -> RunPreview | None:
        previews = self._folder.previews() if self._folder is not None else []
        return previews[-1] if previews else None

    def _tell(self, text: str) -> None:
        self._ui.keyPointLabel.setText(text)
        self._ui.keyPointLabel.setVisible(True)

    def _onLoad(self, *_arguments: object) -> None:
        try:
            self.load()
        except ValueError as error:
            self._tell(str(error))

    def _onKind(self, *_arguments: object) -> None:
        if self._loaded is not None:
            self._scene.show(str(self._ui.previewKindComboBox.currentData))

    def _onChannel(self, *_arguments: object) -> None:
        if self._loaded is not None:
            self._onLoad()


def _keyPointWords(step: int, keyPoints: KeyPoints) -> str:
    names = {"vit": "ViT", "unetrpp": "UNETR++"}
    parts = [
        _("{branch} {mean:.1f} mm (at most {most:.1f})").format(
            branch=names.get(name, name), mean=float(errors.mean()), most=float(errors.max())
        )
        for name, errors in keyPoints.errors().items()
    ]
    return _("Step {step}, mean error of the key points: {errors}").format(step=step, errors=", ".join(parts))
