"""Stand-in for `slicer.packaging`: what would be installed is written down, nothing is."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement


@dataclass
class Call:
    """One call of the recorder: which function, which requirements, and the other arguments."""

    function: str
    requirements: list[str]
    options: dict[str, Any] = field(default_factory=dict)


calls: list[Call] = []


def reset() -> None:
    """Forget the calls so far."""
    calls.clear()


def load_requirements(path: str | Path) -> list[Requirement]:
    """Requirements of a text file, one a line; comments and empty lines are left out."""
    lines = (line.split("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def pip_check(requirements: Any) -> bool:
    """Whether all requirements are met by what is installed; imports nothing."""
    return all(_isMet(Requirement(text)) for text in _texts(requirements))


def pip_ensure(requirements: Any, **options: Any) -> None:
    """Install what is missing. As in Slicer's testing mode, nothing is installed unless skip_in_testing is False."""
    calls.append(Call("pip_ensure", _texts(requirements), options))


def pip_install(requirements: Any, **options: Any) -> None:
    """Install packages."""
    calls.append(Call("pip_install", _texts(requirements), options))
    completed = options.get("completedCallback")
    if completed:
        completed(0)


def pip_uninstall(requirements: Any, **options: Any) -> None:
    """Remove packages."""
    calls.append(Call("pip_uninstall", _texts(requirements), options))


def isPipInstallInProgress() -> bool:
    """Whether pip runs in the background."""
    return False


def _texts(requirements: Any) -> list[str]:
    if isinstance(requirements, str):
        return requirements.split()
    if isinstance(requirements, Iterable):
        return [str(requirement) for requirement in requirements]
    return [str(requirements)]


def _isMet(requirement: Requirement) -> bool:
    if requirement.marker and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False
