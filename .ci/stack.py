#!/usr/bin/env python3
"""NeMo Gym's own agent and model server on servers of this library, and rollouts collected through the whole stack.

    python .ci/stack.py [ENVIRONMENT ...] [--tasks N] [--repeats N] [--venv PATH]

`gymenv serve ENVIRONMENT` stands for the resources server, `gymenv serve --policy` for the model's endpoint; NeMo Gym 0.4.0 brings the rest: `ng_run` starts its agents and its openai_model, `ng_collect_rollouts` collects.
Each row must be one that this library would have written: the recorded response, verified here in process, earns the same reward. The mean reward is shown beside that of `collect` in this process, with no server at all.
Where there is no Python 3.12 it says so and ends well. --venv takes an environment that is ready, or makes it there and leaves it.
"""
import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from nemo_gym import PACKAGES, VERSIONS, fresh_environment, python_of # noqa: E402, of this folder


def serve(arguments: list, log: Path): # (process, port)
    "A `gymenv serve`, ready."
    with open(log, "wb") as f: process = subprocess.Popen(["gymenv", "serve", *arguments, "--port", "0"], stdout=f, stderr=subprocess.STDOUT)
    for _ in range(600):
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text(errors="replace")): return process, int(found[1])
        if process.poll() is not None: break
        time.sleep(.1)
    sys.exit(f"gymenv serve {' '.join(arguments)}: {log.read_text()[-2000:]}")


