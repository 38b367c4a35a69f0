"""How often the 95 % intervals of a profile cover the truth, in simulated worlds: tasks whose solve rates are of a Beta distribution, 16 rollouts each, 4,000 runs of each world.

    python benchmarks/coverage.py [--runs 4000]

For each world: the interval of the mean reward (`clustered_mean`, Wilson's with tasks as units), beside the usual t interval of the same mean; that of pass@4; and that of the difference of two equal models.
A nominal 95 % should be 93 to 97; worlds outside are named at the end, with how many tasks of a run were solved at all.
"""
import argparse, math

import numpy as np

from gymenv_nb.estimates import clustered_mean
from gymenv_nb.metrics import pass_at_k

REPEATS, K = 16, 4
WORLDS = [(.5, .5), (2, 2), (.5, 1), (.1, .3), (.1, 1), (.05, 2), (5, .3), (.02, .02)]
PASS = np.array([pass_at_k(REPEATS, c, K) for c in range(REPEATS + 1)])


def true_pass(a, b):
    "The mean of 1 - (1 - p)^K over Beta(a, b)"
    return 1 - math.exp(math.lgamma(b + K) + math.lgamma(a + b) - math.lgamma(b) - math.lgamma(a + b + K))


def covered(found, truth): return np.mean([o.low <= truth <= o.high for o in found])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000)
    args = parser.parse_args()
    rng, outside, count = np.random.default_rng(0), [], 0
    print("solve rates         tasks   mean reward   (t interval)   pass@4   difference of equals")
    for a, b in WORLDS:
        for tasks in (32, 100, 500):
            rate = rng.beta(a, b, (args.runs, tasks))
            one, two = rng.binomial(REPEATS, rate), rng.binomial(REPEATS, rate)
            full, ones = np.full(tasks, REPEATS), np.ones(tasks)
            shares = [covered([clustered_mean(o, full, True) for o in one], a/(a + b)), covered([clustered_mean(o, full) for o in one], a/(a + b)),
                      covered([clustered_mean(PASS[o], ones, True) for o in one], true_pass(a, b)), covered([clustered_mean((y - x)/REPEATS, ones) for x, y in zip(one, two)], 0.)]
            print(f"Beta({a:g}, {b:g}), mean {a/(a + b):.3f}".ljust(24) + f"{tasks:4d}        {shares[0]:.3f}          {shares[1]:.3f}    {shares[2]:.3f}    {shares[3]:.3f}", flush=True)
            for name, share in zip(("mean reward", "pass@4", "difference"), (shares[0], shares[2], shares[3])):
                count += 1
                if not .93 <= share <= .97: outside.append(f"{name}, Beta({a:g}, {b:g}), {tasks} tasks: {share:.3f}; {np.mean((one > 0).sum(1)):.1f} tasks solved at all, {np.mean((one < REPEATS).sum(1)):.1f} not always")
    print(f"{count - len(outside)} of {count} within 93 to 97 %")
    for o in outside: print(f"  outside: {o}")
