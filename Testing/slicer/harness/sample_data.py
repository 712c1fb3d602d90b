"""Stand-in for the module Sample Data: sources are kept and offered as Slicer does, and nothing is downloaded."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import slicer


class SampleDataSource:
    """A data set that is offered; as in Slicer there must be a list of addresses, which may be empty."""

    def __init__(
        self,
        sampleName: str | None = None,
        sampleDescription: str | None = None,
        uris: Sequence[str] | str | None = None,
        fileNames: Sequence[str] | str | None = None,
        nodeNames: Sequence[str | None] | str | None = None,
        checksums: Sequence[str | None] | str | None = None,
        loadFiles: Sequence[bool | None] | bool | None = None,
        customDownloader: Callable[["SampleDataSource"], Any] | None = None,
        thumbnailFileName: str | None = None,
        loadFileType: Sequence[str | None] | str | None = None,
        loadFileProperties: dict | None = None,
    ) -> None:
        self.sampleName, self.sampleDescription = sampleName, sampleDescription or sampleName
        self.customDownloader, self.thumbnailFileName = customDownloader, thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}
        if isinstance(uris, str):
            lists = [[each] for each in (uris, fileNames, nodeNames, checksums, loadFiles, loadFileType)]
        else:
            count = len(uris)  # Slicer fails here as well if there are none
            optional = (nodeNames, checksums, loadFiles)
            filled = [[None] * count if each is None else list(each) for each in optional]
            kinds = [loadFileType] * count if loadFileType is None or isinstance(loadFileType, str) else loadFileType
            lists = [list(uris), list(fileNames), *filled, list(kinds)]
        self.uris, self.fileNames, self.nodeNames, self.checksums, self.loadFiles, self.loadFileType = lists
        if len({len(each) for each in lists}) != 1:
            raise ValueError("All fields of sample data source must have the same length")

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    __hash__ = None

    def __str__(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in vars(self).items())


class SampleDataLogic:
    """Manages `slicer.modules.sampleDataSources`: from category to sources."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileType: Any = "VolumeFile",
        loadFiles: Any = None,
        loadFileProperties: Any = None,
        checksums: Any = None,
    ) -> None:
        """Offer a data set; one that is registered already is not offered twice."""
        source = SampleDataSource(
            sampleName, None, uris, fileNames, nodeNames, checksums, loadFiles,
            customDownloader, thumbnailFileName, loadFileType, loadFileProperties,
        )  # fmt: skip
        sources = _sources().setdefault(category, [])
        if source not in sources:
            sources.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category: str | None = None) -> Any:
        """The sources of a category, or all of them by category."""
        return _sources() if category is None else _sources().get(category, [])

    @staticmethod
    def isSampleDataSourceRegistered(category: str, sampleDataSource: SampleDataSource) -> bool:
        """Whether a source is offered already."""
        return sampleDataSource in _sources().get(category, [])

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        """The first source of that name."""
        every = (source for sources in _sources().values() for source in sources)
        return next((source for source in every if source.sampleName == sampleName), None)

    def downloadFromSource(self, source: SampleDataSource) -> list:
        """What Slicer gives for a source without addresses; it does not ask the custom downloader here."""
        if source.uris:
            raise RuntimeError("the harness downloads nothing")
        return []


def samplePanel() -> Any:
    """What the module shows: a box for each category, with a button for each source."""
    import ctk
    import qt

    window = slicer.util.mainWindow()
    iconSize = qt.QSize(int(window.iconSize.width() * 6), int(window.iconSize.height() * 4))
    panel = qt.QWidget()
    layout = qt.QVBoxLayout(panel)
    for category in sorted(_sources()):
        box = ctk.ctkCollapsibleGroupBox(panel)
        box.title, box.name = category, f"{category}CollapsibleGroupBox"
        layout.addWidget(box)
        row = qt.QHBoxLayout(box)  # a flow layout in Slicer
        for source in _sources()[category]:
            row.addWidget(_buttonOf(source, iconSize))
        row.addStretch(1)
    layout.addStretch(1)
    return panel


def _buttonOf(source: SampleDataSource, iconSize: Any) -> Any:
    import qt

    button = qt.QToolButton()
    button.setText(source.sampleDescription)
    button.name = f"{source.sampleDescription}PushButton"
    if source.thumbnailFileName and Path(source.thumbnailFileName).is_file():
        button.setIcon(qt.QIcon(source.thumbnailFileName))
    button.setIconSize(iconSize)
    button.setToolButtonStyle(qt.Qt.ToolButtonTextUnderIcon)
    button.clicked.connect(lambda *_: source.customDownloader(source))
    return button


def _sources() -> dict[str, list[SampleDataSource]]:
    if not hasattr(slicer.modules, "sampleDataSources"):
        slicer.modules.sampleDataSources = {}
    return slicer.modules.sampleDataSources
