"""Volumes go to the worker and come back as files in a folder of their own, one folder for each request."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from types import TracebackType

import numpy as np
import slicer
from slicer.i18n import tr as _


class Exchange:
    """A temporary folder, removed by `remove`, at the end of a `with`, or when nobody holds the exchange any more.

        with Exchange() as exchange:
            volume = exchange.saveVolume(array, affine)
            ...
            labels = exchange.load(result["labels"])

    Attributes:
        folder: the folder; absolute.
    """

    def __init__(self) -> None:
        root = Path(slicer.app.temporaryPath)
        root.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="TopoMAE-", dir=root)).resolve()
        self._count = 0
        self._finalizer = weakref.finalize(self, shutil.rmtree, str(self.folder), ignore_errors=True)

    def saveVolume(self, array: np.ndarray, affine: np.ndarray) -> dict:
        """Write a volume for the worker.

        Args:
            array: (I, J, K) voxels, any real type.
            affine: (4, 4) voxel index to RAS, in mm.

        Returns: what the protocol calls a volume: `{"array": path, "affine": rows}`.

        Raises:
            ValueError: the array is not three-dimensional, or not of real numbers.
        """
        array = np.asarray(array)
        if array.ndim != 3 or array.dtype.kind not in "buif":
            raise ValueError(
                _("A volume of real numbers with three axes is needed, not {type} with {n} axes.").format(
                    type=array.dtype, n=array.ndim
                )
            )
        self._count += 1
        path = self.folder / f"volume-{self._count}.npy"
        np.save(path, array, allow_pickle=False)
        return {"array": str(path), "affine": np.asarray(affine, dtype=np.float64).reshape(4, 4).tolist()}

    def load(self, path: str | Path) -> np.ndarray | dict[str, np.ndarray]:
        """Read what the worker wrote.

        Args:
            path: an .npy or .npz file in this folder.

        Returns: the array; of an .npz file its arrays by name. Nothing of it is still bound to the file.

        Raises:
            ValueError: the file lies elsewhere, is missing or is no array file.
        """
        path = Path(path).resolve()
        if self.folder not in path.parents:
            raise ValueError(_("The worker named a file outside of its folder: {path}").format(path=path))
        try:
            loaded = np.load(path, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                return {name: loaded[name] for name in loaded.files}
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(
                _("The worker's file {path} cannot be read: {error}").format(path=path.name, error=error)
            ) from error

    def remove(self) -> None:
        """Remove the folder with all that is in it. It may be called again."""
        self._finalizer()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
