"""Compare gymenv_nb's reward profile with NeMo Gym's own, number by number.

    python .ci/parity_profile.py PYTHON [ROLLOUTS.jsonl ...]

PYTHON is the interpreter of an environment with nemo-gym 0.4.0 (Python 3.12). The script makes synthetic runs with booleans,
missing fields, several numeric fields, extracted answers, binary and continuous rewards, groups of unequal size and groups of one, and runs without
gaps, profiles them (and each of the runs named) here, and lets NeMo Gym profile the same files there: the files of `RewardProfiler`, all that
`compute_pass_majority_metrics` and its kin give, and the aggregate metrics. Every number must agree to 1e-9; exits 1 when one does not.
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


def synthetic_run(folder, binary, gaps=True):
    "Two agents, 40 tasks, 8 rollouts each in mixed order; with gaps 1 to 8 rollouts, and five tasks that have none at all."
    rng, rollouts, inputs = random.Random(0), [], []
    for task in range(40):
        agent = {"name": "first_agent" if task < 25 else "second_agent"}
        request = {"responses_create_params": {"input": [{"role": "user", "content": f"Question {task}?"}]}, "expected_answer": task}
        done = set(rng.sample(range(8), 0 if task % 8 == 7 else rng.randint(1, 8))) if gaps else set(range(8))
        for rollout in range(8):
            row = {**request, "agent_ref": agent, "_ng_task_index": task, "_ng_rollout_index": rollout}
            inputs.append(row)
            if rollout not in done: continue
            chance = task / 40
            tokens = rng.randint(1, 2000)
            result = {**row, "reward": float(rng.random() < chance) if binary else rng.gauss(chance, 1),
                      "response": {"output": [], "usage": {"input_tokens": 7, "output_tokens": tokens, "total_tokens": tokens + 7, "input_tokens_details": {"cached_tokens": 0}}},
                      "correct": rng.random() < chance, "label": "a string", "subset": rng.choice(["easy", "hard"]) if task % 3 else None, "answer": rng.choice(["7", "8", None])}
            if gaps:
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


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def scores(row):
    return {"reward": row["reward"], **({"correct": row["correct"]} if "correct" in row else {})}


def group_metrics(module, rollouts):
    "All that the metric functions of NeMo Gym's `reward_profile`, or of ours, give for these rollouts."
    groups = {}
    for row in rollouts: groups.setdefault(row["_ng_task_index"], []).append(row)
    tasks, found = [groups[k] for k in sorted(groups)], {}
    for name, arguments in dict(plain={}, answers=dict(answer_key="answer"), scored=dict(score_fn=scores, answer_key="answer")).items():
        metrics, all_scores, names, most = module.compute_pass_majority_metrics(tasks, **arguments)
        module.add_avg_sample_std_dev(metrics, all_scores, names, most)
        found[name] = dict(metrics=metrics, scores=all_scores, names=names, most=most)
        for pattern in ("pass@{k}", "pass@1[avg-of-{k}]", "majority@{k}"): found[f"{name} {pattern}"] = module.highest_k_metrics(metrics, pattern, exclude_names=["no_answer"])
    found["subsets"] = module.compute_subset_metrics(tasks, "subset", answer_key="answer")
    found["aggregate"] = module.compute_aggregate_metrics(rollouts).model_dump()
    found["none"] = module.compute_pass_majority_metrics([])
    return found


def theirs(path):
    "What NeMo Gym computes from the same files (runs in its environment)."
    from nemo_gym import reward_profile
    rows, rollouts = read(path.with_name(path.stem + "_materialized_inputs.jsonl")), read(path)
    rollouts.sort(key=lambda r: (r["_ng_task_index"], r["_ng_rollout_index"]))
    profiler = reward_profile.RewardProfiler()
    tasks, agents = profiler.profile_from_data(rows, rollouts, allow_partial_rollouts=True)
    tables, agent_table = profiler.write_to_disk(tasks, agents, Path(tempfile.mkdtemp()) / path.name)
    found = dict(names=[tables.name, agent_table.name], tasks=read(tables), agents=json.loads(agent_table.read_text()), metrics=group_metrics(reward_profile, rollouts))
    return found | dict(memory=[found["tasks"], found["agents"]])


def ours(path):
    "What gymenv_nb writes and computes."
    from gymenv_nb import metrics
    from gymenv_nb.profile import profile

    result = profile(path)
    tables, agent_table = result.save(tempfile.mkdtemp())
    rows, rollouts = read(path.with_name(path.stem + "_materialized_inputs.jsonl")), read(path)
    rollouts.sort(key=lambda r: (r["_ng_task_index"], r["_ng_rollout_index"]))
    found = dict(names=[tables.name, agent_table.name], tasks=read(tables), agents=json.loads(agent_table.read_text()), metrics=group_metrics(metrics, rollouts),
                 memory=json.loads(json.dumps(metrics.profile_from_data(rows, rollouts, allow_partial_rollouts=True))))
    return found, profile_metrics(result)


def profile_metrics(result):
    "The profile's own figures, under NeMo Gym's names: to be found among its metrics."
    from gymenv_nb.estimates import avg_at_k
    binary, most = result.summary["binary"], result.summary["num_repeats"]
    found = {f"pass@{k}/accuracy": 100 * v.value for k, v in result.summary["pass_at_k"].items() if binary}
    for k in range(1, most + 1):
        spread = avg_at_k(result.rollouts, k)
        found[f"pass@1[avg-of-{k}]/accuracy"] = 100 * spread["mean"]
        if k > 1: found |= {f"pass@1[avg-of-{k}]/accuracy/{name}": 100 * spread[name] for name in ("std_dev_across_runs", "std_err_across_runs")}
    return found


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
    paths = [synthetic_run(scratch / "binary", True), synthetic_run(scratch / "continuous", False), synthetic_run(scratch / "whole", True, gaps=False), *map(Path, runs)]
    failed = False
    for path in paths: # -P: this folder has a nemo_gym.py of its own
        answer = subprocess.run([python, "-P", __file__, "--theirs", str(path)], capture_output=True, text=True)
        if answer.returncode: sys.exit(f"NeMo Gym failed on {path}:\n{answer.stderr[-2000:]}")
        there, (here, own) = json.loads(answer.stdout.splitlines()[-1]), ours(path)
        there["own"] = {k: v for k, v in there["metrics"]["plain"]["metrics"].items() if k in own}
        here = json.loads(json.dumps(here | dict(own=own)))
        found = list(differences(here, there))
        print(f"{path}: {count(here)} numbers, {len(found)} differ")
        print("".join(f"  {line}\n" for line in found[:20]), end="")
        failed |= bool(found)
    return failed


if __name__ == "__main__":
    if sys.argv[1] == "--theirs": print(json.dumps(theirs(Path(sys.argv[2]))))
    else: sys.exit(main(*sys.argv[1:]))
