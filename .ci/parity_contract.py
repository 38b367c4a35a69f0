"""Read and write NeMo Gym's own rollout rows with gymenv_nb's types and with NeMo Gym's, and compare.

    python .ci/parity_contract.py PYTHON

PYTHON is the interpreter of an environment with nemo-gym 0.4.0 (Python 3.12); the rows are the `example_rollouts.jsonl` of every resources server in its
package. A row must be refused by both or come out equal; exits 1 when one does not. `mask_sample`, `failure_kind` and `failure_reason`, which a later NeMo Gym has and
we write where they are set, are left aside where theirs does not know them.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path


LATER = ("mask_sample", "failure_kind", "failure_reason")


def example_rollouts():
    "(server, line number, row) of each rollout that the package carries"
    folder = Path(next(iter(importlib.util.find_spec("resources_servers").submodule_search_locations)))
    for path in sorted(folder.glob("*/data/example_rollouts.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try: yield path.parent.parent.name, number, json.loads(line)
            except ValueError: pass # some servers keep pointers to large files there


def written(model, row):
    "The row as `model` writes it; None when it refuses it"
    try: return model.model_validate(row).model_dump(mode="json")
    except ValueError: return None


def theirs():
    from nemo_gym.base_resources_server import BaseVerifyResponse
    for server, number, row in example_rollouts(): print("row", json.dumps([server, number, row, written(BaseVerifyResponse, row)]))


def main():
    from gymenv_nb.contract import BaseVerifyResponse
    # -P: the nemo_gym.py beside this file is not the package
    out = subprocess.run([sys.argv[1], "-P", __file__, "--theirs"], stdout=subprocess.PIPE, text=True, check=True).stdout
    equal, refused, different = 0, 0, []
    for line in out.splitlines():
        if not line.startswith("row "): continue
        server, number, row, expected = json.loads(line[4:])
        found = written(BaseVerifyResponse, row)
        if found and expected: found = {k: v for k, v in found.items() if k not in LATER or k in expected}
        if found != expected: different.append(f"{server}, line {number}")
        elif found is None: refused += 1
        else: equal += 1
    print(f"rollout rows of NeMo Gym's own servers: {equal} equal, {refused} refused by both, {len(different)} different {different[:5] or ''}")
    return bool(different) or not equal


if __name__ == "__main__": sys.exit(theirs() if "--theirs" in sys.argv else main())