def same_rewards(env, rows: list) -> list: # (task, rollout, theirs, ours) of those that differ
    "Verify the responses once more, in process."
    from gymenv_nb.agent import verify_again
    keys = ("response", "reward", "agent_ref", "_ng_task_index", "_ng_rollout_index")
    async def again(row): return await verify_again(env.server, {k: v for k, v in row["task"].items()}, row["response"])
    async def all_of(): return [await again(o) for o in rows]
    return [(o["_ng_task_index"], o["_ng_rollout_index"], o["reward"], new["reward"]) for o, new in zip(rows, asyncio.run(all_of())) if abs(o["reward"] - new["reward"]) > 1e-9]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("environments", nargs="*", default=["addition", "metered_calculator", "addition_streak"])
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--venv", type=Path)
    a = parser.parse_args()
    wanted, packages = VERSIONS["0.4"]
    ready = a.venv and a.venv.exists()
    if not ready and not (python := python_of(wanted)): print("no Python 3.12 here, so the stack of NeMo Gym was not started"); return 0
    from gymenv_nb.environment import load_environment
    from gymenv_nb.policy import policy
    from gymenv_nb.rollouts import collect
    failed, running = 0, []
    with tempfile.TemporaryDirectory() as work:
        place = Path(work).resolve()
        venv = a.venv or place/"venv"
        if not ready: fresh_environment(python, venv, [*packages, *PACKAGES])
        bin = Path(venv).absolute()/"bin"
        try:
            model, port = serve(["--policy", "embedded"], place/"model.log"); running.append(model)
            (place/"env.yaml").write_text(f"policy_base_url: http://127.0.0.1:{port}/v1\npolicy_api_key: none\npolicy_model_name: embedded\n")
            envs, blocks = {o: load_environment(o) for o in a.environments}, []
            for name, env in envs.items():
                server, port = serve([name], place/f"{name}.log"); running.append(server)
                env.make_tasks(a.tasks).save(place/f"{name}.jsonl")
                (place/"resources_servers"/name).mkdir(parents=True)
                (place/"resources_servers"/name/"app.py").write_text("import signal\nsignal.pause() # it is served by gymenv, on the port of the configuration; ng_run wants a process of its own\n")
                (place/"resources_servers"/name/"requirements.txt").write_text("nemo-gym\n")
                steps = f"\n      max_steps: {env.max_steps}" if env.max_steps else ""
                blocks.append(f"{name}_resources_server:\n  resources_servers:\n    {name}: {{entrypoint: app.py, host: 127.0.0.1, port: {port}, domain: {env.card.domain}}}\n{name}_agent:\n  responses_api_agents:\n    {env.agent}:\n      entrypoint: app.py{steps}\n"
                              f"      resources_server: {{type: resources_servers, name: {name}_resources_server}}\n      model_server: {{type: responses_api_models, name: policy_model}}\n")
            (place/"stack.yaml").write_text("\n".join(blocks))
            for part in {"responses_api_models/openai_model", *(f"resources_servers/{o}" for o in envs), *(f"responses_api_agents/{o.agent}" for o in envs.values())}:
                (place/"venvs"/part).mkdir(parents=True); (place/"venvs"/part/".venv").symlink_to(bin.parent)
            clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
            clean |= dict(PATH=f"{bin}:{os.environ['PATH']}", VIRTUAL_ENV=str(bin.parent), RAY_USAGE_STATS_ENABLED="0", WANDB_MODE="disabled", HYDRA_FULL_ERROR="1")
            log = place/"ng_run.log"
            command = [bin/"ng_run", "+config_paths=[stack.yaml,responses_api_models/openai_model/configs/openai_model.yaml]", f"+uv_venv_dir={place/'venvs'}", "+skip_venv_if_present=true"]
            with open(log, "wb") as f: stack = subprocess.Popen(command, cwd=place, env=clean, stdout=f, stderr=subprocess.STDOUT, start_new_session=True)
            running.append(stack)
            for _ in range(600):
                said = log.read_text(errors="replace")
                if "All" in said and "servers ready" in said: break
                if stack.poll() is not None or "Traceback" in said: sys.exit(f"ng_run did not start:\n{said[-4000:]}")
                time.sleep(1)
            else: sys.exit(f"ng_run was not ready after 600 s:\n{said[-4000:]}")
            (place/"results").mkdir()
            for name, env in envs.items():
                start = time.monotonic()
                done = subprocess.run([bin/"ng_collect_rollouts", f"+agent_name={name}_agent", f"+input_jsonl_fpath={name}.jsonl", f"+output_jsonl_fpath=results/{name}.jsonl", f"+num_repeats={a.repeats}", "+num_samples_in_parallel=64"],
                                      cwd=place, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
                seconds = time.monotonic() - start
                if done.returncode: print(f"FAIL {name}: ng_collect_rollouts ended with {done.returncode}\n{done.stdout[-3000:]}"); failed += 1; continue
                tasks = env.make_tasks(a.tasks)
                rows = [o | dict(task=tasks.rows[o["_ng_task_index"]]) for o in map(json.loads, (place/f"results/{name}.jsonl").read_text().splitlines())]
                differ = same_rewards(env, rows)
                ours = list(collect(env, policy(), num_repeats=a.repeats, tasks=tasks, to=place/f"ours_{name}", progress=False).rollouts())
                mean = lambda rows: sum(o["reward"] for o in rows)/len(rows)
                good = len(rows) == a.tasks*a.repeats and not differ
                failed += not good
                print(f"{'ok  ' if good else 'FAIL'} {name}: {len(rows)} of {a.tasks*a.repeats} rollouts by {env.agent} in {seconds:.0f} s, mean reward {mean(rows):.3f} ({mean(ours):.3f} in process); {len(differ)} rewards differ when verified again {differ[:3] or ''}", flush=True)
        finally:
            for o in reversed(running):
                o.send_signal(signal.SIGINT)
                try: o.wait(30)
                except subprocess.TimeoutExpired: pass
                try: os.killpg(o.pid, signal.SIGKILL) if os.getpgid(o.pid) == o.pid else o.kill()
                except ProcessLookupError: pass
            if running and (place/"venvs").is_dir(): shutil.rmtree(place/"venvs", ignore_errors=True)
    print(f"{len(a.environments)} environments through NeMo Gym's stack, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__": sys.exit(main())
