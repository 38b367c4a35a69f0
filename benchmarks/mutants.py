"""How many planted faults the audit finds: the verifiers of nbs/envs with one fault each (data/audit_mutants.yaml), and the eight as they are.

    python benchmarks/mutants.py [WORD...] [--open | --apart | --good] [--parallel 2] [--seconds 60]

Of each mutant the notebook is copied with the fault in its exported cells, and audited as a stranger's environment would be, with the embedded policy. A mutant is found when the audit has a finding. `--open` takes those that were at hand
while the attacks were written, `--apart` those that were not looked at, `--good` the eight as they are; WORD takes mutants and environments whose name contains it. The last lines: found of all, of those apart, and false alarms on the eight.
"""
import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent.parent
LONGEST = 30 # times the seconds of an audit, by the clock: on a busy machine it takes longer


def planted(
    mutant: dict, # env, old, new, perhaps more pairs
    folder: Path,
) -> Path: # of a notebook
    "The environment's notebook with the fault in it."
    book = json.loads((HERE/"nbs"/"envs"/f"{mutant['env']}.ipynb").read_text(encoding="utf-8"))
    for old, new in [(mutant["old"], mutant["new"]), *mutant.get("more", [])]:
        cells = [o for o in book["cells"] if o["cell_type"] == "code" and "".join(o["source"]).startswith("#| export") and old in "".join(o["source"])]
        if len(cells) != 1 or "".join(cells[0]["source"]).count(old) != 1: sys.exit(f"{mutant['name']}: {old!r} does not stand exactly once in {mutant['env']}.ipynb")
        cells[0]["source"] = "".join(cells[0]["source"]).replace(old, new).splitlines(True)
    path = folder/f"{mutant['env']}.ipynb"
    path.write_text(json.dumps(book), encoding="utf-8")
    return path


def audited(what: str, seconds: float, to) -> None:
    "In a process of its own: what the audit finds, through a pipe."
    start = time.monotonic()
    from gymenv_nb.audit import audit
    try:
        made = audit(what, seconds=seconds)
        found = dict(findings=[(o.severity, o.check) for o in made.findings], error="" if made.findings or not made.unfinished else f"not finished: {', '.join(o.name for o in made.unfinished)}")
    except Exception as e: found = dict(findings=[], error=f"{type(e).__name__}: {e}"[:200])
    to.send(dict(found, seconds=time.monotonic() - start))


def one(job: tuple) -> dict: # the mutant, with findings, error and seconds
    "Audit one environment; a fault that ends the audit's process, or holds it up, is an error."
    mutant, seconds, context = job
    with tempfile.TemporaryDirectory() as folder:
        here, there = context.Pipe(False)
        process = context.Process(target=audited, args=(str(planted(mutant, Path(folder))) if "old" in mutant else mutant["env"], seconds, there))
        process.start(); there.close()
        try: found = here.recv() if here.poll(LONGEST*seconds) else dict(error=f"over {LONGEST*seconds:g} s")
        except EOFError: found = dict(error=f"its process ended with {process.exitcode}")
        process.kill(); process.join()
    return dict(findings=[], seconds=0.) | mutant | found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--open", action="store_true", help="only those that were at hand while the attacks were written")
    parser.add_argument("--apart", action="store_true", help="only those that were not")
    parser.add_argument("--good", action="store_true", help="only the environments as they are")
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60., help="for each audit, about")
    a = parser.parse_args()
    mutants = yaml.safe_load((HERE/"data"/"audit_mutants.yaml").read_text(encoding="utf-8"))
    mutants = [o for o in mutants if not (a.open and o["apart"] or a.apart and not o["apart"])]
    good = [dict(name=o.stem, env=o.stem) for o in sorted((HERE/"nbs"/"envs").glob("*.ipynb"))]
    jobs = [o for o in ([] if a.good else mutants) + good if not a.words or any(w in o["name"] for w in a.words)]
    done = []
    context = get_context("forkserver")
    context.set_forkserver_preload(["gymenv_nb.audit", "gymenv_nb.policy", "gymenv_nb.engine", "transformers.models.qwen3.modeling_qwen3", "hypothesis"]) # loaded once for all
    with ThreadPoolExecutor(a.parallel) as pool:
        for o in pool.map(one, [(o, a.seconds, context) for o in jobs]):
            done.append(o)
            state = "ERROR " + o["error"] if o["error"] else ("found " if "old" in o else "ALARM ") + "; ".join(" ".join(f) for f in o["findings"]) if o["findings"] else "MISSED" if "old" in o else "ok"
            print(f"{o['seconds']:5.0f} s  {'apart' if o.get('apart') else '     '} {o['name']:<58} {state}", flush=True)
    planted_ones, alarms = [o for o in done if "old" in o], [o for o in done if "old" not in o and (o["findings"] or o["error"])]
    for name, some in (("all", planted_ones), ("of them apart", [o for o in planted_ones if o["apart"]])):
        if some: print(f"{name}: {sum(bool(o['findings']) for o in some)} of {len(some)} planted faults found ({100*sum(bool(o['findings']) for o in some)/len(some):.0f} %)")
    print(f"false alarms: {len(alarms)} on {sum('old' not in o for o in done)} environments as they are")


if __name__ == "__main__": main()
