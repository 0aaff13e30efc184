"""Work on many points: here one after the other, or on Ray; whatever becomes of one, the others
are worked on."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from .work import Ended, Where, attempt

P = TypeVar("P")
R = TypeVar("R")


def run_points(
    points: Sequence[P], work: Callable[[P], R], where: Where | None = None
) -> Iterator[tuple[int, Ended[R]]]:
    """How the work on each point ended, with the point's number, as it comes.

    On Ray, what is printed until the last one goes to standard error.

    Args:
        work: a function that other processes can import, or a partial of one. It returns something
            else than None.

    Raises:
        LookupError: Ray is asked for and not installed, or there is no cluster at its address.
    """
    where = where or Where()
    if where.ray is not None:
        from .on_ray import run_on_ray

        yield from run_on_ray(points, work, where)
        return
    if where.threads is not None:
        import torch

        torch.set_num_threads(where.threads)
    for number, point in enumerate(points):
        yield number, attempt(work, point)
