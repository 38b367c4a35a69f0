#!/usr/bin/env python3
"""Use the guides and the widgets in a real JupyterLab, as a person would: Chromium opens, types, clicks, and reads what is shown.

    python .ci/browser.py [--to FOLDER] [--docs FOLDER] [--only NAME] [--repeat 3]        after pip install -c constraints.txt -e '.[dev,browser]'

JupyterLab is started by `gymenv lab`, on 127.0.0.1 with settings of its own, and cannot reach the network. Each check has a name, a line and a time; the last line is `N passed, M failed`, and a failure
ends with exit code 1, its screenshot and JupyterLab's log kept. `--to` keeps the screenshots in light and dark, `--docs` names a built site whose pages are looked at too. Without a Chromium it says so and ends well.
"""
import argparse
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psutil
with suppress(ImportError): from playwright.sync_api import expect, sync_playwright # said in `main`

root = Path(__file__).resolve().parent.parent
MARK = "GYMENV_BROWSER_SUITE" # in the environment of every process that is begun here
LONG = 60 # seconds that anything may take, times `slowness` as it is measured when the suite begins; a guide has twice as long
ARGUMENTS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage".split()
checks = {}


def slowness() -> float: # 1 on a machine that is idle
    "How much longer things take than they would if nothing else was done here: what a little work takes by the clock, and how many want each processor."
    start, worked = time.monotonic(), time.thread_time()
    while time.thread_time() < worked + .3: pass
    waiting = os.getloadavg()[0]/len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return min(20., max(1., (time.monotonic() - start)/.3, 1 + waiting))


def check(f):
    "A function of the suite that raises when something is not as it should be."
    checks[f.__name__.replace("_", " ")] = f
    return f


# The toolbar says idle before the kernel answers, and cells run in that gap are lost: its info reply is waited for.
KERNEL_READY = "async () => { const panel = jupyterapp.shell.currentWidget; await panel.context.ready; await panel.sessionContext.ready; await panel.sessionContext.session.kernel.info; }"
ALL_RAN = """() => { const panel = jupyterapp.shell.currentWidget, cells = panel.content.widgets.filter(o => o.model.type === 'code' && o.model.sharedModel.source.trim());
  return panel.sessionContext.session.kernel.status === 'idle' && cells.every(o => o.model.executionCount) || cells.some(o => o.model.outputs.toJSON().some(p => p.output_type === 'error')); }"""
RUN_CELL = "async i => { const content = jupyterapp.shell.currentWidget.content; content.deselectAll(); content.activeCellIndex = i; await jupyterapp.commands.execute('notebook:run-cell'); }"
THEME = "async name => { await jupyterapp.commands.execute('apputils:change-theme', { theme: name }); }"


class Lab:
    "JupyterLab on the guides, begun by `gymenv lab`, and all that runs below it."
    def __init__(self,
        work: Path, # a folder of its own
    ):
        self.folder, self.log_path, self.token = work/"guides", work/"lab.log", f"{random.SystemRandom().getrandbits(128):x}"
        self.made = self.folder/"made" # what the suite writes for itself
        settings = {"apputils-extension/notification": dict(fetchNews="false", checkForUpdates=False, doNotDisturbMode=True), "apputils-extension/themes": dict(theme="JupyterLab Light")}
        for name, value in settings.items():
            path = work/"config"/"settings"/"@jupyterlab"/f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        (work/"config"/"jupyter_server_config.json").write_text(json.dumps(dict(ServerApp=dict(ip="127.0.0.1", port_retries=0), IdentityProvider=dict(token=self.token),
                                                                               LabApp=dict(expose_app_in_browser=True, extension_manager="readonly"))))
        with socket.socket() as s: s.bind(("127.0.0.1", 0)); self.port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")} # a guide needs no network
        places = dict(JUPYTER_CONFIG_DIR="config", JUPYTER_DATA_DIR="data", JUPYTER_RUNTIME_DIR="runtime", JUPYTERLAB_SETTINGS_DIR="config/settings", JUPYTERLAB_WORKSPACES_DIR="workspaces", IPYTHONDIR="ipython", HF_HOME="hf")
        env = {**os.environ, **nowhere, "no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_OFFLINE": "1", **{k: str(work/v) for k, v in places.items()}}
        words = [sys.executable, "-c", "from gymenv_nb.cli import main; main()", "lab", str(self.folder), "--no-browser", f"--port={self.port}", *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])]
        self.process = subprocess.Popen(words, env=env, stdout=open(self.log_path, "w"), stderr=subprocess.STDOUT, cwd=work, start_new_session=True)
        start = time.monotonic()
        while True:
            with suppress(OSError): self.ask("/api/status"); break
            if self.process.poll() is not None or time.monotonic() - start > LONG: raise SystemExit(f"JupyterLab did not start:\n{self.log_path.read_text()[-3000:]}")
            time.sleep(.1)
        self.made.mkdir()

    def ask(self, path: str, method: str = "GET"):
        request = urllib.request.Request(self.url + path, method=method, headers={"Authorization": f"token {self.token}"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=LONG) as reply: return json.loads(reply.read() or "null")

    def end_kernels(self):
        for o in self.ask("/api/kernels"):
            with suppress(OSError): self.ask(f"/api/kernels/{o['id']}", "DELETE")

    def stop(self):
        "End it as a person does, by asking."
        with suppress(OSError): self.ask("/api/shutdown", "POST")
        with suppress(subprocess.TimeoutExpired): self.process.wait(LONG)


def end_all():
    "End what is left of all that was begun here."
    def marked():
        for o in psutil.process_iter():
            with suppress(psutil.Error):
                if o.pid != os.getpid() and o.environ().get(MARK) == os.environ[MARK]: yield o
    for action in ("terminate", "kill"):
        left = list(marked())
        for o in left:
            with suppress(psutil.Error): getattr(o, action)()
        psutil.wait_procs(left, 5)


class Suite:
    "A browser, a JupyterLab, and what the checks share."
    def __init__(self, browser, lab, shots: Path, docs):
        self.browser, self.lab, self.shots, self.docs, self.pages, self.facts = browser, lab, shots, docs, {}, []
        self.context = browser.new_context(viewport=dict(width=1400, height=1200)) # one for all pages, which have its cache

    def note(self, text: str): "Something to be said in the line of the check."; self.facts.append(text)

    def notebook(self,
        name: str, # without the ending
        cells: list | None = None, # sources of its cells; None: it is there
    ):
        "A notebook that has been run from first to last cell; opened once."
        if name not in self.pages:
            if cells is not None: write_notebook(self.lab.made/f"{name}.ipynb", cells)
            self.pages[name] = Notebook(self, f"made/{name}.ipynb" if cells is not None else f"{name}.ipynb")
            self.pages[name].run()
        return self.pages[name]

    def close(self, name: str): self.pages.pop(name).close()


def write_notebook(path: Path, cells: list):
    "A notebook of code cells."
    cells = [dict(cell_type="code", id=f"cell{i}", metadata={}, execution_count=None, outputs=[], source=o) for i, o in enumerate(cells)]
    path.write_text(json.dumps(dict(cells=cells, metadata=dict(kernelspec=dict(name="python3", display_name="Python 3", language="python")), nbformat=4, nbformat_minor=5)))


class Notebook:
    "A notebook in a window of its own."
    def __init__(self, suite, path: str):
        self.suite, self.path, self.errors, self.elsewhere = suite, path, [], []
        self.page = suite.context.new_page()
        self.page.set_default_timeout(1000*LONG)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)[:300]))
        self.page.on("dialog", lambda o: (self.errors.append(f"a dialog: {o.message}"), o.dismiss()))
        self.page.on("request", lambda o: None if o.url.startswith((suite.lab.url, f"ws://127.0.0.1:{suite.lab.port}", "data:", "blob:")) else self.elsewhere.append(o.url[:200]))
        self.open()

    def open(self):
        self.page.goto(f"{self.suite.lab.url}/doc/tree/{quote(self.path)}?token={self.suite.lab.token}")
        self.page.wait_for_function("() => window.jupyterapp && document.querySelector('.jp-Notebook .jp-CodeCell')")
        self.page.evaluate(KERNEL_READY)

    def run(self, times: int = 1):
        "Run every cell, one after the other, in so many times `LONG`; ends at an error as a person would see it."
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")
        self.page.wait_for_function(ALL_RAN, timeout=1000*LONG*times, polling=100)
        if found := self.problems(): raise AssertionError("\n".join(found))

    def cells(self) -> list: "As they would be saved."; return self.page.evaluate("() => jupyterapp.shell.currentWidget.context.model.toJSON().cells")

    def problems(self) -> list: # texts
        "Errors and writings to stderr."
        return [f"cell {i}, {''.join(cell['source'])[:80]!r}: {o.get('ename') or o['name']}: {o.get('evalue') or ''.join(o['text'])[:500]}" for i, cell in enumerate(self.cells(), 1) for o in cell.get("outputs", ())
                if o["output_type"] == "error" or o.get("name") == "stderr"]

    def run_cell(self, index: int): "Run one cell and wait for it."; self.page.evaluate(RUN_CELL, index)
    def run_cell_soon(self, index: int): "Run one cell and go on."; self.page.evaluate(f"i => {{ ({RUN_CELL})(i) }}", index)
    def cell(self, index: int): "What a code cell has."; return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index)
    def save(self): self.page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save') }")

    def unharmed(self):
        "Nothing of what was shown has done anything."
        assert self.page.evaluate("() => window.hacked === undefined"), "a script in a text has run"
        assert not self.errors, f"errors in the page: {self.errors}"
        assert not self.elsewhere, f"requests to elsewhere: {self.elsewhere}"

    def shoot(self, name: str, what):
        "A picture in light and dark."
        for theme in ("Light", "Dark"):
            self.theme(theme)
            what.scroll_into_view_if_needed()
            what.screenshot(path=self.suite.shots/f"{name}_{theme.lower()}.png", animations="disabled")
        self.theme("Light")

    def theme(self, name: str):
        "Change the theme, and wait until JupyterLab has taken its splash screen away: at a change before that it would take it away twice, which is an error of its page."
        self.page.evaluate(THEME, f"JupyterLab {name}")
        self.page.wait_for_function("light => document.body.dataset.jpThemeLight === light && !document.getElementById('jupyterlab-splash')", arg=str(name == "Light").lower())

    def close(self):
        self.page.close()
        self.suite.lab.end_kernels()


