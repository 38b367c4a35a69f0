"""How often the 95 % intervals of a profile cover the truth, in simulated runs.

    python benchmarks/coverage.py [--runs 1000]

A world is a distribution of the tasks' solve rates: the same for all tasks, or a Beta distribution. For each world, number of tasks and number of rollouts of a task:
the interval of the mean reward (Wilson's, tasks being the units), beside the usual t interval of the same mean; that of pass@k at the largest k of at most 4; that of
the share of groups of 16 with a signal, extrapolated from fewer; and that of the difference of two equal models.
A nominal 95 % should be 93 to 97. What lies outside is marked: "+" covers more than it says, "-" less. The last column says in how many runs of a hundred all rollouts earned the
same: there the sample knows nothing but how many tasks it saw, and the interval is Wilson's limit for that.
"""
import argparse
import math

import numpy as np

from gymenv_nb.estimates import Interval, clustered_mean, fitted_prior, signal_curve
from gymenv_nb.metrics import pass_at_k

SAME = [0., .02, .5, .98, 1.]
BETAS = [(.5, .5), (2, 2), (.1, 1), (.05, 2), (5, .3)]
WORLDS = [(f"all {p:g}", lambda rng, size, p=p: np.full(size, p), lambda f, p=p: f(np.array([p])).item()) for p in SAME]
TASKS, REPEATS, SIZE = (2, 5, 32, 128, 500), (1, 4, 16), 16


def beta_world(a: float, b: float) -> tuple: # (name, function that draws solve rates, mean of a function over the distribution)
    "Tasks whose solve rates differ."
    known = np.random.default_rng(1).beta(a, b, 400_000)
    return f"Beta({a:g}, {b:g})", lambda rng, size: rng.beta(a, b, size), lambda f: float(f(known).mean())


def share_covered(intervals: list, truth: float) -> float: # NaN where no interval is given
    "How many of the intervals hold the truth, to the three places that are printed."
    known = [o for o in intervals if o is not None and o.low is not None]
    return np.mean([round(o.low, 3) - 1e-9 <= round(truth, 3) <= round(o.high, 3) + 1e-9 for o in known]) if known else math.nan


def signal_of(passed, repeats):
    "The share of groups of `SIZE` with a signal."
    tasks = np.arange(len(passed))
    counts = np.stack([passed, repeats - passed], axis=1)
    there = counts > 0
    full = np.full(len(passed), repeats)
    curve = signal_curve(np.repeat(tasks, 2)[there.ravel()], counts.ravel()[there.ravel()], full, passed, fitted_prior(full, passed), (SIZE,))
    return next((Interval(*o) for o in curve.select("value", "low", "high").rows()), None)


def shown(share: float) -> str:
    "A share of a hundred, marked where it is not 93 to 97."
    return "     " if math.isnan(share) else f"{100*share:4.1f}" + ("+" if share > .97 else "-" if share < .93 else " ")


def main(runs: int):
    rng, inside, count, below = np.random.default_rng(0), 0, 0, []
    print("solve rates      tasks  repeats   mean    (t)    pass@k  signal@16  difference   all alike")
    for name, draw, mean_of in [*WORLDS, *(beta_world(*o) for o in BETAS)]:
        for tasks in TASKS:
            for repeats in REPEATS:
                rate = draw(rng, (runs, tasks))
                one, two = rng.binomial(repeats, rate), rng.binomial(repeats, rate)
                full, ones, k = np.full(tasks, repeats), np.ones(tasks), min(4, repeats)
                passing = np.array([pass_at_k(repeats, c, k) for c in range(repeats + 1)])
                some = range(0, runs, max(1, runs//200)) if repeats > 1 else ()
                cells = dict(mean=share_covered([clustered_mean(o, full, True) for o in one], mean_of(lambda p: p)),
                             t=share_covered([clustered_mean(o, full) for o in one], mean_of(lambda p: p)),
                             passed=share_covered([clustered_mean(passing[o], ones, True) for o in one], mean_of(lambda p: 1 - (1 - p)**k)),
                             signal=share_covered([signal_of(one[i], repeats) for i in some], mean_of(lambda p: 1 - p**SIZE - (1 - p)**SIZE)),
                             difference=share_covered([clustered_mean((y - x)/repeats, ones) for x, y in zip(one, two)], 0.))
                alike = np.mean((one == one[:, :1]).all(1) & np.isin(one[:, 0], (0, repeats)))
                print(f"{name:<16} {tasks:5d}  {repeats:7d}   {'   '.join(map(shown, cells.values()))}      {100*alike:5.1f}", flush=True)
                for what in ("mean", "passed", "signal"):
                    if math.isnan(cells[what]): continue
                    count += 1
                    inside += .93 <= cells[what] <= .97
                    if cells[what] < .93: below.append(f"{what}, {name}, {tasks} tasks x {repeats}: {100*cells[what]:.1f} %")
    print(f"of {count} intervals of mean, pass@k and signal {inside} cover 93 to 97 %, {count - inside - len(below)} more, {len(below)} less")
    for line in below: print(f"  less: {line}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    main(parser.parse_args().runs)
