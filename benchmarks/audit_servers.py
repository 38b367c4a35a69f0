"""What the audit says of NeMo Gym's own resources servers: those of the wheel that open here and have example tasks.

    python .ci/servers.py --work DIR               # makes the environments, once
    python benchmarks/audit_servers.py --work DIR [NAME...] [--seconds 60]

Each server is audited in its own environment, from its folder as it is; its example rollouts show what a paid response looks like. Servers that need another server (a judge) run without it. What is printed are findings of the
audit; whether each is a fault is for a person to say, and nbs/10_audit.ipynb lists those that were looked at.
"""
import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE/".ci"))
from servers import base_environment, own_environment, run # noqa: E402

AUDIT = """
import re, sys
from gymenv_nb.audit import audit
from gymenv_nb.bridge import read_config
from gymenv_nb.contract import GymenvError
from gymenv_nb.environment import load_environment
folder, place = sys.argv[1], sys.argv[2]
open(place, "w").write('{"notices": []}')
values = dict(exclude_domains_file_path=place, artificial_analysis_api_key="x")
while True:
    try: read_config(folder, values=values)
    except GymenvError as e:
        wanted = re.search(r"needs a value for (\\S+)", str(e))
        if not wanted or wanted[1] in values: sys.exit(str(e))
        values[wanted[1]] = "x" # an address or a key, which are the user's
    else: break
try: print(audit(load_environment(folder, values=values), seconds=float(sys.argv[3])))
except GymenvError as e: sys.exit(str(e))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="servers; all that have example tasks when none is given")
    parser.add_argument("--work", type=Path, default=Path("/tmp/gymenv_servers"), help="where .ci/servers.py made the environments")
    parser.add_argument("--seconds", type=float, default=60., help="for each audit, about")
    a = parser.parse_args()
    if not (a.work/"wheel"/"resources_servers").is_dir(): sys.exit(f"{a.work}: no wheel. Run `python .ci/servers.py --work {a.work}` first.")
    base = base_environment(a.work)
    for folder in sorted((a.work/"wheel"/"resources_servers").iterdir()):
        if (a.names and folder.name not in a.names) or not (folder/"app.py").exists() or not (folder/"data"/"example.jsonl").exists(): continue
        python, *_ = own_environment(a.work, base, folder)
        env = {**os.environ, "PATH": f"{python.parent}:{base.parent}:{os.environ['PATH']}", "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1"}
        code, out, err = run([python, "-c", AUDIT, folder, a.work/f"{folder.name}.domains.json", str(a.seconds)], 30*a.seconds, env=env, cwd=a.work)
        print(f"== {folder.name}\n{out.strip() if code == 0 else 'over the time limit' if code is None else (err.strip().splitlines() or ['?'])[-1][:300]}\n", flush=True)


if __name__ == "__main__": main()