# Guides

def guide_check(path: Path):
    def run_guide(suite):
        name = path.stem
        copy = suite.lab.folder/path.name
        notebook = json.loads(copy.read_text())
        here = [o for o in notebook["cells"] if not re.match(r"#\|\s*(slow|gpu)\b", "".join(o["source"]))]
        if len(here) < len(notebook["cells"]):
            suite.note(f"{len(notebook['cells']) - len(here)} slow cells left out")
            copy.write_text(json.dumps({**notebook, "cells": here}))
        page = Notebook(suite, path.name)
        suite.pages[name] = page
        start = time.monotonic()
        page.run(2)
        suite.note(f"its cells took {time.monotonic() - start:.1f} s")
        page.unharmed()
        suite.close(name)
    checks[f"guide {path.stem}"] = run_guide


for path in sorted((root/"nbs"/"tutorials").glob("*.ipynb")): guide_check(path)


# The playground

ANSWERS = """
from gymenv_nb.contract import BaseVerifyRequest, BaseVerifyResponse
from gymenv_nb.environment import Card, Environment
from gymenv_nb.policy import FunctionPolicy
from gymenv_nb.resources import SimpleResourcesServer
class Counts(SimpleResourcesServer):
    async def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        text = body.response.output_text
        while text == "hang": pass
        return BaseVerifyResponse(**body.model_dump(), reward=counted(text))
def counted(text): return float(len(text.split()))
counts = Environment(Counts, [dict(responses_create_params=dict(input="Write some words."))], Card("counts", "other", "One for each word."))
async def never(params):
    import asyncio
    await asyncio.sleep(3600)
"""
PLAY = ["from gymenv_nb.all import *\nplay('addition', num_tasks=20)", "play('calculator', num_tasks=5)", "1 + 1", ANSWERS + "play(counts, [FunctionPolicy(never, name='never')], limit=2)"]


def playground(suite, index):
    "A playground of the notebook, and its status line."
    page = suite.notebook("play", PLAY)
    ground = page.cell(index)
    ground.scroll_into_view_if_needed()
    return page, ground, ground.get_by_role("status")


def choose_task(ground, index: int) -> dict:
    "Choose a task, and wait until it is asked."
    ground.get_by_label("Task", exact=True).select_option(index=index)
    begin = ground.get_by_label("Task", exact=True).locator("option:checked").inner_text().replace("\u00a0", " ").partition(": ")[2][:20]
    expect(ground.locator(".gymenv-play pre").first).to_contain_text(begin)
    expect(ground.get_by_label("Turn 1")).to_have_value("")
    return task_of(ground)


def task_of(ground) -> dict: "The row of the task."; return json.loads(ground.get_by_label("Row (JSON)").input_value())


@check
def play_by_hand(suite):
    "A task is chosen, a response is typed and edited, and the reward follows."
    page, ground, status = playground(suite, 0)
    expect(status).to_contain_text("Reward 0.0")
    answer = str(choose_task(ground, 3)["expected_answer"])
    box = ground.get_by_label("Turn 1")
    box.click()
    box.press_sequentially(f"It is <answer>{answer}", delay=5)
    expect(status).to_contain_text("Reward 0.0")
    box.press_sequentially("</answer>", delay=5)
    expect(status).to_contain_text("Reward 1.0")
    for _ in "</answer>1": box.press("Backspace")
    expect(status).to_contain_text("Reward 0.0")
    start = time.monotonic()
    box.fill(f"<answer>{answer}.0</answer>")
    expect(status).to_contain_text("Reward 1.0")
    suite.note(f"reward {time.monotonic() - start:.2f} s after the last key")


