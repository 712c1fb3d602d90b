"""Stand-ins of the CTK widgets that edit numbers: sliders with a spin box, ranges, coordinates."""

from typing import Any

from .pythonqt import makeQtModule
from .stand_in import parentAmong, standIn, stored

qt = makeQtModule()

SLIDER_STEPS = 1000


@standIn
class ctkDoubleSpinBox(qt.QDoubleSpinBox):
    """A spin box; the proxies and options of CTK are left out."""

    invertedControls = stored(bool, "invertedControls", False)


@standIn
class _BoundedWidget(qt.QWidget):
    """What the slider and the range share: bounds, step, decimals; subclasses give `_fit`: values into the bounds."""

    minimum = stored(float, "minimum", 0.0, "_fit")
    maximum = stored(float, "maximum", 99.0, "_fit")
    singleStep = stored(float, "singleStep", 1.0)
    decimals = stored(int, "decimals", 2, "_fit")
    prefix = stored(str, "prefix", "", "_fit")
    suffix = stored(str, "suffix", "", "_fit")
    tracking = stored(bool, "tracking", True)
    spinBoxVisible = stored(bool, "spinBoxVisible", True)

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._showing = False
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)

    def setRange(self, minimum, maximum):
        self.minimum = minimum
        self.maximum = maximum

    def _bounded(self, value):
        return min(max(round(float(value), self.decimals), self.minimum), max(self.minimum, self.maximum))

    def _makeSpinBox(self, onChanged):
        box = qt.QDoubleSpinBox(self)
        box.valueChanged.connect(onChanged)
        box.setMinimumWidth(80)
        return box

    def _showIn(self, box, value):
        box.setDecimals(self.decimals)
        box.setRange(self.minimum, max(self.minimum, self.maximum))
        box.setSingleStep(self.singleStep)
        box.setPrefix(self.prefix)
        box.setSuffix(self.suffix)
        box.setValue(value)

    def _toSteps(self, value):
        width = self.maximum - self.minimum
        return round((value - self.minimum) / width * SLIDER_STEPS) if width > 0 else 0

    def _fromSteps(self, steps):
        return self.minimum + (self.maximum - self.minimum) * steps / SLIDER_STEPS


@standIn
class ctkSliderWidget(_BoundedWidget):
    """A slider with a spin box."""

    valueChanged = qt.Signal(float)
    valueIsChanging = qt.Signal(float)
    pageStep = stored(float, "pageStep", 10.0)
    tickInterval = stored(float, "tickInterval", 0.0)
    popupSlider = stored(bool, "popupSlider", False)

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._value = 0.0
        self._slider = qt.QSlider(qt.Qt.Horizontal, self)
        self._slider.setRange(0, SLIDER_STEPS)
        self._slider.valueChanged.connect(self._onSlider)
        self._box = self._makeSpinBox(self._onBox)
        self.layout().addWidget(self._slider, 1)
        self.layout().addWidget(self._box)
        self._show()

    def _onSlider(self, steps):
        if not self._showing:
            self.setValue(self._fromSteps(steps))

    def _onBox(self, value):
        if not self._showing:
            self.setValue(value)

    def _show(self):
        self._showing = True
        self._showIn(self._box, self._value)
        self._slider.setValue(self._toSteps(self._value))
        self._box.setVisible(self.spinBoxVisible)
        self._showing = False

    def _fit(self):
        self.setValue(self._value)
        self._show()

    def setValue(self, value):
        bounded = self._bounded(value)
        if bounded != self._value:
            self._value = bounded
            self._show()
            self.valueChanged.emit(bounded)

    value = qt.Property(float, lambda self: self._value, setValue)


@standIn
class ctkDoubleSlider(ctkSliderWidget):
    """The slider alone."""

    def __init__(self, *arguments: Any):
        super().__init__(parentAmong(arguments))
        self.spinBoxVisible = False
        self._show()


@standIn
class ctkRangeWidget(_BoundedWidget):
    """Two numbers in order, between bounds."""

    valuesChanged = qt.Signal(float, float)
    minimumValueChanged = qt.Signal(float)
    maximumValueChanged = qt.Signal(float)

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._low, self._high = 0.0, 99.0
        self._lowBox = self._makeSpinBox(self._onLowBox)
        self._highBox = self._makeSpinBox(self._onHighBox)
        bar = qt.QSlider(qt.Qt.Horizontal, self)
        bar.setRange(0, SLIDER_STEPS)
        bar.setEnabled(False)
        self.layout().addWidget(self._lowBox)
        self.layout().addWidget(bar, 1)
        self.layout().addWidget(self._highBox)
        self._show()

    def _onLowBox(self, value):
        if not self._showing:
            self.setValues(min(value, self._high), self._high)

    def _onHighBox(self, value):
        if not self._showing:
            self.setValues(self._low, max(value, self._low))

    def _show(self):
        self._showing = True
        self._showIn(self._lowBox, self._low)
        self._showIn(self._highBox, self._high)
        self._showing = False

    def _fit(self):
        self.setValues(self._low, self._high)
        self._show()

    def setValues(self, low, high):
        low, high = (self._bounded(value) for value in sorted((low, high)))
        before = self._low, self._high
        if (low, high) == before:
            return
        self._low, self._high = low, high
        self._show()
        if low != before[0]:
            self.minimumValueChanged.emit(low)
        if high != before[1]:
            self.maximumValueChanged.emit(high)
        self.valuesChanged.emit(low, high)

    minimumValue = qt.Property(float, lambda self: self._low, lambda self, value: self.setValues(value, self._high))
    maximumValue = qt.Property(float, lambda self: self._high, lambda self, value: self.setValues(self._low, value))


class ctkDoubleRangeSlider(ctkRangeWidget):
    """The range without its spin boxes."""


@standIn
class ctkCoordinatesWidget(qt.QWidget):
    """A row of numbers; `coordinates` is a text with commas, as in CTK."""

    coordinatesChanged = qt.Signal(object)

    def __init__(self, parent: Any = None):
        super().__init__(parent)
        self._numbers, self._decimals = [0.0, 0.0, 0.0], 3
        self._row = qt.QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._boxes = []
        for _ in range(3):
            box = qt.QDoubleSpinBox(self)
            box.setRange(-1e6, 1e6)
            box.valueChanged.connect(self._onBox)
            self._row.addWidget(box)
            self._boxes.append(box)

    def _onBox(self, _value):
        numbers = [box.value for box in self._boxes]
        if numbers != self._numbers:
            self._numbers = numbers
            self.coordinatesChanged.emit(numbers)

    def _setText(self, text):
        for box, number in zip(self._boxes, text.split(","), strict=True):
            box.setValue(float(number))

    coordinates = qt.Property(str, lambda self: ",".join(f"{number:g}" for number in self._numbers), _setText)

    def _setDecimals(self, decimals):
        self._decimals = decimals
        for box in self._boxes:
            box.setDecimals(decimals)

    decimals = qt.Property(int, lambda self: self._decimals, _setDecimals)
    dimension = qt.Property(int, lambda self: 3, lambda self, value: None)
