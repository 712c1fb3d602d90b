"""What using a model has in common, whatever it says: one case after the other, and a word on those that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed, preprocess
from topomae.errors import RunError, TopoMAEError
from topomae.events import Events
from topomae.inference.inputs import InputCase, load_input

_MOST_NAMED = 8


@contextmanager
def end_told(events: Events) -> Iterator[None]:
    """Tell how the work within ended: the error if there was one, and `ok`, `stopped` or `failed`."""
    status = "failed"
    try:
        yield
        status = "ok"
    except TopoMAEError as error:
        events.error(error)
        raise
    except KeyboardInterrupt:
        status = "stopped"
        raise
    finally:
        events.emit("end", status=status)


def prepared_case(given: InputCase, plan: Plan, events: Events) -> Preprocessed:
    """Read and preprocess a case; the image as it was read is forgotten on return.

    Raises:
        BadDataError: it cannot be read, or the model cannot look at it.
    """
    problems: list[str] = []
    image = load_input(given, plan, problems)
    for problem in problems:
        events.warning(problem, case=given.case.name)
    return preprocess(image, None, plan)


def work_through(
    cases: Sequence[InputCase],
    work: Callable[[int], None],
    events: Events,
    *,
    case_done: Callable[[], None],
) -> list[str]:
    """Do every case that can be done.

    Args:
        cases: what there is to do.
        work: does the case of an index.
        events: told of each case that failed.
        case_done: called after each case, finished or failed.
    Returns:
        Names of the cases that failed.
    Raises:
        TopoMAEError: naming the case, where there is but one.
    """
    failed = []
    for index, given in enumerate(cases):
        try:
            work(index)
        except TopoMAEError as error:
            named = _with_case(error, given.case.name)
            if len(cases) == 1:
                raise named from None
            events.error(named)
            failed.append(given.case.name)
        case_done()
    return failed


def complain_about(failed: Sequence[str], of: int, *, done: str, others: str) -> None:
    """Nothing if no case failed.

    Args:
        failed: names of cases.
        of: number of all cases.
        done: what could not be done, such as "segmented".
        others: where the other cases are.
    Raises:
        RunError: naming those that failed.
    """
    if not failed:
        return
    more = f" and {len(failed) - _MOST_NAMED} more" if len(failed) > _MOST_NAMED else ""
    raise RunError(
        f"{len(failed)} of {of} cases could not be {done}: {', '.join(failed[:_MOST_NAMED])}{more}",
        hint=f"The reasons are told above; the other cases are {others}.",
    )


def _with_case(error: TopoMAEError, case: str) -> TopoMAEError:
    """The same error, naming the case."""
    if error.case:
        return error
    return type(error)(error.message, hint=error.hint, case=case, path=error.path)
