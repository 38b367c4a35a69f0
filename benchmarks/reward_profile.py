"""The reward profile against NeMo Gym's profiler, on the same rows: 500 x 16 and 2,000 x 16 rollouts with a dozen fields, in memory and from disk; then a million rollouts from disk, ours alone.

    python benchmarks/reward_profile.py PYTHON [--rounds 5] [--million] [--folder DIR]

PYTHON is the interpreter of an environment with nemo-gym 0.4.0 (Python 3.12). The two run in turn, each in a process of its own; a ratio is the median over the rounds.
  in memory   NeMo Gym's tables from lists of rows: its `RewardProfiler.profile_from_data`, our `metrics.profile_from_data`
  from disk   read the run, compute, write the tables: what `ng_reward_profile` does, and our `profile(run).save()`, which computes all else besides
  looks       `profile(run)` alone from disk, the first time and the second, when the columns are kept
`--million` makes a run of 62,500 x 16 rollouts (about 4 GB of rollouts) in DIR, or takes the one that is there, and prints the seconds and the peak memory of the first and the second look.
"""
import argparse, json, os, platform, random, resource, shutil, statistics, subprocess, sys, tempfile, time
from pathlib import Path

import orjson


def rollout(rng, task, number, chance, padding):
    request = dict(input=[dict(role="user", content=f"What is {task} + 17? Use the tools, and put the answer in <answer> tags.", type="message")])
    right, tokens = rng.random() < chance, rng.randrange(20, 400)
    start = rng.randrange(padding + 1)
    output = [dict(type="reasoning", id="rs_0", summary=[dict(type="summary_text", text=FILLER[start:start + padding])])]
    if rng.random() < .5: output += [dict(type="function_call", name=rng.choice(["add", "subtract"]), arguments='{"a": 3, "b": 4}', call_id="call_0", id="fc_0", status="completed"), dict(type="function_call_output", call_id="call_0", output='{"result":7}')]
    output.append(dict(type="message", id="msg_0", role="assistant", status="completed", content=[dict(type="output_text", annotations=[], text=f"<answer>{task + 17 if right else rng.randrange(99)}</answer>")]))
    usage = dict(input_tokens=50, input_tokens_details=dict(cached_tokens=0), output_tokens=tokens, output_tokens_details=dict(reasoning_tokens=0), total_tokens=50 + tokens)
    response = dict(id="resp_0", created_at=0., error=None, incomplete_details=None, instructions=None, metadata={}, model="m", object="response", output=output, parallel_tool_calls=True, temperature=1., tool_choice="auto", tools=[], top_p=1., usage=usage, status="completed")
    keys = dict(agent_ref=dict(name="calculator_simple_agent"), _ng_task_index=task, _ng_rollout_index=number)
    asked = dict(responses_create_params=request, expected_answer=task + 17, **keys)
    return asked, dict(responses_create_params=request, expected_answer=task + 17, response=response, reward=float(right), tool_calls=1, tools_used=True, score=rng.random(), style=rng.choice(["plain", "bold"]), **keys)


FILLER = "".join(random.Random(0).choice("abcdefghijklmnopqrstuvwxyz    ") for _ in range(8000))


def make(folder, tasks, padding):
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    with open(folder/"rollouts_materialized_inputs.jsonl", "wb") as inputs, open(folder/"rollouts.jsonl", "wb") as rollouts:
        for task in range(tasks):
            chance = rng.random()**2
            for number in range(16):
                asked, done = rollout(rng, task, number, chance, padding)
                inputs.write(orjson.dumps(asked) + b"\n"); rollouts.write(orjson.dumps(done) + b"\n")


def read(path): return [orjson.loads(line) for line in path.read_bytes().splitlines() if line]


def serve_theirs():
    "Answer lines `memory FOLDER` and `disk FOLDER` with seconds (runs in NeMo Gym's environment)"
    from nemo_gym.reward_profile import RewardProfiler
    rows = {}
    for line in sys.stdin:
        how, folder = line.split()
        folder = Path(folder)
        if how == "memory":
            if folder not in rows: rows[folder] = read(folder/"rollouts_materialized_inputs.jsonl"), read(folder/"rollouts.jsonl")
            start = time.perf_counter()
            tables = RewardProfiler().profile_from_data(*rows[folder])
        else:
            start = time.perf_counter()
            profiler = RewardProfiler()
            tables = profiler.profile_from_data(read(folder/"rollouts_materialized_inputs.jsonl"), read(folder/"rollouts.jsonl"))
            profiler.write_to_disk(*tables, folder/"theirs.jsonl")
        print(time.perf_counter() - start, flush=True)


