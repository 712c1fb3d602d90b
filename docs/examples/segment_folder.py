"""Segment every volume in a folder with a trained model, without a window.

    Slicer --no-splash --no-main-window --python-script segment_folder.py -- INPUT MODEL OUTPUT

INPUT holds NIfTI, NRRD or MetaImage files; for a model of several modalities NAME_0000.*, NAME_0001.* … are one case.
MODEL is the folder of a model, or of the fine-tuning run that made it. OUTPUT gets NAME.seg.nrrd for each case, with
names and colours, and volumes.csv with the volume of every segment in mm³. More options: -- --help

The exit code is 0 if all were segmented, 1 if something failed (what is done stays), 2 if there was nothing to begin
with: a wrong call, no such model, no volumes.
"""

import argparse
import sys

import slicer


def main(arguments: list[str]) -> int:
    """Segment a folder.

    Args:
        arguments: those after the script's name.

    Returns: the exit code.
    """
    parser = argparse.ArgumentParser(prog="segment_folder.py", description="Segment every volume in a folder.")
    parser.add_argument("input", metavar="INPUT", help="folder of volumes")
    parser.add_argument("model", metavar="MODEL", help="folder of a model or of a finished fine-tuning run")
    parser.add_argument("output", metavar="OUTPUT", help="folder for the segmentations and volumes.csv")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute")
    parser.add_argument("--mirror", action="store_true", help="average over mirrored views: slower, a little better")
    try:
        given = parser.parse_args(arguments)
    except SystemExit as end:  # the call was wrong, or --help was shown
        return int(end.code or 0)

    begun = set()

    def tell(fraction: float, secondsLeft: float | None, case: str) -> None:
        if case not in begun:
            begun.add(case)
            print(case, flush=True)

    try:
        logic = slicer.util.getModuleLogic("TopoMAESegment")
        task = logic.segmentFolder(
            given.input, given.model, given.output, device=given.device, mirror=given.mirror, onProgress=tell
        )
    except Exception as error:  # whatever it is: one sentence, and a code that other programs understand
        return _failed(error, 2)
    try:
        files = task.wait()
    except Exception as error:
        return _failed(error, 1)
    print(f"{len(files)} segmentations and volumes.csv are in {given.output}", flush=True)
    return 0


def _failed(error: Exception, code: int) -> int:
    print(f"Error: {error}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    words = sys.argv[1:]
    slicer.util.exit(main(words[1:] if words[:1] == ["--"] else words))
