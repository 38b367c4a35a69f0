"""Collection with a model that answers at once: NeMo Gym's `ng_collect_rollouts` with its agent, model and resources servers, and `collect`, in turn on one machine.

    python benchmarks/collect.py VENV [--rounds 3]

VENV is an environment with nemo-gym 0.4.0 (Python 3.12). Both run the exported `addition` with the same answer to every task, NeMo Gym with 64 requests in parallel. Two comparisons:
  running     rollouts per second once it runs: NeMo Gym's over the difference of collections of 1,100 and 100, so that its start does not count; ours over a whole call of 16,000; also with `verify_in="threads"`
  1,100       from the command `ng_collect_rollouts` to its end, its servers being up; from the call `collect(...)` to its return
"""
import argparse, contextlib, importlib.util, json, os, platform, shutil, statistics, tempfile, time
from pathlib import Path

from gymenv_nb.contract import text_response
from gymenv_nb.environment import load_environment
from gymenv_nb.export import export
from gymenv_nb.policy import policy
from gymenv_nb.rollouts import collect

spec = importlib.util.spec_from_file_location("nemo_gym_check", Path(__file__).parent.parent/".ci"/"nemo_gym.py")
nemo_gym = importlib.util.module_from_spec(spec)
spec.loader.exec_module(nemo_gym)
ANSWER = "The sum is <answer>42</answer>."


class Instant:
    "A policy that answers at once"
    name, concurrency = "instant", 512
    def settings(self): return dict(name=self.name)
    async def respond(self, params, seed): return text_response(ANSWER, self.name)


def ours(verify_in=None, tasks=1000, repeats=16):
    start = time.perf_counter()
    collect("addition", Instant(), num_repeats=repeats, tasks=tasks, to=Path(tempfile.mkdtemp())/"run", verify_in=verify_in, progress=False)
    return repeats*tasks/(time.perf_counter() - start)


def theirs(check, count, results=[0]):
    "Seconds of a collection of 100 tasks with so many repeats."
    results[0] += 1
    start = time.perf_counter()
    check.run("ng_collect_rollouts", "+agent_name=addition_simple_agent", "+input_jsonl_fpath=tasks.jsonl", f"+output_jsonl_fpath=results/r{results[0]}.jsonl", f"+num_repeats={count}", "+num_samples_in_parallel=64", seconds=3600)
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("venv")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=1000, help="of our collections, 16 rollouts each")
    args = parser.parse_args()
    name = next((o.split(":")[1].strip() for o in open("/proc/cpuinfo") if o.startswith("model name")), platform.machine()) if os.path.exists("/proc/cpuinfo") else platform.machine()
    print(f"{name}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores, Python {platform.python_version()}", flush=True)
    place = Path(tempfile.mkdtemp())/"place"
    (place/"resources_servers").mkdir(parents=True)
    export(load_environment("addition"), place/"resources_servers"/"addition", policy=policy(thinking=False))
    tasks = load_environment("addition").make_tasks(100)
    (place/"tasks.jsonl").write_text("".join(json.dumps(o) + "\n" for o in tasks))
    message = dict(type="message", id="msg_0", role="assistant", status="completed", content=[dict(type="output_text", text=ANSWER, annotations=[])])
    recorded = [dict(responses_create_params=o["responses_create_params"], response=dict(output=[message])) for o in tasks]
    check = nemo_gym.Check(args.venv, place, "0.4")
    rates = {"NeMo Gym, running": [], "collect, running": [], "collect in threads, running": [], "NeMo Gym, 1,100": [], "collect, 1,100": []}
    with check.running(["addition"], nemo_gym.endpoint(recorded, [])):
        theirs(check, 1) # warm
        for _ in range(args.rounds):
            short, long = theirs(check, 1), theirs(check, 11)
            if long <= short: # nothing is known of its rate then
                print(f"left out: NeMo Gym's 1,100 rollouts took {long:.1f} s and its 100 {short:.1f} s; this machine has something else to do", flush=True)
                continue
            for (k, v), rate in zip(rates.items(), (1000/(long - short), ours(tasks=args.tasks), ours("threads", args.tasks), 1100/long, ours(tasks=100, repeats=11))): v.append(rate)
            print("; ".join(f"{k}: {v[-1]:,.0f}/s" for k, v in rates.items()), flush=True)
    if not rates["collect, running"]: raise SystemExit("every round was left out. Run it on a quieter machine, or with more --rounds.")
    for k, v in rates.items():
        if k.startswith("NeMo"): continue
        other = rates[f"NeMo Gym, {k.split(', ', 1)[1]}"]
        ratios = [a/b for a, b in zip(v, other)]
        print(f"{k}: {statistics.median(v):,.0f} rollouts/s, NeMo Gym {statistics.median(other):,.0f}: {statistics.median(ratios):.0f} times ({min(ratios):.0f} to {max(ratios):.0f})")
    shutil.rmtree(place.parent)