@check
def play_own_task(suite):
    "A task is written; a mistake in it is named by its line."
    page, ground, status = playground(suite, 0)
    ground.get_by_text("The task's row").click()
    row = ground.get_by_label("Row (JSON)")
    row.fill('{"responses_create_params": {"input": "What is two and two?"},\n "expected_answer": 4')
    expect(status).to_contain_text("task, line 2, column 22: no JSON")
    row.press("End")
    row.press_sequentially("}")
    ground.get_by_label("Turn 1").fill("<answer>4</answer>")
    expect(status).to_contain_text("Reward 1.0")
    expect(ground.locator(".gymenv-play pre").first).to_have_text("What is two and two?")
    row.fill('{"responses_create_params": {"input": "?"},\n "expected_answer": "many"}')
    expect(status).to_contain_text("task, line 2: expected_answer")
    ground.get_by_text("The task's row").click()


@check
def play_samples(suite):
    "Responses are sampled, read and edited."
    page, ground, status = playground(suite, 0)
    answer = choose_task(ground, 2)["expected_answer"]
    ground.get_by_label("Turn 1").fill("mine")
    expect(status).to_contain_text("Reward 0.0")
    ground.get_by_label("Samples").fill("6")
    ground.get_by_label("Samples").press("Tab")
    ground.get_by_role("button", name="Sample", exact=True).click()
    expect(ground.get_by_text("6 of 6 in")).to_be_visible()
    responses = ground.get_by_label("Responses")
    expect(responses.locator("option")).to_have_count(7)
    lines = [o.replace("\u00a0", " ") for o in responses.locator("option").all_inner_texts()]
    assert lines[0] == "written by hand | mine" and all(re.match(r"\d: reward [01]\.0 \| ", o) for o in lines[1:]), lines
    for i in (2, 5):
        responses.select_option(index=i)
        expect(status).to_contain_text(f"Reward {lines[i].split()[2]}")
        said = ground.get_by_label("Turn 1").input_value()
        assert " ".join(said.split())[:40] == lines[i].partition(" | ")[2][:40], (said, lines[i])
    page.shoot("playground", ground.locator(".jp-Cell-outputArea"))
    ground.get_by_label("Turn 1").fill(f"<answer>{answer}</answer>")
    expect(status).to_contain_text("Reward 1.0")
    ground.get_by_label("Turn 1").fill(f"<answer>{answer}</answer> or <answer>0</answer>")
    expect(status).to_contain_text("Reward 0.0")
    expect(responses.locator("option").first).to_have_text("written by hand | mine")
    responses.select_option(index=0)
    expect(ground.get_by_label("Turn 1")).to_have_value("mine")


@check
def play_stop(suite):
    "A policy that does not answer is stopped, a verifier that does not return has its time, and one that was changed is taken up."
    page, ground, status = playground(suite, 3)
    ground.get_by_role("button", name="Sample", exact=True).click()
    ground.get_by_role("button", name="Stop", exact=True).click()
    expect(status).to_contain_text("policy: stopped")
    ground.get_by_label("Turn 1").fill("hang")
    expect(status).to_contain_text("took over 2 s")
    ground.get_by_label("Turn 1").fill("one two three")
    expect(status).to_contain_text("Reward 3.0")
    page.run_cell(2)
    expect(status).to_contain_text("Reward 3.0")


@check
def play_test_cell(suite):
    "A response becomes a test in a cell, which passes."
    page, ground, status = playground(suite, 0)
    choose_task(ground, 4)
    ground.get_by_label("Turn 1").fill("<answer>7, no: seven</answer>")
    expect(status).to_contain_text("Reward 0.0")
    ground.get_by_role("button", name="Make a test case").click()
    test = ground.get_by_label("Test", exact=True)
    expect(test).to_have_value(re.compile(r"assert await reward\(Addition, '<answer>7, no: seven</answer>', expected_answer=\d+\) == 0\.0"))
    before = page.page.locator(".jp-Notebook .jp-CodeCell").count()
    index = next(i for i, o in enumerate(page.cells()) if o["source"] == "1 + 1")
    page.run_cell(index)
    expect(page.page.locator(".jp-Notebook .jp-CodeCell")).to_have_count(before + 1)
    assert page.cells()[index + 1]["source"] == test.input_value()
    page.run_cell(index + 1)
    page.page.wait_for_function(f"() => jupyterapp.shell.currentWidget.content.widgets[{index + 1}].model.executionCount")
    assert not page.problems()


@check
def play_tools(suite):
    "Tools are called step by step, and a call that cannot be done says why."
    page, ground, status = playground(suite, 1)
    first = ground.get_by_label("Turn 1")
    first.fill('<tool_call>{"name": "divide_all", "arguments": {}}</tool_call>')
    expect(ground.get_by_text("Tool failed: divide_all")).to_be_visible()
    first.fill('I add.\n<tool_call>{"name": "add", "arguments": {"a": 34, "b": 57}}</tool_call>')
    expect(ground.get_by_text("Tool: add(a=34, b=57)")).to_be_visible()
    expect(ground.locator(".gymenv-play pre", has_text='{"result":91}')).to_be_visible()
    expect(status).to_contain_text("Add a turn to go on")
    ground.get_by_role("button", name="Add a turn").click()
    ground.get_by_label("Turn 2").fill(f"<answer>{task_of(ground)['expected_answer']}</answer>")
    expect(status).to_contain_text("Reward 1.0")
    page.shoot("playground_tools", ground.locator(".jp-Cell-outputArea"))
    ground.get_by_text("Items (JSON)").click()
    expect(first).to_have_value(re.compile('"type": "function_call"'))
    expect(status).to_contain_text("Reward 1.0")
    page.unharmed()


# The rollout browser

WORDS = "the of sum carry digit answer number ten one two three first then check again because so we have add left over total wait hence therefore product difference".split()


def response(*items, length: int) -> dict:
    return dict(id="resp_0", created_at=0, model="made", object="response", output=list(items), parallel_tool_calls=True, tool_choice="auto", tools=[], usage=dict(input_tokens=20, output_tokens=length, total_tokens=20 + length))


def message(text: str) -> dict: return dict(type="message", id="msg_0", role="assistant", status="completed", content=[dict(type="output_text", text=text, annotations=[])])
def asked(text: str, *names) -> dict: return dict(input=text, tools=[dict(type="function", name=o, parameters={}, strict=True) for o in names])


def write_run(folder: Path, **files):
    "The files of a run, as NeMo Gym writes them."
    folder.mkdir()
    for name, rows in files.items(): (folder/f"{name}.jsonl").write_text("".join(json.dumps(o) + "\n" for o in rows))


