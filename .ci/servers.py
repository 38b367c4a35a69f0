"""What of NeMo Gym's own resources servers opens here, and how many of their tests pass: every server of the wheel, each in an environment of its own.

    python .ci/servers.py [NAME...] [--work DIR] [--table FILE.csv] [--reference PYTHON]

From nothing but Python 3.11 and PyPI: fetches the wheel, makes one environment with this library and what nemo-gym itself requires (never nemo-gym: its `nemo_gym` must not be importable), and above it one for each
server that requires more. Then of each server
  loads   its configuration is read, and the module that it names is loaded
  opens   `load_environment` makes the server, and it tells its tools; some download data first, or ask another server
  passed, failed   its own pytest suite, by `gymenv test`
  failed_in_nemo_gym   of those with failures: how many fail under the real nemo_gym (--reference)
with time limits. A second call takes the environments as they are.
"""
import argparse
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
WHEEL = "nemo-gym==0.4.0"
SECONDS = dict(install=900, load=180, test=600)
COLUMNS = ("server", "requirements", "loads", "opens", "passed", "failed", "failed_in_nemo_gym", "reason")
NOT_PYPI = re.compile(r"git\+|https?://|^-e |@ ")
LOAD = """
import json, re, sys
from gymenv_nb.bridge import load_server_module, read_config, server_classes
from gymenv_nb.contract import GymenvError
from gymenv_nb.environment import load_environment
folder, place = sys.argv[1], sys.argv[2]
open(place, "w").write('{"notices": []}')
values, said = dict(exclude_domains_file_path=place, artificial_analysis_api_key="x"), {}
try:
    while True:
        try: config = read_config(folder, values=values)
        except GymenvError as e:
            wanted = re.search(r"needs a value for (\\S+)", str(e))
            if not wanted or wanted[1] in values: raise
            values[wanted[1]] = "x" # an address or a key, which are the user's
        else: break
    said["loads"] = [o.__name__ for o in server_classes(load_server_module(folder, entrypoint=config.entrypoint))][-1:]
    env = load_environment(folder, values=values)
    said["tools"] = env.tools()
except GymenvError as e: said["error"] = str(e)
except Exception as e: said["error"] = f"{type(e).__name__}: {e}" # of the server's own setup_webserver
print(json.dumps(said))
"""
TEST = """
import json, sys
from gymenv_nb.contract import GymenvError
from gymenv_nb.contribute import run_tests
try: found = run_tests(sys.argv[1])
except GymenvError as e: print(json.dumps(dict(error=str(e))))
else: print(json.dumps(dict(passed=len(found.tests) - len(found.failed), failed=[(o.name, o.error) for o in found.failed])))
"""


def run(command: list, seconds: float, **kwargs) -> tuple: # (exit status; None: it had its time, output)
    "A command with all that it starts."
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True, stdin=subprocess.DEVNULL, **kwargs)
    try: out, err = process.communicate(timeout=seconds); code = process.returncode
    except subprocess.TimeoutExpired: code, out, err = None, "", f"over {seconds} s"
    finally:
        try: os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError: pass
    return code, out, err


def must(command: list, seconds: float = 1800):
    code, out, err = run(command, seconds)
    if code: sys.exit(f"{' '.join(map(str, command))}: {(err or out)[-2000:]}")


def base_environment(work: Path) -> Path: # its Python
    "This library, and what nemo-gym requires."
    python = work/"base"/"bin"/"python"
    if (work/"base.done").exists(): return python
    must([sys.executable, "-m", "venv", work/"base"])
    must([python, "-m", "pip", "install", "-q", "-c", HERE/"constraints.txt", "-e", HERE, "pytest", "pytest-asyncio", "uv"])
    metadata = next((work/"wheel").glob("nemo_gym-*.dist-info"))/"METADATA"
    needed = [o.removeprefix("Requires-Dist: ") for o in metadata.read_text().splitlines() if o.startswith("Requires-Dist: ")]
    needed = [o.partition(";")[0].strip() for o in needed if "extra ==" not in o or ('"dev"' in o and re.match(r"pytest|requests-mock", o)) or ('"sandbox"' in o and "tenacity" in o)]
    must([python, "-m", "pip", "install", "-q", *needed])
    must([python, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('nemo_gym') is not None)"])
    (work/"base.done").touch()
    return python


def own_environment(work: Path, base: Path, folder: Path) -> tuple: # (its Python, what was installed, what could not be)
    "The environment of one server."
    file = folder/"requirements.txt"
    lines = [o.split(" #")[0].strip() for o in file.read_text().splitlines()] if file.exists() else []
    lines = [o for o in lines if o and not o.startswith("#") and "nemo-gym" not in o and o != "-e ../../" and not re.match(r"torch(vision)?==", o)] # torch is the base's: another would be gigabytes
    wanted, foreign = [o for o in lines if not NOT_PYPI.search(o)], [o for o in lines if NOT_PYPI.search(o)]
    if not wanted: return base, [], foreign
    place = work/"environments"/folder.name
    python = place/"bin"/"python"
    if not (place/"done").exists():
        must([base, "-m", "venv", "--without-pip", place])
        code, out, err = run([base, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], 60)
        site = next((place/"lib").glob("python*/site-packages"))
        (site/"base.pth").write_text(f"import site; site.addsitedir({out.strip()!r})\n") # with its .pth files, of which an editable install is one
        code, out, err = run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted], SECONDS["install"])
        said = [o for o in err.splitlines() if o.startswith("ERROR") and "dependency resolver" not in o]
        (place/"done").write_text("" if code == 0 else (said or ["ERROR: " + (err.splitlines() or ["?"])[-1]])[0])
    return python, wanted, foreign + ([o] if (o := (place/"done").read_text()) else [])


