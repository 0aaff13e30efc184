"""Points as tasks on Ray. The one file that imports it."""

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import Any, TypeVar

from .work import Ended, Where, attempt

P = TypeVar("P")
R = TypeVar("R")
LOCAL = "local"
STORE = 100_000_000  # bytes of the store of a cluster of our own; settings and rows are small
ANSWERS = 10.0  # seconds within which a cluster has to answer
EXTRA = "Ray is not installed: pip install 'circuitfind[ray]'"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def has_ray() -> bool:
    """Whether Ray is installed."""
    return find_spec("ray") is not None


def run_on_ray(
    points: Sequence[P], work: Callable[[P], R], where: Where
) -> Iterator[tuple[int, Ended[R]]]:
    """How the work on each point ended, one task a point; as `run_points`.

    A task whose process dies is begun again, `where.tries` times. The work itself keeps
    what it resumes from. Where it dies each time, that is how the work ended.
    """
    if not has_ray():
        raise LookupError(EXTRA)
    threads = where.threads or 1
    # Ray prints what goes wrong in a cluster to standard output, where results belong.
    with redirect_stdout(sys.stderr), _cluster(where, threads) as ray:
        task = ray.remote(
            num_cpus=threads,
            num_gpus=where.gpus,
            max_retries=where.tries,
            retry_exceptions=False,
        )(_work)
        left = iter(enumerate(points))
        running: dict[Any, int] = {}

        def begin() -> None:
            for number, point in left:
                running[task.remote(work, point, threads)] = number
                if where.workers is not None and len(running) >= where.workers:
                    return

        begin()
        while running:
            done, _ = ray.wait([*running], num_returns=1)
            yield running.pop(done[0]), _ended(ray, done[0], where.tries)
            begin()


def _work(work: Callable[[P], R], point: P, threads: int) -> Ended[R]:
    """What a worker does."""
    import torch

    torch.set_num_threads(threads)
    return attempt(work, point)


def _ended(ray: Any, task: Any, tries: int) -> Ended[Any]:
    """What a task returned, or that its process died as often as it was begun."""
    try:
        return ray.get(task)
    except ray.exceptions.WorkerCrashedError:
        return Ended(None, f"its process died, {tries + 1} times", True)
    except ray.exceptions.RayError as error:
        last = (str(error).strip().splitlines() or [""])[-1]
        return Ended(None, f"{type(error).__name__}: {last}".removesuffix(": "), True)


@contextmanager
def _cluster(where: Where, threads: int) -> Iterator[Any]:
    """Ray, joined to the cluster asked for until the block ends."""
    # What Ray would otherwise do for us: send statistics, and set no GPU for tasks without one.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    environment = {"env_vars": dict.fromkeys(_THREADS, str(threads))}
    options: dict[str, Any] = {"runtime_env": environment, "log_to_driver": False}
    if where.ray == LOCAL:
        workers = where.workers or max(1, (os.cpu_count() or 1) // threads)
        options |= {
            "address": LOCAL,
            "num_cpus": workers * threads,
            "include_dashboard": False,
            "object_store_memory": STORE,
        }
    else:
        _require_answer(str(where.ray))
        options["address"] = where.ray
    try:
        ray.init(logging_level=logging.ERROR, **options)
    except ConnectionError as error:
        raise LookupError(
            f"no Ray cluster at {where.ray} that lets this process join ({error}); one with tokens "
            "needs its own in RAY_AUTH_TOKEN, and RAY_AUTH_MODE=token"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Refuse an address where nobody answers; Ray itself would try for a quarter of an hour.

    Raises:
        LookupError: nobody answers there, or it is no address.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise LookupError(f"a Ray cluster is at HOST:PORT, auto or local; got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS).close()
    except (OSError, OverflowError) as error:
        raise LookupError(f"no Ray cluster at {address}: {error}") from error
