"""What the live view of a collection costs: rollouts per second with it and without it, in turn, in a Jupyter kernel.

    python benchmarks/live.py [--tasks 200] [--repeats 16] [--rounds 5]

A kernel is started as JupyterLab starts one, and this process is its front end: it takes every message that the kernel sends, the outputs that are replaced and those of the buttons' widgets, whose number is printed. What is
collected is `addition`, answered directly by the embedded policy, into a new folder each time. Besides the ratio of the two, which other work on the machine blurs, it prints
the processor time of the kernel's process for a rollout (without the processes that sample and verify), and that of the view's own thread as a share of the time that the collection took.
"""
import argparse, ast, os, platform, statistics, sys
from collections import Counter
from queue import Empty

from jupyter_client.manager import start_new_kernel

PREPARE = """
import tempfile, time
from gymenv_nb.live import LiveView
from gymenv_nb.policy import policy
from gymenv_nb.rollouts import collect
embedded, spent, show = policy(thinking=False), [0., 0], LiveView.show
def timed(view):
    start = time.thread_time()
    show(view)
    spent[0] += time.thread_time() - start; spent[1] += 1
LiveView.show = timed
def rate(shown, tasks, repeats):
    spent[:] = 0., 0
    start, worked = time.perf_counter(), time.process_time()
    run = collect("addition", embedded, num_repeats=repeats, tasks=tasks, to=tempfile.mkdtemp() + "/run", progress=shown)
    took = time.perf_counter() - start
    return len(run)/took, spent[0]/took, spent[1]/took, 1e3*(time.process_time() - worked)/len(run)
rate(True, 20, 16)
"""


def said(client, code, messages):
    "What the code evaluates to or prints, once all that the kernel sends for it has been taken"
    asked, found = client.execute(code), ""
    while True:
        try: message = client.get_iopub_msg(timeout=600)
        except Empty: sys.exit("the kernel has not answered for ten minutes")
        if message["parent_header"].get("msg_id") != asked: continue
        kind, content = message["msg_type"], message["content"]
        messages[kind] += 1
        if kind == "error": sys.exit("\n".join(content["traceback"]))
        if kind == "execute_result": found = content["data"]["text/plain"]
        if kind == "status" and content["execution_state"] == "idle": return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(tasks=200, repeats=16, rounds=5).items(): parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    name = next((o.split(":")[1].strip() for o in open("/proc/cpuinfo") if o.startswith("model name")), platform.machine()) if os.path.exists("/proc/cpuinfo") else platform.machine()
    print(f"{name}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}", flush=True)
    manager, client = start_new_kernel(startup_timeout=600)
    try:
        said(client, PREPARE, Counter())
        rates, worked, messages, own, pictures = {True: [], False: []}, {True: [], False: []}, Counter(), [], []
        for i in range(args.rounds):
            for shown in (True, False) if i % 2 else (False, True):
                rate, share, often, cpu = ast.literal_eval(said(client, f"rate({shown}, {args.tasks}, {args.repeats})", messages if shown else Counter()))
                rates[shown].append(rate)
                worked[shown].append(cpu)
                if shown: own.append(share); pictures.append(often)
            print(f"with it {rates[True][-1]:,.1f} rollouts/s, without {rates[False][-1]:,.1f}; the view's own time {100*own[-1]:.2f} %, {pictures[-1]:.1f} pictures/s; processor time {worked[True][-1]:.2f} and {worked[False][-1]:.2f} ms a rollout", flush=True)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    ratios = [a/b for a, b in zip(rates[True], rates[False])]
    more = [a/b for a, b in zip(worked[True], worked[False])]
    print(f"medians: with it {statistics.median(rates[True]):,.1f} rollouts/s, without {statistics.median(rates[False]):,.1f}; ratio of a pair {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}); "
          f"processor time of the kernel {statistics.median(worked[True]):.2f} and {statistics.median(worked[False]):.2f} ms a rollout, ratio {statistics.median(more):.3f} ({min(more):.3f} to {max(more):.3f}); the view's own time {100*statistics.median(own):.2f} % of a run; load {os.getloadavg()[0]:.1f}")
    print("messages of the runs that were shown: " + ", ".join(f"{k} {v}" for k, v in messages.most_common() if k.startswith(("comm", "display", "update"))))
