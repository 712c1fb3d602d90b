"""What the module keeps in a scene."""

from slicer.parameterNodeWrapper import parameterNodeWrapper


@parameterNodeWrapper
class TrainParameters:
    """What the user has chosen; saved and loaded with the scene.

    The folder of runs and the Python interpreter are settings of the application: they belong to the machine.

    Attributes:
        dataFolder, modalityNames, leaveOutBad, size, device: see `TrainContext`.
        planOverrides: a JSON object, see `TrainContext`.
        kind, init, steps, runName, furtherSettings: see `TrainingForm`.
    """

    dataFolder: str = ""
    modalityNames: list[str]
    leaveOutBad: bool = False
    size: str = "small"
    device: str = "auto"
    planOverrides: str = "{}"
    kind: str = "pretrain"
    init: str = ""
    steps: int = 0
    runName: str = ""
    furtherSettings: str = ""
