#!/usr/bin/env python3
"""The settings of a server as `read_config` reads them, and as NeMo Gym's own parser does: every configuration of the wheel's servers and benchmarks.

    python .ci/parity_config.py PYTHON

PYTHON is that of an environment with nemo-gym 0.4.0. Values that a configuration refers to are made up, the same for both. What NeMo Gym's parser refuses by itself (a reference to a model server that another file defines) is counted apart.
"""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from gymenv_nb.bridge import read_config
from gymenv_nb.contract import GymenvError

THEIRS = """
import contextlib, io, json, os, sys
from omegaconf import DictConfig, OmegaConf
from nemo_gym.global_config import GlobalConfigDictParser, GlobalConfigDictParserConfig
for o in json.load(sys.stdin):
    model = {"responses_api_models": {"openai_model": {"entrypoint": "app.py"}}}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found = GlobalConfigDictParser().parse(GlobalConfigDictParserConfig(initial_global_config_dict=DictConfig({"config_paths": [o["file"]], **o["values"], "policy_model": model}),
                                                   skip_load_from_cli=True, skip_load_from_dotenv=True, offline=True))
        settings = next(iter(OmegaConf.to_container(found[o["name"]]["resources_servers"], resolve=True).values()))
        print(json.dumps(dict(file=o["file"], settings=settings), default=str))
    except Exception as e: print(json.dumps(dict(file=o["file"], refused=f"{type(e).__name__}: {e}"[:200])))
"""
APART = ("entrypoint", "datasets", "host", "port") # of which NeMo Gym's parser chooses the last two


def main():
    python = sys.argv[1]
    root = Path(subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True).stdout.strip())
    os.chdir(root)
    files = [(o.parent.parent, o.name, o) for o in sorted(root.glob("resources_servers/*/configs/*.yaml"))]
    for o in sorted(root.glob("benchmarks/*/config.yaml")):
        used = [p for p in (yaml.safe_load(o.read_text()) or {}).get("config_paths") or [] if p.startswith("resources_servers/")]
        if used: files.append(((root/used[0]).parent.parent, str(o.relative_to(root)), o))
    ours, none = [], 0
    for folder, which, path in files:
        values, found = dict(policy_base_url="u", policy_api_key="k", policy_model_name="m"), None
        while found is None:
            try: found = read_config(folder, which, values)
            except GymenvError as e:
                wanted = re.search(r"needs a value for (\S+)", str(e))
                if not wanted or wanted[1] in values or "." in wanted[1]: break
                values[wanted[1]] = "x"
        if found is None: none += 1 # a file for models alone, or with a value that must be given
        else: ours.append(dict(file=str(path.relative_to(root)), values=values, name=found.name, settings=found.settings))
    said = subprocess.run([python, "-c", THEIRS], input=json.dumps(ours, default=str), capture_output=True, text=True, check=True, cwd=root).stdout
    theirs = {o["file"]: o for o in map(json.loads, said.splitlines())}
    plain = lambda settings: json.dumps({k: v for k, v in settings.items() if k not in APART}, sort_keys=True, default=str)
    both = [o for o in ours if "settings" in theirs[o["file"]]]
    differ = [o["file"] for o in both if plain(o["settings"]) != plain(theirs[o["file"]]["settings"])]
    print(f"configurations of NeMo Gym: {len(both) - len(differ)} equal, {len(differ)} different {differ[:5] or ''}; {len(ours) - len(both)} that its parser refuses alone, {none} without a server or a value")
    return 1 if differ or not both else 0


if __name__ == "__main__": sys.exit(main())
