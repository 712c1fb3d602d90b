#!/usr/bin/env python3
"""Set up TopoMAE beside this file and run it. Needs Python 3.10 to 3.13 and nothing else.

    python3 dev.py demo [OPTIONS]      the whole course on phantom volumes; --data FOLDER: on yours
    python3 dev.py topomae COMMAND ... any command of TopoMAE, such as: topomae plan --data FOLDER
    python3 dev.py test [OPTIONS]      check the style and run the tests; options go to pytest
    python3 dev.py lint                check the style only
    python3 dev.py setup               only set up

The first call makes the folder .venv and installs TopoMAE there; later calls find it done.
On Windows write  py dev.py demo  and so on.
"""

# This file must be understood by any Python 3.6 or later, so that an old one can say what is missing.
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "dev-setup-done.json"  # says what was installed, once all of it is
WORK = ROOT / ".topomae"
MARKER = WORK / "setup-unfinished"  # there while installing, and after an interrupted installation
LOG = WORK / "setup.log"
CONSTRAINTS = ROOT / "constraints-test.txt"

SUPPORTED = [(3, minor) for minor in (13, 12, 11, 10)]
THIS_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
SPACE_NEEDED_GB = 3.0
# Linux wheels of PyTorch bring several GB of CUDA libraries; this index has the build without them.
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


class SetupError(Exception):
    """Something the user can solve; the text says what and how."""


def main(arguments: list) -> int:
    """Run one command; returns the exit code."""
    command, rest = (arguments or ["help"])[0], arguments[1:]
    if command in ("help", "-h", "--help"):
        print(__doc__.strip())
        return 0 if arguments else 2
    actions = {
        "demo": lambda: call(["-m", "topomae", "demo", *rest]),
        "topomae": lambda: call(["-m", "topomae", *rest]),
        "test": lambda: test(rest),
        "lint": lint,
        "setup": lambda: 0,
    }
    if command not in actions:
        say(f"There is no command '{command}'; there are: {', '.join(actions)}.")
        return 2
    other = newer_python()
    if other:
        return wait_for([*other, str(Path(__file__).resolve()), *arguments], cwd=None)
    try:
        set_up()
        if command == "test":
            add_slicer_parts()
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Stopped. The next call starts the set-up again.")
        return 130
    return actions[command]()


def test(options: list) -> int:
    """Check the style and run the tests; with options for pytest, only the tests. The first failure counts."""
    if options:
        return call(["-m", "pytest", *options], at_root=True)
    style = lint()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for one process per core, else they wait for one another
    several = ["-m", "pytest", "-n", "auto", "--dist", "loadfile"]
    engine = call([*several, "Testing/engine", "Testing/documentation"], at_root=True)
    # By themselves: a process that tests the modules must never have imported what Slicer must not import.
    modules = call([*several, "Testing/slicer", "Testing/packaging"], at_root=True)
    return engine or modules or style


def lint() -> int:
    """Check the style of all code."""
    rules = call(["-m", "ruff", "check", "."], at_root=True)
    return call(["-m", "ruff", "format", "--check", "."], at_root=True) or rules


def call(arguments: list, at_root: bool = False) -> int:
    """Run the environment's Python and return its exit code. Paths in arguments are those of the caller."""
    return wait_for([str(environment_python()), *arguments], cwd=ROOT if at_root else None)


def wait_for(command: list, cwd: "Path | None") -> int:
    """Run a command to its end, however often Ctrl+C is pressed: it gets the key press itself and decides."""
    child = subprocess.Popen(command, cwd=str(cwd) if cwd else None, env=child_variables())
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            code = child.wait()
            return code if code >= 0 else 128 - code


def set_up() -> None:
    """Make the environment what it should be; does nothing if it is."""
    if is_set_up():
        return
    with only_one():
        if is_set_up():  # by the one we waited for
            return
        say(f"Setting up in {ENVIRONMENT} (once; a few minutes, about 1 GB to download) ...")
        make_environment()
        LOG.write_bytes(b"")
        install_torch()
        say("Installing TopoMAE and what it needs ...")
        pip("install", "--editable", f"{ROOT}[test]", "--constraint", str(CONSTRAINTS))
        STAMP.write_text(json.dumps(wanted(), indent=2), encoding="utf-8")
        MARKER.unlink(missing_ok=True)
        LOG.unlink()
        say("Set up.")


def add_slicer_parts() -> None:
    """Add what only the tests of the Slicer modules need: Slicer's own MRML and VTK, and Qt."""
    if all(installed_version(package) for package in ("slicer-core", "PySide6-Essentials", "cmake", "ninja")):
        return
    with only_one():
        say("Installing what the tests of the Slicer modules need ...")
        LOG.write_bytes(b"")
        pip("install", "--editable", f"{ROOT}[test,slicer-test]", "--constraint", str(CONSTRAINTS))
        LOG.unlink()


