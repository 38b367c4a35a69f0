#!/usr/bin/env python3
"""Run exported resources-server folders inside the real NeMo Gym.

    python .ci/nemo_gym.py FOLDER [FOLDER ...] [--version 0.4|0.7] [--venv PATH]

A fresh environment gets nemo-gym 0.4.0 (Python 3.12) or 0.7.0 (Python 3.13). First
  names      every name that export takes from NeMo Gym is where export says, and those that the version is said to lack are not there
  installed  servers of its wheel open with `load_environment(..., nemo_gym="installed")`, on its own classes (0.4)
and then each folder, copied into an empty place outside any checkout, goes through
  tests      its own tests, with the real nemo_gym
  layout     NeMo Gym's ruff rules (a folder that is not in ruff's format is only named), SPDX headers, five examples, five rollouts, an unverified configuration
  metrics    ng_prepare_data in the mode example_validation takes its data, and writes data/example_metrics.json, byte for byte as the folder has it
  manifest   of a folder for 0.7: `gym env validate` without a warning, and what `gym env publish` asks: the cases of the verifier, and that the catalogue finds it
  servers    they are started with their agent and openai_model; the model's endpoint answers as the example rollouts have it, and
             collecting must come to the same rewards, with the task's own fields in each row
A folder for 0.4 runs in 0.7 too, but its configuration is called deprecated there; one for 0.7 must not be.
Where there is no such Python it says so and ends well. --venv takes an environment that is ready, or makes it there and leaves it.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSIONS = {"0.4": ((3, 12), ["nemo-gym==0.4.0"]), "0.7": ((3, 13), ["--ignore-requires-python", "nemo-gym==0.7.0"])} # 0.7.0 asks for Python 3.13.14, and runs on 3.13.0
PACKAGES = ["pytest", "pytest-asyncio", "uv", "ruff==0.9.9"]
RUFF = ["--isolated", "--no-cache", "--line-length", "119", "--target-version", "py312"]
RULES = ["--select", "F541,F841,F401,E741,F821,E266,I", "--config", "lint.isort.lines-after-imports=2",
         "--config", 'lint.isort.known-first-party=["nemo_gym", "resources_servers"]']
SHARED = ["responses_api_models/openai_model", "environment_servers/legacy_agent"] # beside the servers and their agents
CHECK_NAMES = """
import importlib, json, sys
wrong = []
for module, name, there in json.load(sys.stdin):
    try: found = hasattr(importlib.import_module(module), name)
    except ImportError: found = False
    if found != there: wrong.append(f"{name} is {'not ' if there else ''}in {module}")
sys.exit("\\n".join(wrong) or 0)
"""
CHECK_INSTALLED = """
import asyncio, sysconfig
from pathlib import Path
from gymenv_nb.agent import run_rollout
from gymenv_nb.contract import text_response
from gymenv_nb.environment import load_environment
class Says:
    async def respond(self, params, seed): return text_response("Answer: A")
root = Path(sysconfig.get_path("purelib"))/"resources_servers"
for name in ("mcqa", "blackjack", "example_session_state_mgmt"):
    env = load_environment(root/name, nemo_gym="installed")
    assert any(o.__module__ == "nemo_gym.base_resources_server" for o in type(env.server).__mro__) and not any(o.__module__ == "gymenv_nb.resources" for o in type(env.server).__mro__)
    row = asyncio.run(run_rollout((0, 0), env.server, Says(), env.make_tasks().rows[0]))
    print(f"{name} {row['reward']:g}", end=" ")
