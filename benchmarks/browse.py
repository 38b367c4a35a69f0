"""The rollout browser on 8,000 rollouts: how long it takes to open a run, search, sort, filter, and show a rollout, the samples of a task, and differences.

    python benchmarks/browse.py [--tasks 500] [--repeats 16] [--words 400] [--rounds 7]

The rollouts are made here from words at random, a quarter of them with tool calls and half with thinking. Opening is measured with the columns still to be read and with them kept from before. Every other time is the
median of several rounds, in parentheses the longest; "in the widgets" is from setting a widget's value to the end of what follows in the kernel, without what the browser's window takes to draw.
"""
import argparse, os, platform, random, statistics, tempfile, time
from pathlib import Path

from gymenv_nb.browse import ANY, Browser, BrowserView
from gymenv_nb.compare import compare
from gymenv_nb.contract import line_of

WORDS = "the of sum carry digit answer number ten one two three first then check again because so we have add left over total wait hence therefore product difference".split()


def rollout(random, task, index, words):
    text = lambda n: " ".join(random.choices(WORDS, k=n))
    items, reward = [], float(random.random() < (task % 17)/16)
    if task % 2: items.append(dict(type="reasoning", id="rs_0", summary=[dict(type="summary_text", text=text(words))]))
    if task % 4 == 0:
        for i in range(2):
            items.append(dict(type="function_call", id=f"fc_{i}", call_id=f"call_{i}", name=random.choice(["add", "look_up"]), arguments='{"a": 17, "b": 25}', status="completed"))
            items.append(dict(type="function_call_output", call_id=f"call_{i}", output=text(20)))
    items.append(dict(type="message", id="msg_0", role="assistant", status="completed", content=[dict(type="output_text", text=f"{text(words//2)} <answer>{random.randrange(1000)}</answer>", annotations=[])]))
    tools = [dict(type="function", name=o, parameters={}, strict=True) for o in ("add", "look_up")]
    return dict(responses_create_params=dict(input=f"Task {task}: {text(40)}", tools=tools), expected_answer=task, reward=reward, agent_ref=dict(name="made_simple_agent"),
                response=dict(id="resp_0", created_at=0, model="made", object="response", output=items, parallel_tool_calls=True, tool_choice="auto", tools=tools, usage=dict(input_tokens=60, output_tokens=random.randrange(words, 3*words), total_tokens=60)),
                _ng_task_index=task, _ng_rollout_index=index)


def timed(what, action, rounds, before=lambda: None):
    times = []
    for _ in range(rounds):
        before()
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    print(f"{what:<46} {1e3*statistics.median(times):>8.1f} ms  ({1e3*max(times):.1f})", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(tasks=500, repeats=16, words=400, rounds=7).items(): parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    name = next((o.split(":")[1].strip() for o in open("/proc/cpuinfo") if o.startswith("model name")), platform.machine()) if os.path.exists("/proc/cpuinfo") else platform.machine()
    print(f"{name}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores, Python {platform.python_version()}", flush=True)
    generator, places = random.Random(0), tempfile.TemporaryDirectory()
    folder = Path(places.name)
    with open(folder/"rollouts.jsonl", "wb") as f:
        for task in range(args.tasks):
            for index in range(args.repeats): f.write(line_of(rollout(generator, task, index, args.words)))
    print(f"{args.tasks*args.repeats:,} rollouts, {(folder/'rollouts.jsonl').stat().st_size/1e6:.0f} MB", flush=True)

    timed("open, columns to be read", lambda: Browser(folder), 1)
    timed("open, columns kept from before", lambda: Browser(folder), args.rounds)
    browser = Browser(folder)
    timed("put together the texts of a search, once", browser.prepare, 1)
    timed("search a word that all have", lambda: browser.select("carry"), args.rounds)
    timed("search three words and a phrase", lambda: browser.select('carry digit 17 "sum of"'), args.rounds)
    timed("search what none has", lambda: browser.select("nowhere to be found"), args.rounds)
    for order in ("reward", "length", "outcome", "task's spread"): timed(f"sort by {order}", lambda: browser.select(sort=order, descending=True), args.rounds)
    timed("filter by reward, length, outcome and tool", lambda: browser.select(reward=(.5, None), length=(500, 1000), outcome="passed", tool="add"), args.rounds)
    timed("read one rollout", lambda: browser.row(args.tasks//2, 0), args.rounds)
    timed("mark one rollout", lambda: browser.mark(args.tasks//2, 0, note="odd"), args.rounds)
    timed("export them all", lambda: browser.export(browser.table, folder/f"export_{time.perf_counter_ns()}.jsonl"), 3)

    view = BrowserView(browser)
    def put(widget, value): widget.value = value
    timed("in the widgets: open", lambda: BrowserView(browser), 3)
    timed("in the widgets: open two runs, task by task", lambda: BrowserView(browser, Browser(folder), compare(folder, folder)), 1)
    timed("in the widgets: search", lambda: put(view.searched, "carry digit"), args.rounds, lambda: put(view.searched, ""))
    put(view.searched, "")
    timed("in the widgets: sort", lambda: put(view.sort, "reward"), args.rounds, lambda: put(view.sort, "task"))
    timed("in the widgets: filter", lambda: put(view.outcome, ("passed",)), args.rounds, lambda: put(view.outcome, ANY))
    put(view.outcome, ANY)
    keys = [o for _, o in view.list.options]
    timed("in the widgets: show a rollout", lambda: put(view.list, keys[1]), args.rounds, lambda: put(view.list, keys[100]))
    timed("in the widgets: differences", lambda: put(view.view, "Differences"), args.rounds, lambda: put(view.view, "Conversation"))
    timed("in the widgets: samples side by side", lambda: put(view.view, "Samples of the task"), args.rounds, lambda: put(view.view, "Conversation"))
    timed("in the widgets: tasks", lambda: put(view.grouped, "Tasks"), args.rounds, lambda: put(view.grouped, "Rollouts"))
    places.cleanup()
