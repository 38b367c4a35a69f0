"""Compare gymenv_nb's reward profile with NeMo Gym's own, number by number.

    python .ci/parity_profile.py PYTHON [ROLLOUTS.jsonl ...]

PYTHON is the interpreter of an environment with nemo-gym 0.4.0 (Python 3.12). The script makes a synthetic run with booleans,
missing fields, several numeric fields, continuous rewards, groups of unequal size and groups of one, profiles it (and each of the
runs named) here, and lets NeMo Gym profile the same files there. Every number must agree to 1e-9; exits 1 when one does not.
"""

import json
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def synthetic_run(folder, binary):
    "Two agents, 40 tasks, 1 to 8 of 8 rollouts each, in mixed order; five tasks have no rollout at all."
    rng, rollouts, inputs = random.Random(0), [], []
    for task in range(40):
        agent = {"name": "first_agent" if task < 25 else "second_agent"}
        request = {"responses_create_params": {"input": [{"role": "user", "content": f"Question {task}?"}]}, "expected_answer": task}
        done = set(rng.sample(range(8), 0 if task % 8 == 7 else rng.randint(1, 8)))
        for rollout in range(8):
            row = {**request, "agent_ref": agent, "_ng_task_index": task, "_ng_rollout_index": rollout}
            inputs.append(row)
            if rollout not in done: continue
            chance = task / 40
            tokens = rng.randint(1, 2000)
            result = {**row, "reward": float(rng.random() < chance) if binary else rng.gauss(chance, 1),
                      "response": {"output": [], "usage": {"input_tokens": 7, "output_tokens": tokens, "total_tokens": tokens + 7, "input_tokens_details": {"cached_tokens": 0}}},
                      "correct": rng.random() < chance, "label": "a string"}
            if rng.random() < .7: result["score"] = rng.gauss(1e6, 1e-3)
            if rng.random() < .1: result["seldom"] = rng.randint(0, 3)
            if rng.random() < .2: result["score"] = None
            if rng.random() < .1: result["response"]["usage"] = None
            rollouts.append(result)
    rng.shuffle(rollouts)
    folder.mkdir()
    write_rows(folder / "rollouts_materialized_inputs.jsonl", inputs)
    write_rows(folder / "rollouts.jsonl", rollouts)
    return folder / "rollouts.jsonl"


def theirs(path):
    "What NeMo Gym computes from the same files (runs in its environment)."
    from nemo_gym.reward_profile import RewardProfiler, compute_pass_majority_metrics

    def read(path):
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]

    rows, rollouts = read(path.with_name(path.stem + "_materialized_inputs.jsonl")), read(path)
    rollouts.sort(key=lambda r: (r["_ng_task_index"], r["_ng_rollout_index"]))
    profiler = RewardProfiler()
    tasks, agents = profiler.profile_from_data(rows, rollouts, allow_partial_rollouts=True)
    groups = {}
    for row in rollouts: groups.setdefault(row["_ng_task_index"], []).append(row)
    metrics, *_ = compute_pass_majority_metrics(list(groups.values()))
    metrics.pop("per_sample_aggregate")
    tables, agent_table = profiler.write_to_disk(tasks, agents, Path(tempfile.mkdtemp()) / path.name)
    return dict(names=[tables.name, agent_table.name], tasks=read(tables), agents=json.loads(agent_table.read_text()), metrics=metrics)


def ours(path):
    "What gymenv_nb writes and computes."
    from gymenv_nb.profile import avg_at_k, profile

    result = profile(path)
    tables, agent_table = result.save(tempfile.mkdtemp())
    binary = result.summary["binary"]
    metrics = {f"pass@{k}/accuracy": 100 * v for k, v in result.summary["pass_at_k"].items() if binary}
    for k in range(1, result.summary["num_repeats"] + 1):
        spread = avg_at_k(result.rollouts, k)
        metrics[f"pass@1[avg-of-{k}]/accuracy"] = 100 * spread["mean"]
        if k > 1:
            metrics |= {f"pass@1[avg-of-{k}]/accuracy/{name}": 100 * spread[name] for name in ("std_dev_across_runs", "std_err_across_runs")}
    return dict(names=[tables.name, agent_table.name], tasks=[json.loads(line) for line in tables.read_text().splitlines()],
                agents=json.loads(agent_table.read_text()), metrics=metrics)


def differences(left, right, where=""):
    "The places where two JSON values differ: other keys, other text, or numbers further apart than 1e-9."
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() ^ right.keys()):
            yield f"{where}/{key}: only in {'ours' if key in left else 'theirs'}"
        for key in left.keys() & right.keys():
            yield from differences(left[key], right[key], f"{where}/{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for i, pair in enumerate(zip(left, right)):
            yield from differences(*pair, f"{where}[{i}]")
    elif all(isinstance(o, (int, float)) for o in (left, right)):
        if not math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9): yield f"{where}: {left} here, {right} there"
    elif left != right: yield f"{where}: {left!r} here, {right!r} there"


def count(value):
    "The numbers in a JSON value."
    if isinstance(value, dict): value = list(value.values())
    return sum(map(count, value)) if isinstance(value, list) else isinstance(value, (int, float))


def main(python, *runs):
    scratch = Path(tempfile.mkdtemp())
    paths = [synthetic_run(scratch / "binary", True), synthetic_run(scratch / "continuous", False), *map(Path, runs)]
    failed = False
    for path in paths: # -P: this folder has a nemo_gym.py of its own
        answer = subprocess.run([python, "-P", __file__, "--theirs", str(path)], capture_output=True, text=True)
        if answer.returncode: sys.exit(f"NeMo Gym failed on {path}:\n{answer.stderr[-2000:]}")
        there, here = json.loads(answer.stdout.splitlines()[-1]), ours(path)
        # pass@k is given for k = 1, 2, 4, ..., and NeMo Gym's own rule for rewards other than 0 and 1 is another quantity
        there["metrics"] = {k: v for k, v in there["metrics"].items() if k in here["metrics"]}
        found = list(differences(here, there))
        print(f"{path}: {count(here)} numbers, {len(found)} differ")
        print("".join(f"  {line}\n" for line in found[:20]), end="")
        failed |= bool(found)
    return failed


if __name__ == "__main__":
    if sys.argv[1] == "--theirs": print(json.dumps(theirs(Path(sys.argv[2]))))
    else: sys.exit(main(*sys.argv[1:]))