def ours(how, folder, rows={}):
    from gymenv_nb.metrics import profile_from_data
    from gymenv_nb.profile import profile
    if how == "memory":
        if folder not in rows: rows[folder] = read(folder/"rollouts_materialized_inputs.jsonl"), read(folder/"rollouts.jsonl")
        start = time.perf_counter()
        tables = profile_from_data(*rows[folder])
    else:
        if how == "disk": shutil.rmtree(folder/".rollouts_columns", ignore_errors=True)
        start = time.perf_counter()
        found = profile(folder)
        if how != "look": found.save(folder/"ours")
    return time.perf_counter() - start


def compare(python, rounds):
    theirs = subprocess.Popen([python, "-P", __file__, "--theirs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    def their(how, folder):
        theirs.stdin.write(f"{how} {folder}\n"); theirs.stdin.flush()
        return float(theirs.stdout.readline())
    for tasks in (500, 2000):
        folder = Path(tempfile.mkdtemp())
        make(folder, tasks, 300)
        for how in ("memory", "disk"):
            their(how, folder); ours(how, folder) # imports, and what is kept of the rows
            pairs = [(their(how, folder), ours(how, folder)) for _ in range(rounds)]
            a, b = (statistics.median(o) for o in zip(*pairs))
            ratios = [x / y for x, y in pairs]
            print(f"{tasks:,} x 16 {'in memory' if how == 'memory' else 'from disk'}: NeMo Gym {a:.2f} s, ours {b:.3f} s: {statistics.median(ratios):.0f} times ({min(ratios):.0f} to {max(ratios):.0f})", flush=True)
        looks = []
        for _ in range(rounds):
            shutil.rmtree(folder/".rollouts_columns", ignore_errors=True)
            looks.append((their("disk", folder), ours("look", folder), ours("look", folder)))
        for i, name in ((1, "first"), (2, "second")):
            ratios = [o[0]/o[i] for o in looks]
            print(f"{tasks:,} x 16 {name} look, profile(run) from disk: {statistics.median(o[i] for o in looks):.3f} s, NeMo Gym {statistics.median(o[0] for o in looks):.2f} s: {statistics.median(ratios):.0f} times ({min(ratios):.0f} to {max(ratios):.0f})", flush=True)
        shutil.rmtree(folder)
    theirs.stdin.close()


LOOK = "import sys, time, resource; from gymenv_nb.profile import profile; t = time.perf_counter(); p = profile(sys.argv[1]); t = time.perf_counter() - t; print(f'{len(p.rollouts):,} rollouts: {t:.1f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20:.2f} GB here, {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/2**20:.2f} GB in the largest process beside it')"


def million(folder):
    folder = Path(folder or tempfile.mkdtemp())/"million"
    if not (folder/"rollouts.jsonl").exists(): make(folder, 62_500, 2900)
    size = (folder/"rollouts.jsonl").stat().st_size/1e9
    for look in ("first", "second"):
        if look == "first": shutil.rmtree(folder/".rollouts_columns", ignore_errors=True)
        out = subprocess.run([sys.executable, "-c", LOOK, str(folder)], capture_output=True, text=True, check=True).stdout.strip()
        print(f"{look} look at {size:.1f} GB: {out}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--theirs"]: serve_theirs()
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("python", nargs="?")
        parser.add_argument("--rounds", type=int, default=5)
        parser.add_argument("--million", action="store_true")
        parser.add_argument("--folder")
        args = parser.parse_args()
        name = next((o.split(":")[1].strip() for o in open("/proc/cpuinfo") if o.startswith("model name")), platform.machine()) if os.path.exists("/proc/cpuinfo") else platform.machine()
        print(f"{name}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores, Python {platform.python_version()}")
        if args.python: compare(args.python, args.rounds)
        if args.million: million(args.folder)
