"""Joining and leaving the job, and what becomes of exceptions in it."""

import atexit
import os
import sys

from ._library import Error, check, library

_hook_before = None


def init(threads=None):
    """Joins the job of mpirun, or a job of one rank where nobody has started more.

    All ranks call it. MPI may be initialised already, as by `mpi4py`, which may also be imported
    later. From here on an exception that leaves the program on one rank ends all of them.

    threads: how many this rank computes with; None is its share of the cores of its host.
    """
    global _hook_before
    check(library.gyre_init(0 if threads is None else int(threads) or -1))
    if _hook_before is None:
        _hook_before = sys.excepthook
        sys.excepthook = _end
        atexit.register(finalize)


def is_initialized():
    """Whether the job is joined."""
    return library.gyre_rank() >= 0


def finalize():
    """Leaves the job, which happens by itself when the program ends; all ranks call it."""
    if is_initialized() and library.gyre_finalize(0):
        # Others are still at work: they know by now, and come to their ends.
        sys.stderr.write(f"gyre: {library.gyre_error().decode(errors='replace')}\n")
        library.gyre_finalize(1)


def rank():
    """This process's number, from 0."""
    return _joined(library.gyre_rank())


def size():
    """The number of ranks."""
    return _joined(library.gyre_size())


def threads():
    """The threads that this rank computes with."""
    return _joined(library.gyre_threads())


def release():
    """Gives back memory that is kept for the next pass; all ranks call it."""
    check(library.gyre_release())


def agree(complaint=None, operation="agrees"):
    """Raises on all ranks if any has a complaint; all ranks call it.

    What can fail on one rank alone, such as reading a file, is caught, and its sentence given here.
    """
    check(
        library.gyre_agree(
            str(operation).encode(), None if complaint is None else str(complaint).encode()
        )
    )


def version():
    """The version of the library."""
    return library.gyre_version().decode()


def _joined(number):
    if number < 0:
        raise Error("the job is not joined yet, or left already; call gyre.init() first.")
    return number


def _end(kind, value, trace):
    """The end of a program by an exception: of all ranks, in order where all have raised it."""
    if not is_initialized():
        _hook_before(kind, value, trace)
        return
    if isinstance(value, Error) and value.shared:
        if library.gyre_rank() == 0:
            _hook_before(kind, value, trace)
        library.gyre_finalize(1)
        return
    _hook_before(kind, value, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    text = str(value).splitlines()
    where = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        where = f" at {os.path.basename(code.co_filename)}:{trace.tb_lineno}"
        trace = trace.tb_next
    sentence = f"Python's {kind.__name__}{where}" + (f": {text[0]}" if text else "")
    code = 130 if issubclass(kind, KeyboardInterrupt) else 1
    library.gyre_abort(code, f"{sentence}; all ranks are ended".encode())
