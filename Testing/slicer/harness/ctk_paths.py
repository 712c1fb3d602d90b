"""Stand-ins of the CTK widgets that name files, folders and colours."""

from typing import Any

from .pythonqt import makeQtModule
from .stand_in import parentAmong, standIn, stored

qt = makeQtModule()

LONGEST_HISTORY = 5


@standIn
class ctkPathLineEdit(qt.QWidget):
    """A path with the paths used before (kept in the settings) and a button to browse."""

    currentPathChanged = qt.Signal(str)
    validInputChanged = qt.Signal(bool)

    Dirs, Files, Drives, NoSymLinks, AllEntries = 0x001, 0x002, 0x004, 0x008, 0x007
    Readable, Writable, Executable = 0x010, 0x020, 0x040
    Hidden, System, AllDirs, CaseSensitive = 0x100, 0x200, 0x400, 0x800
    NoDotAndDotDot, NoDot, NoDotDot = 0x1000, 0x2000, 0x4000
    AdjustToContents, AdjustToContentsOnFirstShow, AdjustToMinimumContentsLength = 0, 1, 2

    label = stored(str, "label", "")
    filters = stored(int, "filters", AllEntries | NoDotAndDotDot | Readable | Executable)
    options = stored(int, "options", 0)
    nameFilters = stored("QStringList", "nameFilters", ())
    settingKey = stored(str, "settingKey", "", "retrieveHistory")
    showBrowseButton = stored(bool, "showBrowseButton", True, "_show")
    showHistoryButton = stored(bool, "showHistoryButton", True)
    sizeAdjustPolicy = stored(int, "sizeAdjustPolicy", AdjustToContentsOnFirstShow)
    minimumContentsLength = stored(int, "minimumContentsLength", 0)

    def __init__(self, *arguments: Any):
        super().__init__(parentAmong(arguments))
        self._valid = False
        self._combo = qt.QComboBox(self)
        self._combo.setEditable(True)
        self._combo.setInsertPolicy(qt.QComboBox.NoInsert)
        self._combo.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self._combo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._combo.setMinimumContentsLength(8)
        self._combo.editTextChanged.connect(self._onText)
        self._browse = qt.QToolButton(self)
        self._browse.setText("...")
        self._browse.setSizePolicy(qt.QSizePolicy.Fixed, qt.QSizePolicy.Preferred)
        self._browse.clicked.connect(self.browse)
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self._combo, 1)
        row.addWidget(self._browse)
        texts = [argument for argument in arguments if isinstance(argument, str)]
        self.label = texts[0] if texts else ""

    def _onText(self, path):
        self.currentPathChanged.emit(path)
        valid = bool(path) and qt.QFileInfo(path).exists()
        if valid != self._valid:
            self._valid = valid
            self.validInputChanged.emit(valid)

    def setCurrentPath(self, path):
        self._combo.setEditText(path)

    currentPath = qt.Property(str, lambda self: self._combo.currentText, setCurrentPath)

    def setCurrentFileExtension(self, extension):
        stem, dot, _ = self.currentPath.rpartition(".")
        self.setCurrentPath(f"{stem if dot else self.currentPath}.{extension}")

    def browse(self):
        """Ask for a folder or file, through QFileDialog, whose answer a test has to give."""
        path = self.currentPath
        if not self.filters & self.Files:
            path = qt.QFileDialog.getExistingDirectory(self, "Select a directory...", path)
        elif self.filters & self.Writable:
            path = qt.QFileDialog.getSaveFileName(self, "Select a file to save ", path, ";;".join(self.nameFilters))
        else:
            path = qt.QFileDialog.getOpenFileName(self, "Open a file", path, ";;".join(self.nameFilters))
        path = path[0] if isinstance(path, tuple) else path
        if path:
            self.setCurrentPath(path)

    def _key(self) -> str:
        return f"ctkPathLineEdit/{self.settingKey or self.objectName}"

    def _savedPaths(self) -> list[str]:
        saved = qt.QSettings().value(self._key())
        return [saved] if isinstance(saved, str) else list(saved or ())

    def retrieveHistory(self):
        """Fill the list from the settings; an empty line takes the path used last."""
        path = self.currentPath
        self._combo.blockSignals(True)
        self._combo.clear()
        self._combo.addItems(self._savedPaths()[:LONGEST_HISTORY])
        self._combo.setEditText(path)
        self._combo.blockSignals(False)
        if not path and self._combo.count:
            self._combo.setCurrentIndex(0)
            self._combo.setEditText(self._combo.itemText(0))

    def addCurrentPathToHistory(self):
        path = self.currentPath
        if not path:
            return
        paths = [path, *(saved for saved in self._savedPaths() if saved != path)]
        qt.QSettings().setValue(self._key(), paths)
        self._combo.blockSignals(True)
        self._combo.clear()
        self._combo.addItems(paths[:LONGEST_HISTORY])
        self._combo.setCurrentIndex(0)
        self._combo.blockSignals(False)

    def _show(self):
        self._browse.setVisible(self.showBrowseButton)


@standIn
class ctkDirectoryButton(qt.QPushButton):
    """A button that shows a folder and asks for another."""

    directoryChanged = qt.Signal(str)
    directorySelected = qt.Signal(str)
    caption = stored(str, "caption", "")
    acceptMode = stored(int, "acceptMode", 0)
    displayAbsolutePath = stored(bool, "displayAbsolutePath", True)

    def __init__(self, *arguments: Any):
        texts = [argument for argument in arguments if isinstance(argument, str)]
        super().__init__(parentAmong(arguments))
        self._directory = texts[0] if texts else qt.QDir.currentPath()
        self.setText(self._directory)
        self.setIcon(self.style().standardIcon(qt.QStyle.SP_DirIcon))
        self.clicked.connect(self.browse)

    def setDirectory(self, directory):
        directory = qt.QDir(directory).absolutePath()
        if directory != self._directory:
            self._directory = directory
            self.setText(directory)
            self.directoryChanged.emit(directory)

    directory = qt.Property(str, lambda self: self._directory, setDirectory)

    def browse(self):
        directory = qt.QFileDialog.getExistingDirectory(self, self.caption, self._directory)
        if directory:
            self.setDirectory(directory)
            self.directorySelected.emit(self._directory)


@standIn
class ctkColorPickerButton(qt.QPushButton):
    """A button that shows a colour and asks for another."""

    colorChanged = qt.Signal(qt.QColor)
    displayColorName = stored(bool, "displayColorName", True)
    dialogOptions = stored(int, "dialogOptions", 0)

    def __init__(self, *arguments: Any):
        super().__init__(parentAmong(arguments))
        self._color = qt.QColor("black")
        self._show()

    def _show(self):
        pixmap = qt.QPixmap(14, 14)
        pixmap.fill(self._color)
        self.setIcon(qt.QIcon(pixmap))
        self.setText(self._color.name())

    def setColor(self, color):
        color = qt.QColor(color)
        if color != self._color:
            self._color = color
            self._show()
            self.colorChanged.emit(color)

    color = qt.Property(qt.QColor, lambda self: self._color, setColor)