"""
CHECK_MANIFEST = """
import asyncio, sys
from nemo_gym.environment.onboarding import verify_environment
from nemo_gym.environment.publication import finalize_publication
from nemo_gym.environment.validation import validate_environment
from nemo_gym.registry import discover_environment_catalog
entry, = [o for o in discover_environment_catalog() if o.name == sys.argv[1] and o.manifest_path]
validation = validate_environment(entry.manifest_path, entry.config_path)
if validation.warnings: sys.exit("\\n".join(validation.warnings))
if len(sys.argv) == 2: print(finalize_publication(entry, validation, asyncio.run(verify_environment(entry))).verifier_cases)
"""


class Failed(Exception):
    "A check that did not pass; the message says why."


def python_of(version):
    "An interpreter of that version, (3, 12) say, that runs, or None."
    name = ".".join(map(str, version))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [shutil.which(f"python{name}"), *sorted(pyenv.glob(f"versions/{name}*/bin/python"))]
    for path in filter(None, found):
        # a shim of pyenv is there even when its version is not switched on
        result = subprocess.run([path, "-c", f"import sys; print(sys.version_info[:2] == {version})"], capture_output=True, text=True)
        if result.stdout.strip() == "True": return str(path)


def fresh_environment(python, folder, packages):
    "Make a virtual environment with NeMo Gym."
    start = time.monotonic()
    print(f"making an environment with {', '.join(o for o in packages if o[0] != '-')} (some minutes)", flush=True)
    subprocess.run([python, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], check=True)
    print(f"made in {time.monotonic() - start:.0f} s", flush=True)


def rows(path):
    with open(path, encoding="utf-8") as f: return [json.loads(line) for line in f]


def text_of(item):
    content = item.get("content") or ""
    return content if isinstance(content, str) else "".join(o.get("text") or "" for o in content)


def messages(params):
    "(role, text) of each item that a task's request starts with."
    given = params["input"]
    return [("user", given)] if isinstance(given, str) else [(o.get("role"), text_of(o)) for o in given]


def recorded_turn(request, rollouts, answers):
    "The output items with which the model answered this request, as a judge or in the rollout that begins like it, and what cut them short."
    for o in answers:
        if o["path"] == "/v1/responses" and messages(o["request"]) == messages(request): return o["answer"]["output"], o["answer"].get("incomplete_details")
    items = request["input"] if isinstance(request["input"], list) else [dict(role="user", content=request["input"])]
    for rollout in rollouts:
        prompt = messages(rollout["responses_create_params"])
        if [(o.get("role"), text_of(o)) for o in items[:len(prompt)]] != prompt: continue
        left = rollout["response"]["output"][len(items) - len(prompt):]
        end = next((i for i, o in enumerate(left) if o["type"] == "function_call_output" or o.get("role") == "user"), len(left)) # where the environment answers
        turn = left[:end]
        if not any(o["type"] in ("message", "function_call") for o in turn): # an answer that ended in its thinking; simple_agent would ask again without end
            turn = [*turn, dict(type="message", id="msg_0", role="assistant", status="completed", content=[dict(type="output_text", text="", annotations=[])])]
        return turn, rollout["response"].get("incomplete_details") if end == len(left) else None
    raise KeyError("no example rollout begins like this request")


def endpoint(rollouts, answers):
    "An OpenAI-compatible endpoint on a free port that answers as the rollouts have it, and as a judge did."
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try: (output, cut), status = recorded_turn(request, rollouts, answers), 200
            except KeyError as e: (output, cut), status = ([], str(e)), 400
            usage = dict(input_tokens=1, output_tokens=1, total_tokens=2, input_tokens_details=dict(cached_tokens=0), output_tokens_details=dict(reasoning_tokens=0))
            answer = dict(id="resp_0", created_at=0, model="recorded", object="response", output=output, incomplete_details=cut, parallel_tool_calls=True,
                          tool_choice="auto", tools=[], usage=usage)
            data = json.dumps(answer if status == 200 else dict(error=dict(message=cut))).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json"); self.send_header("content-length", str(len(data)))
            self.end_headers(); self.wfile.write(data)

        def log_message(self, *args): pass
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Check:
    "The environment, the place where the folders lie, and the commands that are run there."
    def __init__(self, venv, place, version):
        self.bin, self.place, self.version = Path(venv).absolute() / "bin", place, version
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
        self.env = clean | dict(PATH=f"{self.bin}:{os.environ['PATH']}", VIRTUAL_ENV=str(self.bin.parent), RAY_USAGE_STATS_ENABLED="0", WANDB_MODE="disabled", HYDRA_FULL_ERROR="1")

    def run(self, *command, seconds=300, said=None, **env):
        "Output of a command, which is told what `said` holds; raises `Failed` with the end of it when it fails."
        program = shutil.which(command[0], path=self.env["PATH"])
        if not program: raise Failed(f"no {command[0]} in {self.bin} or on the path")
        try: result = subprocess.run([program, *map(str, command[1:])], cwd=self.place, env=self.env | env, timeout=seconds, input=said,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except subprocess.TimeoutExpired as e: raise Failed(f"{command[0]} took over {seconds} s: {(e.stdout or b'')[-1500:]}") from None
        if result.returncode: raise Failed(f"{' '.join(map(str, command))}: status {result.returncode}\n{result.stdout[-4000:]}")
        return result.stdout

    def folder(self, name): return self.place / "resources_servers" / name

    def config(self, name): return f"resources_servers/{name}/configs/{name}.yaml"

    def is_new(self, name):
        "Whether a folder is for 0.7."
        return (self.folder(name) / "task_data.py").is_file()

    def agent(self, name):
        "Name and kind of the agent in a folder's configuration."
        return re.search(r"^(\w+):\n  responses_api_agents:\n    (\w+):", (self.place / self.config(name)).read_text(), re.M).groups()

    def refuse_deprecated(self, name, said):
        "A folder for 0.7 is not to be called deprecated."
        if self.is_new(name) and (lines := [o for o in said.split("\n") if "deprecat" in o.lower()]): raise Failed("\n".join(lines))

    def names(self):
        try: from gymenv_nb.export import NEMO_GYM_NAMES, ONLY_IN
        except ImportError: raise Failed(f"{sys.executable} has no gymenv_nb, whose names are looked up") from None
        table = [(module, name, ONLY_IN.get(name, self.version) == self.version) for name, module in NEMO_GYM_NAMES.items()]
        self.run("python", "-c", CHECK_NAMES, said=json.dumps(table))
        return f"{len(table)} as export has them"

    def installed(self):
        "Servers of the wheel, with the real `nemo_gym` in the place of this library's classes."
        if self.version != "0.4": return "for 0.4"
        return "rewards " + self.run("python", "-W", "ignore", "-c", CHECK_INSTALLED, PYTHONPATH=str(Path(__file__).resolve().parent.parent)).strip().split("\n")[-1]

    def tests(self, name):
        out = self.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"resources_servers/{name}/tests", PYTHONPATH=".")
        return re.search(r"\d+ passed", out)[0]

    def layout(self, name):
        folder = self.folder(name)
        self.run("ruff", "check", *RUFF, *RULES, folder)
        try: self.run("ruff", "format", "--check", *RUFF, folder)
        except Failed: formatted = False # by the rules, but made where ruff was not installed
        else: formatted = True
        for path in [p for p in folder.rglob("*.py") if p.stat().st_size]:
            head = path.read_text(encoding="utf-8").split("\n")[:2]
            if not (head[0].startswith("# SPDX-FileCopyrightText: ") and head[1].startswith("# SPDX-License-Identifier: ")): raise Failed(f"{path.name}: no SPDX header")
        for file in ("example.jsonl", "example_rollouts.jsonl"):
            if (n := len(rows(folder / "data" / file))) != 5: raise Failed(f"data/{file}: {n} rows, not 5")
        if json.loads((folder / "data/example_metrics.json").read_text())["Number of examples"] != 5: raise Failed("data/example_metrics.json: not 5 examples")
        if not (folder / "README.md").read_text().strip(): raise Failed("README.md is empty")
        if "verified: false" not in (folder / f"configs/{name}.yaml").read_text(): raise Failed("the configuration does not say 'verified: false'")
        return "clean" if formatted else "clean, but not formatted (install ruff and export again)"

    def metrics(self, name):
        path = self.folder(name) / "data/example_metrics.json"
        ours = path.read_bytes()
        path.unlink()
        command = ["ng_prepare_data"] if self.version == "0.4" else ["gym", "dataset", "collate"]
        self.refuse_deprecated(name, self.run(*command, f"+config_paths=[{self.config(name)}]", f"+output_dirpath=prepared/{name}", "+mode=example_validation"))
        theirs = path.read_bytes()
        if ours != theirs: raise Failed(f"data/example_metrics.json differs from what ng_prepare_data writes:\n{ours.decode()}\n---\n{theirs.decode()}")
        return "equal"

    def manifest(self, name):
        if not self.is_new(name): return "none"
        said = self.run("gym", "env", "validate", name)
        self.refuse_deprecated(name, said)
        with_cases = (self.folder(name) / "tests/verifier_cases.jsonl").is_file()
        cases = self.run("python", "-c", CHECK_MANIFEST, name, *([] if with_cases else ["no cases"])).split()
        return f"valid, {cases[-1]} cases of the verifier" if with_cases else "valid; no cases of the verifier"

    def collected(self, name):
        folder, (agent, kind) = self.folder(name) / "data", self.agent(name)
        command = ["ng_collect_rollouts"] if self.version == "0.4" else ["gym", "eval", "run", "--no-serve"]
        self.run(*command, f"+agent_name={agent}", f"+input_jsonl_fpath=resources_servers/{name}/data/example.jsonl",
                 f"+output_jsonl_fpath=results/{name}.jsonl", "+num_repeats=1", seconds=180)
        found = {o["_ng_task_index"]: o for o in rows(self.place / f"results/{name}.jsonl")}
        recorded, tasks = rows(folder / "example_rollouts.jsonl"), rows(folder / "example.jsonl")
        rewards = [found[i]["reward"] if i in found else None for i in range(len(recorded))]
        if rewards != [o["reward"] for o in recorded]: raise Failed(f"rewards {rewards}, recorded are {[o['reward'] for o in recorded]}")
        lost = {k for i, task in enumerate(tasks) for k in task if k not in found[i]}
        if lost and kind == "simple_agent": raise Failed(f"fields of the task that the rollouts lost: {', '.join(sorted(lost))}") # gymnasium_agent writes none
        return f"rewards {', '.join(f'{o:g}' for o in rewards)}"

    @contextmanager
    def running(self, names, model):
        "The folders' servers with their agents and openai_model, whose endpoint is `model`, while this lasts."
        (self.place / "env.yaml").write_text(f"policy_base_url: http://127.0.0.1:{model.server_address[1]}/v1\npolicy_api_key: none\npolicy_model_name: recorded\n")
        (self.place / "results").mkdir()
        agents = {f"responses_api_agents/{self.agent(name)[1]}" for name in names}
        for part in [*SHARED, *agents, *(f"resources_servers/{name}" for name in names)]: # the one environment serves them all
            (self.place / "venvs" / part).mkdir(parents=True)
            (self.place / "venvs" / part / ".venv").symlink_to(self.bin.parent)
        configs = [*map(self.config, names), "responses_api_models/openai_model/configs/openai_model.yaml"]
        command = ["ng_run"] if self.version == "0.4" else ["gym", "env", "start"]
        command = [str(self.bin / command[0]), *command[1:], f"+config_paths=[{','.join(configs)}]", f"+uv_venv_dir={self.place / 'venvs'}", "+skip_venv_if_present=true"]
        log = self.place / "servers.log"
        with open(log, "wb") as f: process = subprocess.Popen(command, cwd=self.place, env=self.env, stdout=f, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            for _ in range(600):
                said = log.read_text(errors="replace")
                if "All" in said and "servers ready" in said: break
                if process.poll() is not None or "Traceback" in said: raise Failed(f"the servers did not start:\n{said[-4000:]}")
                time.sleep(1)
            else: raise Failed(f"the servers were not ready after 600 s:\n{said[-4000:]}")
            if all(map(self.is_new, names)): self.refuse_deprecated(names[0], said)
            yield
        finally:
            model.shutdown()
            process.send_signal(signal.SIGINT)
            try: process.wait(60)
            except subprocess.TimeoutExpired: pass
            try: os.killpg(process.pid, signal.SIGKILL) # what was started and left behind
            except ProcessLookupError: pass

    def servers(self, names):
        "Start everything once, then collect for each folder; name -> what came out, or the error."
        of = lambda file: [o for name in names if (self.folder(name) / file).is_file() for o in rows(self.folder(name) / file)]
        model = endpoint(of("data/example_rollouts.jsonl"), of("tests/server_answers.jsonl"))
        try:
            with self.running(names, model), ThreadPoolExecutor(2) as pool: return dict(zip(names, pool.map(lambda name: attempt(self.collected, name), names)))
        except Failed as e: return dict.fromkeys(names, e)


def attempt(check, *args):
    "What a check says, or its error."
    try: return check(*args)
    except Failed as e: return e


def environment_of(folder):
    "Where the manifest of a folder for 0.7 is."
    return folder.resolve().parent.parent / "environments" / folder.resolve().name


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, help="exported resources_servers/<name>; for 0.7 with environments/<name> beside resources_servers")
    parser.add_argument("--version", choices=VERSIONS, default="0.4", help="of NeMo Gym")
    parser.add_argument("--venv", type=Path, help="an environment with nemo-gym, pytest, pytest-asyncio, uv and ruff; made there when it does not exist, and left there")
    parser.add_argument("--make", action="store_true", help="only make the environment of --venv")
    args = parser.parse_args()
    if args.make:
        if args.folders or not args.venv: parser.error("--make goes with --venv, and without folders")
        if args.venv.exists() or not (python := python_of(VERSIONS[args.version][0])): return 0
        fresh_environment(python, args.venv, [*VERSIONS[args.version][1], *PACKAGES])
        return 0
    if not args.folders: parser.error("give folders: gymenv export NAME makes one")
    for folder in args.folders:
        if not (folder / "app.py").is_file(): parser.error(f"{folder}: no app.py; export first: gymenv export {folder.name}")
        if args.version == "0.4" and (folder / "task_data.py").is_file(): parser.error(f"{folder}: exported for NeMo Gym 0.7; run it with --version 0.7")
        if (folder / "task_data.py").is_file() and not environment_of(folder).is_dir(): parser.error(f"{folder}: exported for NeMo Gym 0.7, but there is no {environment_of(folder)}")
    ready, (wanted, packages) = args.venv and args.venv.exists(), VERSIONS[args.version]
    python = ready or python_of(wanted)
    if not python:
        print(f"no Python {'.'.join(map(str, wanted))} here, so the exported folders were not run inside NeMo Gym {args.version}")
        return 0
    with tempfile.TemporaryDirectory() as work:
        place = Path(work).resolve() / "place"
        (place / "resources_servers").mkdir(parents=True)
        names = [o.resolve().name for o in args.folders]
        ignore = shutil.ignore_patterns(".venv", "__pycache__", ".pytest_cache", ".ruff_cache")
        for name, folder in zip(names, args.folders):
            shutil.copytree(folder, place / "resources_servers" / name, ignore=ignore)
            if (folder / "task_data.py").is_file(): shutil.copytree(environment_of(folder), place / "environments" / name, ignore=ignore)
        venv = args.venv or Path(work) / "venv"
        if not ready:
            needed = {line for name in names for line in (place / "resources_servers" / name / "requirements.txt").read_text().split("\n") if line and "nemo-gym" not in line}
            fresh_environment(python, venv, [*packages, *PACKAGES, *sorted(needed)])
        check = Check(venv, place, args.version)
        start = time.monotonic()
        failed = 0
        for kind in (check.names, check.installed):
            found = attempt(kind)
            print(f"{'FAIL' if isinstance(found, Failed) else 'ok  '} {kind.__name__}: {found}", flush=True)
            failed += isinstance(found, Failed)
        kinds = [check.tests, check.layout, check.metrics, *([check.manifest] if args.version == "0.7" else [])]
        with ThreadPoolExecutor(2) as pool: # folders side by side; each waits for programs of one thread
            results = dict(zip(names, pool.map(lambda name: {o.__name__: attempt(o, name) for o in kinds}, names)))
        for name, result in check.servers(names).items(): results[name]["servers"] = result
    for name, found in results.items():
        bad = {k: v for k, v in found.items() if isinstance(v, Failed)}
        failed += bool(bad)
        for k, v in bad.items(): print(f"\n{name}, {k}: {v}", file=sys.stderr)
        print(f"{'FAIL' if bad else 'ok  '} {name}: " + "; ".join(f"{k} {'failed' if k in bad else v}" for k, v in found.items()), flush=True)
    print(f"NeMo Gym {args.version}: {len(names)} folders in {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__": sys.exit(main())
