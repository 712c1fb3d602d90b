"""Notes that may stand in an annotation, such as Annotated[float, WithinRange(0, 1), Default(0.5)]."""

import typing
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any


def split(annotation: Any) -> tuple[Any, tuple]:
    """The plain type of an annotation, and the notes with it."""
    if typing.get_origin(annotation) is Annotated:
        plain, *notes = typing.get_args(annotation)
        return plain, tuple(notes)
    return annotation, ()


@dataclass(frozen=True)
class Default:
    """Value of a parameter that was never set."""

    value: Any


@dataclass(frozen=True)
class Decimals:
    """Decimals of the bound spin box or slider."""

    value: int


@dataclass(frozen=True)
class SingleStep:
    """Step of the bound spin box or slider."""

    value: float


class Validator(ABC):
    """Refuses values that a parameter must not take."""

    @abstractmethod
    def validate(self, value: Any) -> None:
        """Raise if the value is not allowed."""


class NotNone(Validator):
    """Anything but None."""

    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("Value must not be None")


@dataclass(frozen=True)
class IsInstance(Validator):
    """An instance of a class, or None."""

    classtype: Any

    def validate(self, value: Any) -> None:
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"Value must be of type '{self.classtype}', is type '{type(value)}' value '{value}'")


@dataclass(frozen=True)
class WithinRange(Validator):
    """At least minimum and at most maximum."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass(frozen=True)
class Minimum(Validator):
    """At least minimum."""

    minimum: float

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


@dataclass(frozen=True)
class Maximum(Validator):
    """At most maximum."""

    maximum: float

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


@dataclass(frozen=True)
class Choice(Validator):
    """One of several."""

    choices: Any

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be one of {self.choices}")


@dataclass(frozen=True)
class Exclude(Validator):
    """None of several."""

    excludedValues: Any

    def validate(self, value: Any) -> None:
        if value in self.excludedValues:
            raise ValueError(f"Value {value} is excluded")
