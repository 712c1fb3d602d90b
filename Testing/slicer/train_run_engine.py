"""Stands for the engine where a test needs only its manners: copied as `topomae/__main__.py`, standard library only.

It takes the real command line, keeps the real run folder, and trains nothing. `--set mode=…` makes it misbehave:
`baddata`, `silent` and `stumble` end before the run is opened, `crash` ends without a word, `fail` as the engine does,
`deaf` does not see the stop file, `stone` does not hear SIGTERM either.
"""

import json
import os
import platform
import signal
import sys
import time
from datetime import datetime, timezone
from pathlib import Path


def main() -> int:
    kind, *arguments = sys.argv[1:]
    run = Path(arguments[arguments.index("--run") + 1])
    settings = dict(text.split("=", 1) for place, text in enumerate(arguments) if arguments[place - 1] == "--set")
    data = arguments[arguments.index("--data") + 1]
    mode = settings.get("mode", "")
    if mode == "baddata":
        tell("error", error="BadDataError", message="no images were found", hint="Choose another folder.", path=data)
        return 1
    if mode == "silent":
        return 7
    if mode == "stumble":
        raise ImportError("No module named 'monai'")
    if mode == "waits":
        time.sleep(3)
    return train(kind, run, data, settings, mode)


def train(kind: str, run: Path, data: str, settings: dict[str, str], mode: str) -> int:
    asked = []
    if mode in ("deaf", "stone"):
        signal.signal(signal.SIGTERM, lambda *_: None if mode == "stone" else asked.append(True))
    status = json.loads((run / "status.json").read_text()) if (run / "status.json").exists() else {"step": 0}
    lock = {"pid": os.getpid(), "started": "", "host": platform.node(), "token": "0123456789abcdef"}
    (run / "lock").write_text(json.dumps(lock))
    steps, log = int(settings.get("steps", 400)), open(run / "events.jsonl", "a")  # noqa: SIM115 (until the end)
    write(run / "settings.json", {"format": 1, "kind": kind, "settings": {"data": data, **settings}})
    tell("start", log, pid=os.getpid(), kind=kind, device="CPU", resuming=status["step"] > 0)
    write(run / "status.json", {"status": "running", "step": status["step"], "time": now()})
    curves = open(run / "metrics.csv", "a")  # noqa: SIM115
    if curves.tell() == 0:
        curves.write("step,phase,name,value\n")
    ending = "ok"
    for step in range(status["step"] + 1, steps + 1):
        time.sleep(float(settings.get("pause", 0.02)))
        tell("progress", log, phase=kind, step=step, of=steps, seconds_left=0.02 * (steps - step))
        curves.write(f"{step},{kind},loss,{1 / step}\n")
        curves.flush()
        tell("metric", log, step=step, phase=kind, values={"loss": 1 / step})
        if mode == "crash" and step == 5:
            sys.stdout.write("Segmentation fault: last words without a line end")
            sys.stdout.flush()
            os._exit(9)
        if mode == "fail" and step == 5:
            tell("error", log, error="RunError", message="the disk is full", hint="Free some space.", path=str(run))
            ending = "failed"
            break
        status["step"] = step
        if asked or (mode not in ("deaf", "stone") and (run / "stop").exists()):
            ending = "stopped"
            break
    (run / "stop").unlink(missing_ok=True)
    if ending == "ok":
        finish(kind, run, log)
    write(run / "status.json", {"status": ending, "step": status["step"], "time": now()})
    tell("end", log, status=ending, step=status["step"])
    (run / "lock").unlink()
    return 1 if ending == "failed" else 0


def finish(kind: str, run: Path, log: object) -> None:
    weights = run / "model" / ("pretrained.safetensors" if kind == "pretrain" else "models/model.safetensors")
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(b"")
    if kind == "finetune":
        tell("metric", log, step=10, phase="validate", values={"dice": 0.75})
        with open(run / "metrics.csv", "a") as curves:
            curves.write("5,validate,dice,0.75\n10,validate,dice,0.625\n")


def tell(kind: str, log: object = None, /, **fields: object) -> None:
    line = json.dumps({"event": kind, "time": now(), **fields}) + "\n"
    for stream in (sys.stdout, log) if log else (sys.stdout,):
        stream.write(line)
        stream.flush()


def write(path: Path, content: dict) -> None:
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(json.dumps(content))
    os.replace(temporary, path)


def now() -> str:
    return datetime.now(timezone.utc).isoformat()


if __name__ == "__main__":
    sys.exit(main())
