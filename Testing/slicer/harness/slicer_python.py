"""The Python packages of Slicer that slicer-core lacks, under the names modules import them by."""

import sys
from types import ModuleType

from . import packaging_recorder, parameter_node, sample_data, scripted_module, translation

PACKAGES = {
    "slicer.i18n": translation,
    "slicer.ScriptedLoadableModule": scripted_module,
    "slicer.parameterNodeWrapper": parameter_node,
    "slicer.packaging": packaging_recorder,
    "SampleData": sample_data,
}


def install(slicer: ModuleType) -> None:
    """Make the stand-ins importable, such as `from slicer.i18n import tr`."""
    for name, module in PACKAGES.items():
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(slicer, child, module)