def last_json(out: str) -> dict | None:
    for line in reversed(out.splitlines()):
        try:
            if isinstance(found := json.loads(line), dict): return found
        except ValueError: pass


def one(work: Path, base: Path, folder: Path, reference: Path | None) -> dict: # a row of the table
    "Load a server and run its tests."
    start = time.monotonic()
    python, wanted, missing = own_environment(work, base, folder)
    row = dict(server=folder.name, requirements="; ".join(["not from PyPI: " + o.split("@")[0].strip() if NOT_PYPI.search(o) else o for o in missing]) or ("its own" if wanted else "nemo-gym's"), loads="", opens="", passed=0, failed=0, failed_in_nemo_gym="", reason="")
    plain = lambda text: text.replace(str(folder.parent.parent) + "/", "").replace(str(work) + "/", "")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | dict(PATH=f"{python.parent}:{base.parent}:{os.environ['PATH']}", OMP_NUM_THREADS="1", MPLBACKEND="agg", RAY_ENABLE_UV_RUN_RUNTIME_ENV="0")
    if not (folder/"app.py").exists(): row |= dict(loads="library", opens="library", reason="no app.py: a folder that other servers import")
    else:
        code, out, err = run([python, "-c", LOAD, folder, work/f"{folder.name}.domains.json"], SECONDS["load"], env=env, cwd=work)
        found = last_json(out) or dict(error="over the time limit" if code is None else (err.strip().splitlines() or [f"ended with {code}"])[-1])
        row |= dict(loads="yes" if "loads" in found else "no", opens="yes" if "tools" in found else "no", reason=plain(found.get("error", "")))
    code, out, err = run([python, "-c", TEST, folder], SECONDS["test"], env=env, cwd=work)
    found = last_json(out) or dict(error="over the time limit" if code is None else (err.strip().splitlines() or [f"ended with {code}"])[-1])
    if "error" in found: row |= dict(failed=1, reason=row["reason"] or plain(found["error"]))
    else:
        row |= dict(passed=found["passed"], failed=len(found["failed"]))
        if found["failed"] and not row["reason"]: row["reason"] = plain("; ".join(dict.fromkeys(f"{name}: {error}"[:160] for name, error in found["failed"][:3])))
    if row["failed"] and reference: row["failed_in_nemo_gym"] = in_nemo_gym(work, reference, folder)
    row["reason"] = " ".join(row["reason"].split())[:400]
    return row | dict(seconds=round(time.monotonic() - start))


def in_nemo_gym(work: Path, reference: Path, folder: Path) -> str:
    "How many of a server's tests fail where the real nemo_gym is installed, on the same day with the same packages."
    python, *_ = own_environment(work/"reference", reference, folder)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | dict(PATH=f"{python.parent}:{reference.parent}:{os.environ['PATH']}", MPLBACKEND="agg")
    code, out, err = run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", work/"wheel", "-o", "asyncio_mode=auto", folder/"tests"], SECONDS["test"], env=env, cwd=work/"wheel")
    if code is None: return "over the time limit"
    return str(sum(int(n) for n, _ in re.findall(r"(\d+) (failed|error)", out))) if re.search(r"\d+ passed", out) else "all"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="servers; all of the wheel when none is given")
    parser.add_argument("--work", type=Path, default=Path("/tmp/gymenv_servers"), help="where the environments are made")
    parser.add_argument("--wheel", default=WHEEL, help="whose servers; give each wheel a --work of its own")
    parser.add_argument("--table", type=Path, help="the CSV file to write; it is written when every server was asked for")
    parser.add_argument("--reference", type=Path, help="the Python of an environment with nemo-gym and pytest: what fails here is run there as well")
    parser.add_argument("--parallel", type=int, default=2)
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    if not (a.work/"wheel"/"resources_servers").is_dir():
        must([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--ignore-requires-python", "-d", a.work, a.wheel])
        with zipfile.ZipFile(next(a.work.glob("nemo_gym-*.whl"))) as f: f.extractall(a.work/"wheel")
    base = base_environment(a.work)
    folders = sorted(o for o in (a.work/"wheel"/"resources_servers").iterdir() if o.is_dir() and o.name != "__pycache__")
    if a.names: folders = [o for o in folders if o.name in a.names]
    with ThreadPoolExecutor(a.parallel) as pool: rows = []; [rows.append(o) or print(f"{o['server']:<34} {o['loads']:<8} {o['opens']:<8} {o['passed']:>4} passed {o['failed']:>3} failed {o['seconds']:>4} s  {o['reason'][:150]}", flush=True) for o in pool.map(lambda f: one(a.work, base, f, a.reference), folders)]
    if a.table:
        with open(a.table, "w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, COLUMNS, extrasaction="ignore", lineterminator="\n"); writer.writeheader(); writer.writerows(rows)
    servers = [o for o in rows if o["loads"] != "library"]
    ours = [o for o in rows if "not from PyPI" not in o["requirements"] and "ERROR" not in o["requirements"]]
    tests = lambda rows: (sum(o["passed"] for o in rows), sum(o["passed"] + o["failed"] for o in rows))
    said = lambda name, rows: print(f"{name}: {sum(o['loads'] == 'yes' for o in rows)} of {sum(o['loads'] != 'library' for o in rows)} servers load, {sum(o['opens'] == 'yes' for o in rows)} open; {tests(rows)[0]} of {tests(rows)[1]} tests pass ({100*tests(rows)[0]/max(1, tests(rows)[1]):.1f} %)")
    said("all", rows)
    said("those whose requirements install from PyPI", ours)


if __name__ == "__main__": main()
