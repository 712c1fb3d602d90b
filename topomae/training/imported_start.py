"""A pre-training that begins with the weights of another program's transformer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from topomae.errors import BadDataError
from topomae.files import write_json_atomic
from topomae.models.state_files import read_state
from topomae.models.vit_import import import_vit
from topomae.models.weights import file_sha256
from topomae.networks.co_pretrainer import CoPretrainer
from topomae.parallel.distributed import is_main
from topomae.runs.folder import Run

TABLE = "imported.json"  # in the run folder: what became of each tensor of the file


@dataclass(frozen=True)
class ImportedStart:
    """Weights to begin with.

    Attributes:
        path: of their file.
        sha256: of its content.
        state: name to tensor.
    """

    path: Path
    sha256: str
    state: dict[str, torch.Tensor]

    @classmethod
    def read(cls, init: str | Path) -> ImportedStart | None:
        """Read what `--init` names; None for `scratch`.

        Raises:
            BadDataError: it is no file of weights.
        """
        if str(init) == "scratch":
            return None
        path = Path(init)
        if path.is_dir():
            raise BadDataError(
                "a pre-training begins with a file of weights, and this is a folder",
                hint="Give a .safetensors or .pth file, or the word scratch; to go on with a run, start it again.",
                path=path,
            )
        state = read_state(path)
        return cls(path, file_sha256(path), state)

    def give_to(self, network: CoPretrainer, run: Run) -> None:
        """Put the weights into the ViT; tell what became of each, and write it into the run folder.

        Raises:
            BadDataError: they do not fit.
        """
        rows = import_vit(self.state, network.vit, self.path)
        if not is_main():
            return
        table = [dataclasses.asdict(row) for row in rows]
        write_json_atomic(run.path(TABLE), {"file": self.path.name, "sha256": self.sha256, "weights": table})
        if not run.resuming:
            lines = "\n".join(f"  {row}" for row in rows)
            run.events.emit("note", message=f"The ViT begins with weights of {self.path.name}:\n{lines}")