def wanted() -> dict:
    """What a complete environment was made from. A change of any of it means installing again."""
    inputs = (ROOT / "pyproject.toml", CONSTRAINTS)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs}
    return {"python": list(sys.version_info[:2]), "folder": str(ROOT), **digests}


def is_set_up() -> bool:
    """Whether an environment made from all that is wanted is there and complete."""
    try:
        found = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return found == wanted() and environment_python().exists() and not MARKER.exists()


def make_environment() -> None:
    """Make the virtual environment, or keep the one there is if it is whole and of this Python."""
    if ENVIRONMENT.exists():
        ours = MARKER.exists() or STAMP.exists()
        usable = environment_version() == sys.version_info[:2] and not MARKER.exists()
        if usable:
            if ours:
                MARKER.touch()
                STAMP.unlink()
            return
        if not ours:
            raise SetupError(
                f"The folder {ENVIRONMENT} is not an environment of Python {THIS_PYTHON}, and "
                "dev.py did not make it. Remove or rename it and start again."
            )
        say("Replacing an environment that is unfinished or of another Python ...")
        try:
            shutil.rmtree(str(ENVIRONMENT))
        except OSError as error:
            raise SetupError(
                f"The folder {ENVIRONMENT} cannot be removed: {error}. Close programs that use it and start again."
            ) from None
    check_space()
    MARKER.touch()
    said = ""
    for maker in environment_makers():
        done = subprocess.run(maker, env=child_variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode == 0:
            return
        said += done.stdout.decode(errors="replace")
        shutil.rmtree(str(ENVIRONMENT), ignore_errors=True)
    LOG.write_text(said, encoding="utf-8")
    raise SetupError(why_no_environment(said))


def environment_makers() -> list:
    """Commands that make an environment with pip in it, the usual one first."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    makers = [[base, "-m", "venv", str(ENVIRONMENT)], [base, "-m", "virtualenv", str(ENVIRONMENT)]]
    for tool, options in (("virtualenv", []), ("uv", ["venv", "--seed"])):
        if shutil.which(tool):
            makers.append([shutil.which(tool), *options, "--python", base, str(ENVIRONMENT)])
    return makers


def why_no_environment(output: str) -> str:
    """The sentence for an environment that could not be made."""
    if "No space left" in output:
        return f"The disk is full. Free {SPACE_NEEDED_GB:g} GB on the disk of {ROOT} and start again."
    remedy = "Install Python from python.org, which has all of it, and start again."
    if Path("/etc/debian_version").exists():
        package = f"python{THIS_PYTHON}-venv"
        remedy = f"Install it with  sudo apt install {package}  and start again."
    return f"This Python lacks the module venv or ensurepip, so no environment can be made. {remedy} Log: {LOG}"


def install_torch() -> None:
    """Install PyTorch: without CUDA libraries where there is no use for them, if such a build can be had."""
    if installed_version("torch"):
        return
    say("Installing PyTorch ...")
    arguments = ["install", "--no-deps", "torch", "--constraint", str(CONSTRAINTS)]
    if sys.platform != "linux" or has_nvidia_gpu():
        pip(*arguments)
        return
    if "+cpu" not in offered_torch():
        arguments += ["--extra-index-url", TORCH_CPU_INDEX, "--retries", "1", "--timeout", "15"]
    pip(*arguments)
    if "+cpu" not in installed_version("torch"):
        say("PyTorch's small CPU build was not to be had; the usual one comes with several GB of CUDA libraries.")


def offered_torch() -> str:
    """The newest version of the wanted PyTorch that pip finds as it is set up; empty if it cannot tell."""
    version = re.search(r"^torch==([\d.]+)", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    command = [str(environment_python()), "-m", "pip", "index", "versions", "torch"]
    done = subprocess.run(command, env=child_variables(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = re.findall(r"[\w.+]+", done.stdout.decode(errors="replace"))
    return max((text for text in found if text.split("+")[0] == version.group(1)), key=len, default="")


def installed_version(package: str) -> str:
    """Version of a package in the environment; empty if it is not there."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    command = [str(environment_python()), "-c", code]
    done = subprocess.run(command, env=child_variables(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def has_nvidia_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU with its driver."""
    tool = shutil.which("nvidia-smi")
    return bool(tool) and b"GPU" in subprocess.run([tool, "-L"], stdout=subprocess.PIPE).stdout


def pip(*arguments: str) -> None:
    """Run pip in the environment, its words going to the log and, in passing, to the terminal."""
    command = [str(environment_python()), "-m", "pip", *arguments, "--progress-bar", "off", "--no-input"]
    child = subprocess.Popen(
        command, cwd=str(ROOT), env=child_variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        with LOG.open("ab") as log:
            for line in child.stdout:
                log.write(line)
                if re.match(rb"\s*(Downloading|Installing|Using cached) ", line):
                    show_passing(line.decode(errors="replace"))
    except OSError as error:
        child.kill()
        raise SetupError(f"The log {LOG} cannot be written: {error}. Free some disk space and start again.") from None
    finally:
        child.wait()
        show_passing("")
    if child.returncode != 0:
        raise SetupError(why_pip_failed(LOG.read_text(encoding="utf-8", errors="replace")))


def why_pip_failed(log: str) -> str:
    """The sentence for a failed installation, told from pip's log."""
    network = (
        "NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|Max retries|SSLError"
        "|name resolution|getaddrinfo|Connection (refused|reset|aborted)|Network is unreachable|ConnectionError"
    )
    # pip lists the versions it has seen; where it has seen none, the network may be at fault.
    missing = re.search(r"satisfies the requirement (\S+).*?\(from versions: (.*?)\)", log)
    if re.search("No space left on device|Errno 28|not enough space", log):
        what = "The disk is full"
        remedy = f"Free {SPACE_NEEDED_GB:g} GB where {ROOT} lies (and for temporary files) and start again."
    elif re.search(network, log) and not (missing and missing.group(2) != "none"):
        what = "The packages could not be downloaded"
        remedy = "Check the connection (behind a proxy set HTTPS_PROXY) and start again."
    elif missing:
        what = f"There is no {missing.group(1)} for this machine and Python {THIS_PYTHON}"
        remedy = "See pytorch.org for the machines PyTorch runs on; another Python version may do."
    elif re.search(r"PermissionError|Access is denied|Permission denied", log):
        what = "A file in the environment could not be written"
        remedy = f"Close programs that use {ENVIRONMENT} and start again."
    else:
        what = "The installation failed"
        remedy = "The last lines were:\n" + "\n".join(f"    {line}" for line in log.splitlines()[-8:]) + "\n"
    return f"{what}. {remedy} Log: {LOG}"


def newer_python() -> list:
    """The command of a supported Python if this one is not; empty if it is. Exits if there is none."""
    if sys.version_info[:2] in SUPPORTED:
        return []
    for major, minor in SUPPORTED:
        for name, options in ((f"python{major}.{minor}", []), ("py", [f"-{major}.{minor}"])):
            if not shutil.which(name):
                continue
            command = [shutil.which(name), *options]
            check = [*command, "-c", f"import sys; sys.exit(sys.version_info[:2] != {(major, minor)})"]
            if subprocess.call(check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
                return command
    print(
        f"TopoMAE needs Python 3.10 to 3.13; this is {sys.version_info[0]}.{sys.version_info[1]} ({sys.executable}). "
        "Install one from python.org or with your system's package manager, and start this with it, "
        "for instance: python3.12 dev.py demo"
    )
    sys.exit(1)


def environment_python() -> Path:
    """The environment's interpreter."""
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environment_version() -> "tuple | None":
    """Major and minor version of the environment's Python; None if it does not run."""
    if not environment_python().exists():
        return None
    command = [str(environment_python()), "-c", "import sys, pip; print(*sys.version_info[:2])"]
    done = subprocess.run(command, env=child_variables(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return tuple(int(part) for part in done.stdout.split()) if done.returncode == 0 else None


def check_space() -> None:
    """Refuse to begin where the disk cannot hold it."""
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < SPACE_NEEDED_GB:
        raise SetupError(
            f"Setting up takes about {SPACE_NEEDED_GB:g} GB, but only {free:.1f} GB are free where {ROOT} lies. "
            "Free some space, or move this folder, and start again."
        )


@contextlib.contextmanager
def only_one() -> Iterator:
    """Hold the lock of the set-up, waiting for another call that holds it."""
    try:
        WORK.mkdir(exist_ok=True)
        file = (WORK / "setup.lock").open("w")
    except OSError as error:
        raise SetupError(f"Nothing can be written into {ROOT}: {error}.") from None
    with file:
        try:
            lock(file, wait=False)
        except OSError:
            say("Another call is setting up this folder; waiting for it ...")
            lock(file, wait=True)
        yield  # closing the file gives the lock back


def lock(file: object, wait: bool) -> None:
    """Lock an open file for this process; OSError if another has it and we do not wait."""
    if os.name == "nt":
        import msvcrt

        while True:
            try:
                return msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError:  # LK_LOCK itself gives up after ten seconds
                if not wait:
                    raise
    import fcntl

    return fcntl.flock(file.fileno(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def child_variables() -> dict:
    """Variables for children: nothing that leads Python or pip out of the environment."""
    dropped = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "__PYVENV_LAUNCHER__")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUTF8": "1"}


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)


def show_passing(line: str) -> None:
    """Show a line on the terminal in place of the last one shown so; nothing elsewhere."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print("\r" + f"  {' '.join(line.split())}"[:width].ljust(width), end="\r", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