def made_run(folder: Path, num_tasks: int, num_repeats: int, words: int, seed: int):
    "Rollouts of words at random; every fourth task with a tool, every other with thinking. Task t is solved by t of num_repeats."
    rng, rows = random.Random(seed), []
    text = lambda n: " ".join(rng.choices(WORDS, k=n))
    for t in range(num_tasks):
        for r in range(num_repeats):
            reward, items = float(r < (t + seed) % (num_repeats + 1)), []
            if t % 2: items.append(dict(type="reasoning", id="rs_0", summary=[dict(type="summary_text", text=text(words))]))
            if t % 4 == 0:
                items += [dict(type="function_call", id="fc_0", call_id="call_0", name="add" if r % 2 else "look_up", arguments='{"a": 17, "b": 25}', status="completed"), dict(type="function_call_output", call_id="call_0", output='{"result": 42}')]
            items.append(message(f"{text(words)} {'marvellous' if (t, r) in ((1, 2), (2, 0)) else ''} <answer>{t if reward else t + 1 + r}</answer>"))
            rows.append(dict(responses_create_params=asked(f"Task {t}: how much is {t} + 0? Answer in <answer> tags.", "add", "look_up"), expected_answer=t, reward=reward, response=response(*items, length=words + 10*r + t), _ng_task_index=t, _ng_rollout_index=r))
    inputs = [{k: v for k, v in o.items() if k not in ("reward", "response")} for o in rows]
    failure = dict(responses_create_params=asked(f"Task {num_tasks}: a verifier that hangs."), expected_answer=0, _ng_task_index=num_tasks, _ng_rollout_index=0, _ng_failure_class="timeout", error="verify took over 10 s")
    inputs.append({k: v for k, v in failure.items() if k not in ("_ng_failure_class", "error")})
    write_run(folder, rollouts=rows, rollouts_failures=[failure], rollouts_materialized_inputs=inputs)


TASKS, REPEATS = 8, 6
BROWSE = ["from gymenv_nb.all import *\nbrowse('one')", "browse('one')", "browse('one', 'two')", "browse('nothing')", "browse('empty')", "browse('growing')", "browse('one', 'others')"]


