"""Plan how many workers a service needs: from how often models arrive and how long one takes.

    python -m bench.capacity --arrivals 10 --gpu-price 2.0

Hours of the reference's code come from logs that authors have published beside their models; ours are those over the
ratio that `make bench` measures. Waiting times are those of a queue with Poisson arrivals and exponential durations
(Erlang C), which are longer than those of a service whose shards take turns.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

MONTH_H = 730.0


@dataclass(frozen=True)
class Kind:
    """A kind of submission.

    Args:
        name: what it is.
        share: of all submissions.
        hours: of the reference's code on one GPU.
    """

    name: str
    share: float
    hours: float


MIX = (
    Kind("a model that nothing survives, or that a check refuses", 0.4, 0.1),
    Kind("CIFAR-10, Linf, PreActResNet-18", 0.2, 2.9),
    Kind("CIFAR-10, Linf, WRN-28-10", 0.2, 10.6),
    Kind("CIFAR-100, Linf, WRN-34-10", 0.1, 7.2),
    Kind("CIFAR-10, L2, WRN-34-10", 0.1, 17.6),
)
"""Shares are assumed; hours are those of the published logs that docs/capacity.md names."""


def hours_each(mix: tuple[Kind, ...], ratio: float) -> float:
    """Return the GPU-hours of a submission on average, with an engine that much faster than the reference's."""
    return sum(kind.share * kind.hours for kind in mix) / ratio


def waiting_hours(arrivals_per_hour: float, hours: float, workers: int) -> float:
    """Return how long a submission waits on average before it begins; infinite where the workers do not suffice."""
    load = arrivals_per_hour * hours
    if load >= workers:
        return math.inf
    blocked = 1.0  # Erlang B by its recursion, which neither over- nor underflows
    for number in range(1, workers + 1):
        blocked = load * blocked / (number + load * blocked)
    delayed = blocked / (1 - load / workers * (1 - blocked))
    return delayed * hours / (workers - load)


def least_workers(arrivals_per_hour: float, hours: float, longest_wait_h: float) -> int:
    """Return the least number of workers with which submissions wait no longer than that on average."""
    workers = math.floor(arrivals_per_hour * hours) + 1
    while waiting_hours(arrivals_per_hour, hours, workers) > longest_wait_h:
        workers += 1
    return workers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrivals", type=float, nargs="+", default=[1, 5, 20, 100], help="submissions a day")
    parser.add_argument("--ratio", type=float, nargs="+", default=[1.0, 1.7], help="times as fast as the reference")
    parser.add_argument("--wait", type=float, default=12.0, help="longest average wait, in hours")
    parser.add_argument("--gpu-price", type=float, default=2.0, help="of a GPU and hour, in any currency")
    chosen = parser.parse_args()
    print("| submissions a day | engine | GPU-hours each | GPUs | busy | average wait | GPUs' price a month |")
    print("|---|---|---|---|---|---|---|")
    for arrivals in chosen.arrivals:
        for ratio in chosen.ratio:
            hours = hours_each(MIX, ratio)
            workers = least_workers(arrivals / 24, hours, chosen.wait)
            waiting = waiting_hours(arrivals / 24, hours, workers)
            print(
                f"| {arrivals:g} | {ratio:g} × | {hours:.1f} | {workers} | {arrivals / 24 * hours / workers:.0%} "
                f"| {waiting:.1f} h | {workers * MONTH_H * chosen.gpu_price:,.0f} |"
            )


if __name__ == "__main__":
    main()
