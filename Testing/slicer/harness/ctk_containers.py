"""Stand-ins of the CTK widgets that hold other widgets: collapsible buttons and group boxes."""

from typing import Any

from .pythonqt import makeQtModule
from .stand_in import parentAmong, standIn, stored

qt = makeQtModule()

TITLE_HEIGHT = 22
UNLIMITED = 16777215


@standIn
class ctkCollapsibleButton(qt.QAbstractButton):
    """A title bar; a click on it hides and shows what lies below."""

    contentsCollapsed = qt.Signal(bool)
    collapsedHeight = stored(int, "collapsedHeight", 10, "_fit")
    contentsFrameShape = stored(int, "contentsFrameShape", 0)
    contentsFrameShadow = stored(int, "contentsFrameShadow", 16)
    contentsLineWidth = stored(int, "contentsLineWidth", 1)
    contentsMidLineWidth = stored(int, "contentsMidLineWidth", 0)

    def __init__(self, *arguments: Any):
        super().__init__(parentAmong(arguments))
        self._hiddenChildren: list[Any] = []
        self.setText(next((argument for argument in arguments if isinstance(argument, str)), "Button"))
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, TITLE_HEIGHT, 0, 0)
        self.setSizePolicy(qt.QSizePolicy.Minimum, qt.QSizePolicy.Preferred)
        self.toggled.connect(self._onToggled)

    def setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    collapsed = qt.Property(bool, lambda self: not self.checked, setCollapsed)

    def _onToggled(self, opened):
        if opened:
            for child in self._hiddenChildren:
                child.show()
            self._hiddenChildren = []
        else:
            self._hideContents()
        self._fit()
        self.contentsCollapsed.emit(not opened)

    def _hideContents(self):
        for child in self.findChildren(qt.QWidget, "", qt.Qt.FindDirectChildrenOnly):
            if not child.isHidden():
                self._hiddenChildren.append(child)
                child.hide()

    def _fit(self):
        self.setMaximumHeight(TITLE_HEIGHT if self.collapsed else UNLIMITED)
        self.updateGeometry()
        self.update()

    def childEvent(self, event: Any) -> None:
        """Children of a collapsed button (it is often collapsed before it is filled) are hidden too."""
        super().childEvent(event)
        if event.type() == qt.QEvent.ChildPolished and self.collapsed and event.child().isWidgetType():
            self._hideContents()

    def hitButton(self, position: Any) -> bool:
        return position.y() < TITLE_HEIGHT

    def minimumSizeHint(self) -> Any:
        """Room for the title, also where nothing is below it."""
        title = self.fontMetrics().horizontalAdvance(self.text) + 3 * TITLE_HEIGHT
        below = self._below("totalMinimumSize")
        return qt.QSize(max(title, below.width()), max(TITLE_HEIGHT, below.height()))

    def sizeHint(self) -> Any:
        below = self._below("totalSizeHint")
        return qt.QSize(max(self.minimumSizeHint().width(), below.width()), max(TITLE_HEIGHT, below.height()))

    def _below(self, wish: str) -> Any:
        """What the layout wants, with the margins that leave room for the title."""
        return getattr(self.layout(), wish)() if self.layout() and not self.collapsed else qt.QSize(0, TITLE_HEIGHT)

    def paintEvent(self, event: Any) -> None:
        painter = qt.QPainter(self)
        painter.setRenderHint(qt.QPainter.Antialiasing)
        bar = qt.QRectF(0.5, 0.5, self.width - 1, TITLE_HEIGHT - 3)
        painter.setPen(self.palette.color(qt.QPalette.Mid))
        painter.setBrush(self.palette.color(qt.QPalette.Midlight if self.down else qt.QPalette.Button))
        painter.drawRoundedRect(bar, 3, 3)
        option = qt.QStyleOption()
        option.initFrom(self)
        option.rect = qt.QRect(5, 4, TITLE_HEIGHT - 11, TITLE_HEIGHT - 11)
        arrow = qt.QStyle.PE_IndicatorArrowRight if self.collapsed else qt.QStyle.PE_IndicatorArrowDown
        self.style().drawPrimitive(arrow, option, painter, self)
        painter.setPen(self.palette.color(qt.QPalette.ButtonText))
        painter.drawText(bar.adjusted(TITLE_HEIGHT, 0, 0, 0), qt.Qt.AlignVCenter | qt.Qt.AlignLeft, self.text)
        painter.end()


@standIn
class ctkCollapsibleGroupBox(qt.QGroupBox):
    """A group box whose check box hides its contents."""

    collapsedHeight = stored(int, "collapsedHeight", 14)

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.setCheckable(True)
        self.toggled.connect(self._onToggled)

    collapsed = qt.Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))

    def _onToggled(self, opened):
        for child in self.findChildren(qt.QWidget, "", qt.Qt.FindDirectChildrenOnly):
            child.setVisible(opened)


@standIn
class ctkExpandButton(qt.QToolButton):
    """An arrow that points to where something can be shown."""

    mirrorOnExpand = stored(bool, "mirrorOnExpand", False)
    orientation = stored(int, "orientation", 1)