def reader(suite, index=0, name="browse", cells=BROWSE):
    "A rollout browser of the notebook: the page, the widget, its list, its status line."
    made = suite.lab.made
    if not (made/"one").exists():
        made_run(made/"one", TASKS, REPEATS, 40, 0)
        made_run(made/"two", TASKS, REPEATS, 40, 3)
        (made/"empty").mkdir()
        (made/"empty"/"rollouts.jsonl").touch()
        whole = (made/"two"/"rollouts.jsonl").read_bytes()
        for folder, data in (("growing", whole[:len(whole)//2]), ("others", whole.replace(b"how much is", b"what comes of"))):
            (made/folder).mkdir()
            (made/folder/"rollouts.jsonl").write_bytes(data)
    page = suite.notebook(name, cells)
    box = page.cell(index).locator(".gymenv-browse")
    box.scroll_into_view_if_needed()
    return page, box, box.locator(".gb-list select"), box.locator("[role=status]").first


def lines(listed) -> list: "The lines of a list."; return [o.replace("\u00a0", " ") for o in listed.locator("option").all_inner_texts()]
def top(box): "What is said to be shown."; return box.locator("b").nth(1)


def everything(box, status):
    "Take every filter away, as they stand at the beginning."
    box.get_by_role("button", name="Rollouts", exact=True).click()
    box.get_by_label("Search").fill("")
    for name, value in (("Outcome", "any"), ("Tool", "any"), ("Sort by", "task")): box.get_by_label(name, exact=True).select_option(value)
    for name in ("descending", "marked or noted"): box.get_by_label(name).uncheck()
    expect(status).to_contain_text(f"{TASKS*REPEATS + 1} of {TASKS*REPEATS + 1} rollouts")
    expect(status).to_contain_text(f"of {TASKS*REPEATS + 1} rollouts")
    expect(box.locator(".gb-list select option")).to_have_count(TASKS*REPEATS + 1)
    expect(box.locator(".gb-list select option").first).to_have_text(re.compile(r"^\s*0\s+0"))
    box.get_by_label("Line").fill("1")
    expect(top(box)).to_contain_text("Task 0, sample 0")
    box.get_by_role("button", name="Conversation", exact=True).click()
    expect(box.locator(".gb-conversation")).to_be_visible()


@check
def browse_search(suite):
    "What is typed is found and pointed out, in any order; a phrase stands as it is."
    page, box, listed, status = reader(suite)
    everything(box, status)
    expect(status).to_contain_text("49 of 49 rollouts, mean reward")
    box.get_by_label("Search").click()
    box.get_by_label("Search").press_sequentially("marvellous", delay=5)
    expect(status).to_contain_text("2 of 49 rollouts")
    expect(listed.locator("option")).to_have_count(2)
    assert [o.split()[:2] for o in lines(listed)] == [["1", "2"], ["2", "0"]]
    expect(box.locator(".gb-conversation .gb-assistant mark")).to_have_text("marvellous")
    expect(top(box)).to_contain_text("Task 1, sample 2")
    box.get_by_label("Search").fill('marvellous "task 2:"')
    expect(status).to_contain_text("1 of 49 rollouts")
    box.get_by_label("Search").fill("verifier hangs")
    expect(status).to_contain_text("1 of 49 rollouts")
    expect(box.locator(".gb-conversation")).to_contain_text("verify took over 10 s")
    box.get_by_label("Search").fill("xylophone")
    expect(status).to_contain_text("nothing is found: take a filter away")


@check
def browse_filter_and_sort(suite):
    "Filters go together; the list has the order that is asked for, and what is not known stands last."
    page, box, listed, status = reader(suite)
    everything(box, status)
    outcomes = [o.split()[0] for o in box.get_by_label("Outcome").locator("option").all_inner_texts()]
    box.get_by_label("Outcome").select_option(index=outcomes.index("wrong"))
    wrong = sum(1 for t in range(TASKS) for r in range(REPEATS) if r >= t % (REPEATS + 1))
    expect(status).to_contain_text(f"{wrong} of 49 rollouts, mean reward 0.000")
    box.get_by_label("Tool").select_option("add")
    with_add = sum(1 for t in (0, 4) for r in (1, 3, 5) if r >= t)
    expect(status).to_contain_text(f"{with_add} of 49 rollouts")
    expect(box.locator(".gb-conversation .gb-call")).to_contain_text("Tool call: add")
    expect(box.locator(".gb-conversation .gb-call")).to_contain_text('{"result": 42}')
    box.get_by_label("Outcome").select_option("any")
    box.get_by_label("Tool").select_option("any")
    expect(status).to_contain_text("49 of 49")
    box.get_by_label("Sort by").select_option("length")
    box.get_by_label("descending").check()
    longest = 40 + 10*(REPEATS - 1) + TASKS - 1
    expect(listed.locator("option").first).to_contain_text(f"{longest}")
    found = [o[34:41].strip() for o in lines(listed)]
    assert found[0] == str(longest) and found[-1] == "-" and [int(o) for o in found[:-1]] == sorted(map(int, found[:-1]), reverse=True), found
    box.get_by_label("descending").uncheck()
    handle = box.locator(".noUi-handle-lower").first
    handle.focus()
    for _ in range(10): handle.press("ArrowRight")
    solved = sum(t % (REPEATS + 1) for t in range(TASKS))
    expect(status).to_contain_text(f"{solved} of 49 rollouts, mean reward 1.000")
    for _ in range(10): handle.press("ArrowLeft")
    expect(status).to_contain_text("49 of 49")


@check
def browse_keyboard(suite):
    "In the list, arrow keys go from one rollout to the next, and the notebook stays where it is."
    page, box, listed, status = reader(suite)
    everything(box, status)
    listed.locator("option").nth(0).click()
    expect(top(box)).to_contain_text("Task 0, sample 0")
    active = "() => jupyterapp.shell.currentWidget.content.activeCellIndex"
    before = page.page.evaluate(active)
    for keys, shown in ((["ArrowDown"]*3, "Task 0, sample 3"), (["ArrowUp"], "Task 0, sample 2"), (["End"], f"Task {TASKS}, sample 0, no reward"), (["Home"], "Task 0, sample 0"), (["ArrowDown"]*7, "Task 1, sample 1")):
        for key in keys: page.page.keyboard.press(key)
        expect(top(box)).to_contain_text(shown)
    assert page.page.evaluate(active) == before, "the notebook took the keys"
    box.get_by_label("Line").fill("13")
    expect(top(box)).to_contain_text("Task 2, sample 0")


@check
def browse_tasks(suite):
    "Rollouts grouped by task, the samples side by side, and one of them opened."
    page, box, listed, status = reader(suite)
    everything(box, status)
    box.get_by_role("button", name="Tasks", exact=True).click()
    expect(status).to_contain_text(f"of {TASKS + 1} tasks")
    listed.locator("option").nth(5).click()
    buttons = box.locator(".widget-gridbox button")
    expect(buttons).to_have_count(REPEATS)
    expect(buttons).to_have_text([f"sample {r}, reward {int(r < 5)}" for r in range(REPEATS)])
    expect(box.locator(".gb-card").nth(5)).to_contain_text("<answer>11</answer>")
    page.shoot("browser_tasks", page.cell(0).locator(".jp-Cell-outputArea"))
    buttons.nth(5).click()
    expect(top(box)).to_contain_text("Task 5, sample 5, reward 0")
    expect(box.locator(".gb-conversation .gb-user")).to_contain_text("Task 5: how much is 5 + 0?")
    thinking = box.locator(".gb-conversation details.gb-thinking")
    expect(thinking.locator("pre")).to_be_hidden()
    thinking.locator("summary").click()
    expect(thinking.locator("pre")).to_be_visible()


@check
def browse_differences(suite):
    "What differs between two responses."
    page, box, listed, status = reader(suite)
    everything(box, status)
    listed.locator("option").nth(2).click()
    expect(top(box)).to_contain_text("Task 0, sample 2")
    box.get_by_role("button", name="Differences", exact=True).click()
    box.get_by_label("against").select_option(index=0)
    expect(box.locator(".gb-differences del").last).to_contain_text("<answer>3</answer>")
    expect(box.locator(".gb-differences ins").last).to_contain_text("<answer>1</answer>")
    page.shoot("browser_differences", page.cell(0).locator(".jp-Cell-outputArea"))
    box.get_by_role("button", name="Conversation", exact=True).click()
    page.shoot("browser", page.cell(0).locator(".jp-Cell-outputArea"))


@check
def browse_marks(suite):
    "Rollouts are marked and noted, in two notebooks at once; what both say is beside the run and there when it is opened again."
    page, box, listed, status = reader(suite)
    everything(box, status)
    other_page, other, other_listed, _ = reader(suite, 0, "browse_again", BROWSE[:1])
    path = suite.lab.made/"one"/"rollouts_marks.jsonl"
    marks = lambda: {(o["_ng_task_index"], o["_ng_rollout_index"]): (o["marked"], o["note"]) for o in map(json.loads, path.read_text().splitlines())} if path.exists() else {}
    listed.locator("option").nth(1).click()
    expect(top(box)).to_contain_text("Task 0, sample 1")
    box.get_by_role("button", name="Mark", exact=True).click()
    expect(box.get_by_text("Saved in one/rollouts_marks.jsonl")).to_be_visible()
    other_listed.locator("option").nth(9).click()
    expect(top(other)).to_contain_text("Task 1, sample 3")
    other.get_by_label("Note", exact=True).fill("why <b>this</b>?")
    other.get_by_label("Note", exact=True).press("Enter")
    expect(other.get_by_text("Saved in")).to_be_visible()
    other_listed.locator("option").nth(1).click()
    expect(other.get_by_role("button", name="Marked")).to_be_visible() # what the first notebook has marked
    other.get_by_label("Note", exact=True).fill("both")
    other.get_by_label("Note", exact=True).press("Enter")
    expect(other_listed.locator("option").nth(1)).to_contain_text("*+")
    box.get_by_role("button", name="Marked").click()
    expect(box.get_by_label("Note", exact=True)).to_have_value("both")
    expect(box.get_by_role("button", name="Mark", exact=True)).to_be_visible()
    assert marks() == {(0, 1): (False, "both"), (1, 3): (False, "why <b>this</b>?")}, marks()
    box.get_by_label("marked or noted").check()
    expect(status).to_contain_text("2 of 49 rollouts")
    box.get_by_label("marked or noted").uncheck()
    expect(status).to_contain_text("49 of 49 rollouts")


@check
def browse_export(suite):
    "A selection is written as it stands in the run."
    page, box, listed, status = reader(suite, 1)
    box.get_by_label("Search").fill('"task 3:"')
    expect(status).to_contain_text(f"{REPEATS} of 49")
    box.get_by_label("Sort by").select_option("length")
    box.get_by_label("descending").check()
    expect(listed.locator("option").first).to_contain_text("93")
    box.get_by_role("button", name="Export selection").click()
    expect(box.get_by_text("6 rollouts were written to one/rollouts_selection_1.jsonl")).to_be_visible()
    there = (suite.lab.made/"one"/"rollouts.jsonl").read_bytes().splitlines()
    written = (suite.lab.made/"one"/"rollouts_selection_1.jsonl").read_bytes().splitlines()
    assert written == [there[3*REPEATS + r] for r in reversed(range(REPEATS))]
    box.get_by_label("Export to").fill("one/rollouts.jsonl")
    box.get_by_role("button", name="Export selection").click()
    expect(box.get_by_text("is there already. Give another name")).to_be_visible()


@check
def browse_compare(suite):
    "Two runs task by task, the largest difference first, and a rollout of one against one of the other."
    page, box, listed, status = reader(suite, 2)
    box.get_by_role("button", name="Tasks", exact=True).click()
    expect(status).to_contain_text("tasks")
    solved = {t: ((t + 3) % (REPEATS + 1) - t % (REPEATS + 1))/REPEATS for t in range(TASKS)}
    most = max(map(abs, solved.values()))
    expect(listed.locator("option").first).to_contain_text(re.compile(rf"[+-]{most:.3f}"))
    for line in lines(listed)[:TASKS]:
        task, change = int(line.split()[0]), float(line.split()[4])
        assert abs(change - solved[task]) < .001, line
    expect(box.locator(".widget-gridbox button")).to_have_count(2*REPEATS)
    expect(box.locator(".widget-gridbox button").first).to_contain_text("one: sample 0")
    expect(box.locator(".widget-gridbox button").last).to_contain_text("two: sample 5")
    page.shoot("browser_two_runs", page.cell(2).locator(".jp-Cell-outputArea"))
    box.get_by_role("button", name="Differences", exact=True).click()
    expect(box.get_by_label("against").locator("option:checked")).to_contain_text("two: sample")
    expect(box.locator(".gb-differences")).to_be_visible()


@check
def browse_bad_input(suite):
    "No run, an empty one, one that is being written, one of other tasks: a sentence each."
    page, *_ = reader(suite)
    for index, sentence in ((3, "nothing: no such file or folder"), (4, "empty"), (5, "not written to its end"), (6, "task")):
        output = page.cell(index).locator(".jp-Cell-outputArea")
        expect(output).to_contain_text(sentence)
        assert "Traceback" not in output.inner_text()
    assert not page.problems()
    page.unharmed()


@check
def browse_large(suite):
    "With 8,000 rollouts, from a key to the list that is drawn: medians of five."
    made_run(suite.lab.made/"large", 500, 16, 60, 1)
    page, box, listed, status = reader(suite, 0, "browse_large", ["from gymenv_nb.all import *\nbrowse('large')"])
    expect(status).to_contain_text("8,001 of 8,001 rollouts")
    # from the event that the person makes until the list and what is said above it have changed and been drawn
    page.page.evaluate("""limit => { window.watchOnce = () => new Promise((done, failed) => { let start = 0, timer = 0, last = 0; setTimeout(() => failed(new Error(`nothing has changed for ${limit/1000} s`)), limit);
        const begun = () => { start = start || performance.now(); };
        for (const name of ['input', 'change', 'click']) addEventListener(name, begun, { capture: true, once: true });
        const seen = new MutationObserver(found => { if (!start || !found.some(o => (o.target.closest ? o.target : o.target.parentElement)?.closest('.gymenv-browse'))) return; requestAnimationFrame(() => { last = performance.now(); }); clearTimeout(timer); timer = setTimeout(() => { seen.disconnect(); done(last - start); }, 700); });
        seen.observe(document.body, { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ['title', 'class', 'style'] }); }); }""", 1000*LONG)
    def took(act):
        page.page.evaluate("() => { window.last = window.watchOnce(); }")
        act()
        return page.page.evaluate("() => window.last")
    search = box.get_by_label("Search")
    sorts, outcome = box.get_by_label("Sort by"), box.get_by_label("Outcome")
    button = lambda name: (lambda: box.get_by_role("button", name=name, exact=True).click())
    pairs = {"search": (lambda: search.fill("carry digit 17"), lambda: search.fill("")), "sort": (lambda: sorts.select_option("reward"), lambda: sorts.select_option("task")),
             "filter": (lambda: outcome.select_option(index=1), lambda: outcome.select_option(index=0)), "tasks": (button("Tasks"), button("Rollouts")), "samples": (button("Samples of the task"), button("Conversation")), "differences": (button("Differences"), button("Conversation"))}
    search.fill("carry") # texts are put together once, when the run is opened
    expect(status).not_to_contain_text("8,001 of")
    search.fill("")
    expect(status).to_contain_text("8,001 of")
    times = {}
    for name, (there, back) in pairs.items():
        if name == "samples": # which grouping by task has already switched to
            button("Conversation")()
            expect(box.locator(".gb-conversation")).to_be_visible()
        for _ in range(5):
            times.setdefault(name, []).append(took(there))
            times.setdefault(f"{name} undone", []).append(took(back))
    button("Tasks")()
    expect(status).to_contain_text("501 tasks")
    for _ in range(5):
        times.setdefault("search in tasks", []).append(took(lambda: search.fill("carry digit")))
        times.setdefault("search in tasks undone", []).append(took(lambda: search.fill("")))
    medians = {k: statistics.median(v) for k, v in times.items()}
    suite.note(", ".join(f"{k} {v:.0f} ms" for k, v in medians.items()))
    page.unharmed()
    suite.close("browse_large")


# The live run

# However fast the machine is, there is something left to be stopped, and however slow it is, what is left comes to an end.
LIVE_POLICY = """
import asyncio
from pathlib import Path
from gymenv_nb.all import collect, policy
class Halting:
    "The embedded policy, which answers 200 times and then waits for a file."
    name, concurrency, of, asked = "halting", 64, policy(thinking=False), 0
    def settings(self): return self.of.settings()
    async def respond(self, params, seed=0):
        self.asked += 1
        while self.asked > 200 and not Path("go_on").exists(): await asyncio.sleep(.05)
        return await self.of.respond(params, seed)"""


@check
def live_run(suite):
    "A collection is watched, stopped, gone on with, and read again in the saved notebook."
    cells = [LIVE_POLICY, "run = collect('addition', Halting(), num_repeats=16, tasks=60, to='live_run')", "print(len(run), 'rows')"]
    write_notebook(suite.lab.made/"live.ipynb", cells)
    page = suite.pages["live"] = Notebook(suite, "made/live.ipynb")
    for i in (0, 1): page.run_cell_soon(i)
    live = page.cell(1).locator(".gymenv-live")
    head = live.locator("b").first
    done = lambda: int(re.search(r"([\d,]+) of", head.inner_text())[1].replace(",", ""))
    expect(head).to_contain_text("Collecting")
    page.page.wait_for_function("() => { const m = document.querySelector('.gymenv-live b')?.textContent.match(/([\\d,]+) of/); return m && +m[1].replace(',', '') > 50 }")
    page.cell(1).get_by_role("button", name="Stop").click()
    expect(head).to_contain_text("Stopped at")
    stopped = done()
    page.run_cell_soon(2)
    expect(page.cell(2)).to_contain_text(f"{stopped} rows")
    page.shoot("live_run", page.cell(1).locator(".jp-Cell-outputArea"))
    (suite.lab.made/"go_on").touch()
    page.cell(1).get_by_role("button", name="Go on").click()
    before, since = stopped, time.monotonic()
    while "Complete" not in head.inner_text():
        if (now := done()) != before: before, since = now, time.monotonic()
        assert time.monotonic() - since < LONG, f"nothing more for {LONG:.0f} s after {before} rollouts"
        time.sleep(.2)
    expect(head).to_contain_text("Complete: 960 of 960")
    page.run_cell_soon(2)
    expect(page.cell(2)).to_contain_text("960 rows")
    page.shoot("live_run_complete", page.cell(1).locator(".jp-Cell-outputArea"))
    page.save()
    saved = json.loads((suite.lab.made/"live.ipynb").read_text())["cells"][1]["outputs"]
    assert any("Complete: 960 of 960" in "".join(o.get("data", {}).get("text/html", "")) for o in saved), "the saved notebook does not say what was collected"
    assert sum(1 for _ in open(suite.lab.made/"live_run"/"rollouts.jsonl")) == 960
    assert not page.problems()
    page.unharmed()
    suite.close("live")


# Texts that nobody vouches for

SCRIPTS = "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'><svg onload=window.hacked=3></svg><a href=\"javascript:window.hacked=4\">link</a></pre></div></option></select></textarea><style>body{display:none}</style><iframe srcdoc='<script>parent.hacked=5</script>'></iframe>"
HOSTILE = SCRIPTS + "[link](javascript:window.hacked=6) \x1b[31mred\x1b[0m \u202ereversed\u202c \ud800 \x00 "
HOSTILE_PLAY = f"""
import json
from gymenv_nb.all import play, FunctionPolicy
from gymenv_nb.contract import BaseVerifyRequest, BaseVerifyResponse
from gymenv_nb.environment import Card, Environment
from gymenv_nb.resources import SimpleResourcesServer
hostile = json.loads({json.dumps(json.dumps(HOSTILE))})
whole = hostile.encode("utf-8", "replace").decode()
class VerifyResponse(BaseVerifyResponse):
    why: str
class Hostile(SimpleResourcesServer):
    async def verify(self, body: BaseVerifyRequest) -> VerifyResponse:
        print(whole)
        if body.response.output_text == "raise": raise ValueError(whole)
        return VerifyResponse(**body.model_dump(), reward=0.5, why=whole)
env = Environment(Hostile, [dict(responses_create_params=dict(input=whole), **{{"field<img src=x onerror=window.hacked=7>": whole}})], Card("hostile", "other", whole))
play(env, [FunctionPolicy(lambda params: whole, name="bad<img src=x onerror=window.hacked=8>"), FunctionPolicy(lambda params: whole + "y"*1_000_000, name="long"), FunctionPolicy(lambda params: hostile, name="half")])"""


def no_tags_in(widget, inner: str):
    "Texts have become no elements."
    found = widget.locator(inner).locator("script, iframe, a, svg, img").count()
    assert found == 0, f"{found} elements came out of a text"


@check
def hostile_browse(suite):
    "Rollouts that hold scripts, codes, half characters and a megabyte are texts in the browser, in its saved output and in the report."
    made = suite.lab.made
    def row(r, *items, **fields): return dict(responses_create_params=asked(f"{SCRIPTS}{HOSTILE}", "add"), reward=.5*r, response=response(*items, length=5), **fields, _ng_task_index=0, _ng_rollout_index=r)
    call = [dict(type="function_call", id="fc", call_id=SCRIPTS, name=HOSTILE, arguments=HOSTILE, status="completed"), dict(type="function_call_output", call_id=SCRIPTS, output=HOSTILE)]
    rows = [row(0, dict(type="reasoning", id="rs", summary=[dict(type="summary_text", text=HOSTILE)]), *call, message(HOSTILE), **{"why" + SCRIPTS: HOSTILE}), row(1, message(HOSTILE + "y"*1_000_000)), row(2, dict(type=SCRIPTS, text=HOSTILE))]
    write_run(made/"hostile", rollouts=rows)
    (made/"hostile"/"rollouts_marks.jsonl").write_text(json.dumps(dict(_ng_task_index=0, _ng_rollout_index=0, marked=True, note=SCRIPTS)) + "\n")
    page, box, listed, status = reader(suite, 0, "hostile_browse", ["from gymenv_nb.all import *\nbrowse('hostile')", "found = profile('hostile')\nfound", "import os\nos.path.basename(report(found, 'hostile_report.html'))"])
    expect(status).to_contain_text("3 of 3 rollouts")
    expect(box.locator(".gb-assistant pre")).to_contain_text("<script>window.hacked=1</script>")
    expect(box.locator(".gb-assistant pre")).to_contain_text("\u241b[31mred")
    assert not any(o in box.inner_text() for o in "\x1b\u202e\x00")
    expect(box.get_by_label("Note", exact=True)).to_have_value(SCRIPTS)
    no_tags_in(box, ".gb-conversation")
    listed.locator("option").nth(1).click()
    expect(top(box)).to_contain_text("sample 1")
    expect(box.locator(".gb-assistant pre")).to_contain_text("more characters)")
    listed.locator("option").nth(2).click()
    expect(top(box)).to_contain_text("sample 2")
    no_tags_in(box, ".gb-conversation")
    box.get_by_label("Search").fill("onerror='window.hacked=2'")
    expect(status).to_contain_text("3 of 3 rollouts")
    box.get_by_role("button", name="Samples of the task").click()
    expect(box.locator(".gb-card").first).to_contain_text("<script>window.hacked=1</script>")
    no_tags_in(box, ".widget-gridbox .gb-card")
    box.get_by_role("button", name="Differences", exact=True).click()
    expect(box.locator(".gb-differences")).to_contain_text("window.hacked")
    no_tags_in(box, ".gb-differences")
    page.shoot("hostile_browser", page.cell(0).locator(".jp-Cell-outputArea"))
    page.unharmed()
    page.save()
    read_saved(suite, page, made/"hostile_browse.ipynb", "3 rollouts of 1 task")
    shown = looked_at(suite, made/"hostile_report.html")
    assert "<script>window.hacked=1</script>" in shown.locator("body").inner_text()
    shown.close()
    suite.close("hostile_browse")


@check
def hostile_play(suite):
    "A task, a policy and a verifier that send scripts: texts in the playground and in its saved output."
    page = suite.notebook("hostile_play", [HOSTILE_PLAY])
    ground = page.cell(0)
    status = ground.get_by_role("status")
    expect(status).to_contain_text("Reward 0.5")
    expect(status).to_contain_text("<script>window.hacked=1</script>")
    expect(ground.locator(".gymenv-play pre").first).to_contain_text("<script>window.hacked=1</script>")
    ground.get_by_label("Turn 1").fill("raise")
    expect(status).to_contain_text("ValueError: <script>window.hacked=1</script>")
    ground.get_by_label("Turn 1").fill("")
    expect(status).to_contain_text("Reward 0.5")
    for name, shown in (("bad<img src=x onerror=window.hacked=8>", "Reward 0.5"), ("long", "too long for a text box"), ("half", "Reward 0.5")):
        ground.get_by_label("Policy").fill(name)
        ground.get_by_label("Policy").press("Tab")
        ground.get_by_role("button", name="Sample", exact=True).click()
        expect(ground.get_by_text("4 of 4 in")).to_be_visible()
        expect(status).to_contain_text(shown)
        ground.get_by_label("Responses").select_option(index=0)
    no_tags_in(ground, ".gymenv-play")
    page.shoot("hostile_playground", ground.locator(".jp-Cell-outputArea"))
    page.unharmed()
    page.save()
    read_saved(suite, page, suite.lab.made/"hostile_play.ipynb", "policies: bad<img")
    suite.close("hostile_play")


def looked_at(suite, path: Path, scheme: str = "light"):
    "A file as a page, which asks for nothing beside itself and its folder."
    page = suite.browser.new_page(viewport=dict(width=1300, height=1000), color_scheme=scheme)
    wrong = []
    page.on("pageerror", lambda e: wrong.append(str(e)[:300]))
    ours = lambda url: "/ajax/libs/mathjax/" not in url # nbconvert's own pages ask for that
    page.on("request", lambda o: wrong.append(o.url[:200]) if ours(o.url) and not o.url.startswith(("file:", "data:", "blob:")) else None)
    page.on("requestfailed", lambda o: wrong.append(f"failed: {o.url[:200]}") if ours(o.url) else None)
    page.goto(path.resolve().as_uri())
    page.wait_for_load_state("load")
    assert page.evaluate("() => window.hacked === undefined"), "a script in a text has run"
    assert not wrong, wrong
    return page


def read_saved(suite, page, path: Path, sentence: str):
    "A notebook that is read without its kernel, and as a page: a summary stands where the widget was, and no text has done anything."
    saved = path.read_text()
    assert not any(o in saved for o in "\x1b\u202e\x00")
    cells = [dict(o) for o in json.loads(saved)["cells"] if o["cell_type"] == "code"]
    texts = "".join("".join(o.get("data", {}).get("text/plain", "")) for o in cells[0]["outputs"])
    assert sentence in texts, texts[:500]
    page.errors.clear()
    page.open()
    page.unharmed()
    html = path.with_suffix(".html")
    subprocess.run([sys.executable, "-m", "jupyter", "nbconvert", "--log-level=ERROR", "--to", "html", "--embed-images", str(path), "--output", html.name], check=True, timeout=LONG)
    text = re.sub(r"<script[^>]*\bsrc=[^>]*></script>", "", html.read_text()) # nbconvert's own pages load MathJax from elsewhere
    text = re.sub(r"(?s)<script>.{0,200}(mathjax|MathJax|requirejs|mermaid).*?</script>|<script type=\"module\">.*?</script>", "", text)
    html.write_text(text)
    shown = looked_at(suite, html)
    expect(shown.locator(".jp-OutputArea-output").first).to_contain_text(sentence)
    shown.screenshot(path=suite.shots/f"{path.stem}_as_page.png")
    shown.close()


# Pages

@check
def report(suite):
    "The page of a profile."
    reader(suite)
    page = suite.notebook("report", ["from gymenv_nb.all import *\nreport(profile('one'), 'report.html')"])
    for scheme in ("light", "dark"):
        shown = looked_at(suite, suite.lab.made/"report.html", scheme)
        assert "rollouts" in shown.locator("body").inner_text()
        shown.screenshot(path=suite.shots/f"report_{scheme}.png", full_page=True)
        shown.close()
    suite.close("report")


@check
def docs(suite):
    "Three pages of the site, if it was built."
    if not suite.docs: return suite.note("no site was given with --docs")
    for name in ("index", "tutorials/first_environment", "09_profile"):
        for scheme in ("light", "dark"):
            shown = looked_at(suite, suite.docs/f"{name}.html", scheme)
            expect(shown.locator("article h1")).to_be_visible()
            assert shown.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than its window"
            shown.screenshot(path=suite.shots/f"docs_{name.rpartition('/')[2]}_{scheme}.png")
            shown.close()


# The suite

def chromium() -> str|None: return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def what_failed(error: Exception) -> str:
    "The line of the check, and the beginning of the message: all of it has the whole page."
    line = next((f"line {o.lineno}: {o.line}" for o in reversed(traceback.extract_tb(error.__traceback__)) if o.filename == __file__ and o.name != "one_round"), "")
    return f"  {line}\n" + "\n".join(f"  {o[:300]}" for o in f"{type(error).__name__}: {error}".split("\nCall log")[0].splitlines()[:12])


def one_round(names: list, shots: Path, docs, work: Path) -> list: # names of checks that failed
    "Every check once, in a JupyterLab and a browser that are begun for it."
    expect.set_options(timeout=1000*LONG)
    failed, lab = [], None
    try:
        start = time.monotonic()
        lab = Lab(work)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            suite = Suite(browser, lab, shots, docs)
            print(f"JupyterLab on port {lab.port} and Chromium {browser.version} after {time.monotonic() - start:.1f} s", flush=True)
            for name in names:
                suite.facts, start = [], time.monotonic()
                try: checks[name](suite)
                except Exception as e:
                    failed.append(name)
                    print(f"FAILED  {name} ({time.monotonic() - start:.1f} s)\n{what_failed(e)}", flush=True)
                    for i, page in enumerate(suite.pages.values()):
                        with suppress(Exception): page.page.screenshot(path=shots/f"failed_{name.replace(' ', '_')}_{i}.png", timeout=1000*LONG)
                else: print(f"passed  {name} ({time.monotonic() - start:.1f} s{''.join(f'; {o}' for o in suite.facts)})", flush=True)
            browser.close()
    finally:
        if lab:
            lab.stop()
            if failed: shutil.copy(lab.log_path, shots/"lab.log")
    return failed


def ended(number, frame): raise SystemExit(128 + number)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, help="where the screenshots go; a temporary folder when not given")
    parser.add_argument("--docs", type=Path, help="the folder of a built site (.ci/docs.py), whose pages are looked at too")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="only checks whose name holds this; may be given several times")
    parser.add_argument("--skip", metavar="NAME", action="append", default=[], help="no checks whose name holds this; may be given several times")
    parser.add_argument("--repeat", type=int, default=1, help="how often the whole suite runs")
    args = parser.parse_args()
    if not chromium(): return print("browser suite: not run, since there is no Chromium here (chromium, chromium-browser or google-chrome)")
    if not importlib.util.find_spec("playwright"): sys.exit("browser suite: Playwright is missing. Install it: pip install -c constraints.txt -e '.[dev,browser]'")
    names = [o for o in checks if (not args.only or any(p in o for p in args.only)) and not any(p in o for p in args.skip)]
    if not names: sys.exit(f"no check is left with --only {args.only!r} --skip {args.skip!r}. There are: {', '.join(checks)}")
    if args.docs and not (args.docs/"index.html").exists(): sys.exit(f"{args.docs}: no index.html. Build the site: python .ci/docs.py --to {args.docs}")
    shots = args.to or Path(tempfile.mkdtemp(prefix="gymenv_browser_"))
    shots.mkdir(parents=True, exist_ok=True)
    os.environ[MARK] = f"{os.getpid()}-{time.time()}"
    global LONG
    LONG *= (times := slowness())
    print(f"anything may take {LONG:.0f} s here" + (f": this machine is busy, and slower by {times:.1f}" if times > 1.5 else ""), flush=True)
    signal.signal(signal.SIGTERM, ended)
    passed, failed, start = 0, [], time.monotonic()
    try:
        for i in range(args.repeat):
            if args.repeat > 1: print(f"round {i + 1}", flush=True)
            work = Path(tempfile.mkdtemp(prefix="gymenv_lab_"))
            try: broken = one_round(names, shots, args.docs, work)
            finally:
                end_all()
                shutil.rmtree(work, ignore_errors=True)
            failed += broken
            passed += len(names) - len(broken)
    finally: print(f"screenshots: {shots}")
    print(f"{passed} passed, {len(failed)} failed in {time.monotonic() - start:.0f} s")
    sys.exit(bool(failed))


if __name__ == "__main__": main()
