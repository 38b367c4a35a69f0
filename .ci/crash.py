#!/usr/bin/env python3
"""Kill a collection at random moments, fifty times, and compare what it comes to with a run that nobody disturbed.

    python .ci/crash.py [--kills 50] [--embedded 10] [--seed 0]

Each trial collects into a fresh folder, is killed (kill -9) at a random moment one to four times, is called again until it ends, and must then hold exactly the
rows of the undisturbed run, each once. The last `--embedded` kills are of `gymenv collect addition` with the embedded model in float32; the others are of
a policy that answers by its seed after some milliseconds, on `calculator` and `addition`. No process of a killed run may be left. Ends with `N kills, 0 failed`; exits 1 when a trial fails.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gymenv_nb.contract import items_response, text_response
from gymenv_nb.rollouts import Run, collect

TASKS, REPEATS = 30, 16


class BySeed:
    "Answers what its seed says, after up to 60 ms; with tools it calls one first."
    concurrency, name = 32, "by_seed"

    def settings(self):
        return dict(name=self.name)

    async def respond(self, params, seed):
        await asyncio.sleep(seed % 61 / 1000)
        if params.tools and all(getattr(o, "type", "") != "function_call_output" for o in params.input):
            arguments = json.dumps(dict(a=seed % 9, b=2))
            return items_response([dict(type="function_call", name="add", arguments=arguments, call_id=f"call_{seed % 100}")])
        return text_response(f"<answer>{seed % 100}</answer>")


def collect_by_seed(environment, folder):
    os.setpgrp()
    with open(os.devnull, "w") as sys.stdout:
        collect(environment, BySeed(), num_repeats=REPEATS, tasks=TASKS, to=folder, progress=False)


def begin_by_seed(environment, folder):
    process = multiprocessing.get_context("fork").Process(target=collect_by_seed, args=(environment, str(folder)))
    process.start()
    return process.pid, process.join


def begin_embedded(environment, folder):
    command = [sys.executable, "-c", "from gymenv_nb.cli import main; main()", "collect", environment, "--tasks", "60", "--to", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    return process.pid, process.wait


def rows(folder):
    "The rows in the order of their keys; a key that stands twice stands twice here."
    found = [json.dumps(row, sort_keys=True) for row in Run(folder).rollouts()]
    return sorted(found, key=lambda o: (json.loads(o)["_ng_task_index"], json.loads(o)["_ng_rollout_index"]))


def without_time(lines):
    "Rows of the embedded model: when a response was made is no part of it."
    return [{**row, "response": {k: v for k, v in row["response"].items() if k != "created_at"}} for row in map(json.loads, lines)]


def descendants(folder):
    "Processes that still work for a folder: its path stands in their open files."
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and any(str(folder) in os.readlink(o) for o in (process / "fd").iterdir()): found.append(process.name)
        except OSError: pass # it has just ended
    return found


def undisturbed(begin, environment, folder):
    start = time.monotonic()
    _, wait = begin(environment, folder)
    wait()
    return rows(folder), time.monotonic() - start


def trial(begin, environment, folder, whole, length, kills, rng):
    "Kill so many times, then let it end; what is wrong with the rows, or nothing."
    for _ in range(kills):
        pid, wait = begin(environment, folder)
        time.sleep(rng.uniform(0, length))
        try: os.kill(pid, signal.SIGKILL)
        except ProcessLookupError: pass
        wait()
    until = time.monotonic() + 5
    while (left := descendants(folder)) and time.monotonic() < until: time.sleep(.05)
    if left: return f"processes {left} are left"
    _, wait = begin(environment, folder)
    wait()
    found = rows(folder)
    keys = [(json.loads(o)["_ng_task_index"], json.loads(o)["_ng_rollout_index"]) for o in found]
    if len(keys) != len(set(keys)): return f"{len(keys) - len(set(keys))} rollouts stand twice"
    if without_time(found) != without_time(whole): return f"{len(found)} rows, {sum(a != b for a, b in zip(without_time(found), without_time(whole)))} of which differ from the {len(whole)} of an undisturbed run"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--embedded", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, scratch, done, failed = random.Random(args.seed), Path(tempfile.mkdtemp()), 0, 0
    plans = [(begin_by_seed, "addition", args.kills - args.embedded - (args.kills - args.embedded) // 2), (begin_by_seed, "calculator", (args.kills - args.embedded) // 2), (begin_embedded, "addition", args.embedded)]
    for begin, environment, wanted in plans:
        if not wanted: continue
        name = f"{environment}-{begin.__name__.removeprefix('begin_')}"
        whole, length = undisturbed(begin, environment, scratch / name)
        count = 0
        while count < wanted:
            kills = min(rng.randint(1, 4), wanted - count)
            problem = trial(begin, environment, scratch / f"{name}-{count}", whole, length, kills, rng)
            count += kills
            done += kills
            failed += bool(problem)
            if problem: print(f"{name}, {kills} kills: {problem}", flush=True)
        print(f"{name}: {len(whole)} rows, {wanted} kills within {length:.1f} s", flush=True)
    print(f"{done} kills, {failed} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
