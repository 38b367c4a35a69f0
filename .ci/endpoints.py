"""Policies against servers that answer oddly: `python .ci/endpoints.py`, half a minute. It starts small servers on 127.0.0.1, prints a table and "N passed, N failed".
A real server instead: `python .ci/endpoints.py --url http://127.0.0.1:8011/v1 [--model NAME] [--api auto|chat|responses]`."""
import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gymenv_nb.contract import GymenvError
from gymenv_nb.policy import LOGPROBS, TRIAL, EndpointError, EndpointsDown, policy

NOW = dict(type="function", name="now", description="The time.", strict=True, parameters=dict(type="object", properties={}, required=[], additionalProperties=False))
QUESTION = dict(input="What is 2 + 3?", tools=[NOW], max_output_tokens=50)


# ---- what servers answer

def chat(message, reason="stop", **more):
    "A chat completion with this message."
    message = dict(role="assistant") | (message if isinstance(message, dict) else dict(content=message))
    usage = dict(prompt_tokens=9, completion_tokens=3, total_tokens=12)
    return dict(id="c1", object="chat.completion", created=1, model="m", choices=[dict(index=0, message=message, finish_reason=reason)], usage=usage) | more


def said(content, **more):
    "A message item; without annotations, as many servers write it."
    return dict(type="message", role="assistant", content=[dict(type="output_text", text=content)] if isinstance(content, str) else content) | more


def responses(*output, **more):
    "A Response with these items."
    usage = dict(input_tokens=9, output_tokens=3, total_tokens=12)
    return dict(id="r1", object="response", created_at=1, model="m", status="completed", error=None, incomplete_details=None, output=list(output), usage=usage) | more


def call(arguments, **more): return dict(content=None, tool_calls=[dict(id="call_1", type="function", function=dict(name="now", arguments=arguments)) | more])


@dataclass
class Status:
    "An answer that is not HTTP 200."
    code: int
    body: Any


@dataclass
class Case:
    "What a server answers to every question (the first small request of a policy is answered well), and what must come of it."
    name: str
    wants: Any              # [(type, text)] of the output items; or a part of the error
    chat: Any = None        # answer over Chat Completions: JSON, text, a Status, a list of these in turn, or a function of the request
    responses: Any = None   # likewise over Responses; HTTP 404 where it is None
    kind: type = EndpointError
    check: Any = None       # more that must hold of (policy, response or error, requests that the server saw, what was said)
    request: Any = None     # other than QUESTION
    options: Any = None     # of the policy
    models: Any = None      # what /models answers
    first_too: bool = False # the first small request is answered oddly too
    collect: int = -1       # rollouts of 2 that `gymenv collect` must keep; -1: not tried


TEXT = [("message", "5")]
THOUGHT = [("reasoning", "2 + 3"), ("message", "5")]
CALL = [("function_call", "now {}")]
WORDS = "; ".join(f"part {i} of the message" for i in range(60)) + "; the cause stands last"


def usage(value): return Case(f"chat, usage {json.dumps(value)}", TEXT, chat("5", usage=value), check=lambda p, r, seen, told: r.usage is None)


def refuses(field, answer):
    "A server that refuses a field that it does not know."
    def answered(body): return Status(400, dict(error=dict(message=f"Unknown parameter: '{field}'."))) if field in body else answer
    return answered


def only_text(body):
    "llama-cpp-python: `content: null` is refused."
    empty = [m for m in body["messages"] if m["content"] is None]
    return Status(500, dict(error=dict(message="1 validation error: content: Input should be a valid string"))) if empty else chat("5")


TWO_TURNS = QUESTION | dict(input=[dict(role="user", content="What time is it?"), dict(type="function_call", call_id="call_1", name="now", arguments="{}"), dict(type="function_call_output", call_id="call_1", output="noon")])

CASES = [
    Case("chat, plain", TEXT, chat("5"), collect=2, check=lambda p, r, seen, told: r.usage.total_tokens == 12 and p.settings()["temperature"] == "the endpoint's default"),
    Case("chat, finish_reason error", "ended with 'error' after 'half'", chat("half", "error")),
    Case("chat, finish_reason error, no text", "ended with 'error'", chat(dict(content=None), "error"), collect=0),
    Case("chat, finish_reason abort", "ended with 'abort'", chat("half", "abort")),
    Case("chat, error with code 429 in HTTP 200, then an answer", TEXT, [dict(choices=None, error=dict(message="slow down", code=429)), chat("5")]),
    Case("chat, error with code 429 in HTTP 200, always", "the server says: slow down (code 429). Tried 2 times", dict(choices=None, error=dict(message="slow down", code=429)), check=lambda p, e, seen, told: e.retryable),
    Case("chat, error with code 400 in HTTP 200", "the server says: bad prompt", dict(error=dict(message="bad prompt", code=400)), check=lambda p, e, seen, told: not e.retryable and len(seen) == 1),
    Case("chat, error of the choice", "provider is gone", chat("half", error=None) | dict(choices=[dict(message=dict(content="half"), finish_reason="stop", error=dict(message="provider is gone", code=502))])),
    Case("chat, no choices, then an answer", TEXT, [dict(choices=[]), chat("5")]),
    Case("chat, no choices, always", '"choices": []', dict(choices=[])),
    Case("chat, choices null", "no choices", dict(choices=None)),
    Case("chat, HTML", "no JSON object: Sign in", "<html><body>Sign in</body></html>"),
    Case("chat, broken JSON, then an answer", TEXT, ['{"choices": [', chat("5")]),
    Case("chat, content is parts", TEXT, chat([dict(type="text", text="5")])),
    Case("chat, parts of thinking", THOUGHT, chat([dict(type="thinking", thinking=[dict(type="text", text="2 + 3")]), dict(type="text", text="5")])),
    Case("chat, reasoning", THOUGHT, chat(dict(content="5", reasoning="2 + 3"))),
    Case("chat, reasoning_content", THOUGHT, chat(dict(content="5", reasoning_content="2 + 3"))),
    Case("chat, arguments an object", [("function_call", 'now {"a": 1}')], chat(call(dict(a=1)))),
    Case("chat, arguments null, id null", CALL, chat(call(None, id=None)), check=lambda p, r, seen, told: r.output[0].call_id.startswith("call_")),
    Case("chat, arguments empty, no id", CALL, chat(dict(tool_calls=[dict(function=dict(name="now", arguments=""))]))),
    usage(None), usage({}), usage(dict(prompt_tokens=3)), usage(dict(prompt_tokens=3, completion_tokens=None, total_tokens=None)),
    Case("chat, usage with details null", TEXT, chat("5", usage=dict(prompt_tokens=3, completion_tokens=1, total_tokens=4, prompt_tokens_details=None, completion_tokens_details=None)), check=lambda p, r, seen, told: r.usage.total_tokens == 4),
    Case("chat, cached tokens", TEXT, chat("5", usage=dict(prompt_tokens=3, completion_tokens=1, prompt_tokens_details=dict(cached_tokens=2))), check=lambda p, r, seen, told: r.usage.input_tokens_details.cached_tokens == 2),
    Case("chat, refusal", [("message", "refusal: No.")], chat(dict(content=None, refusal="No."))),
    Case("chat, tags left in the text", [("reasoning", "2 + 3"), ("function_call", "now {}")], chat('<think>2 + 3</think><tool_call>{"name": "now"}</tool_call>')),
    Case("chat, cut at the limit", TEXT, chat("5", "length"), check=lambda p, r, seen, told: r.incomplete_details.reason == "max_output_tokens"),
    Case("chat, null beside tool calls refused", TEXT, only_text, request=TWO_TURNS),
    Case("chat, HTTP 500 with a long message", "the cause stands last", Status(500, dict(error=dict(message=WORDS)))),
    Case("chat, seed refused", TEXT, refuses("seed", chat("5")), first_too=True, check=lambda p, r, seen, told: "seed" not in seen[-1] and p.settings()["not_sent"] == ["seed"] and sum("seed" in o for o in told) == 1),
    Case("chat, max_tokens has another name", TEXT, lambda body: Status(400, dict(error=dict(message="Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'."))) if "max_tokens" in body else chat("5"), first_too=True),
    Case("chat, log probabilities", TEXT, chat("5") | dict(choices=[dict(message=dict(content="5"), finish_reason="stop", logprobs=dict(content=[dict(token="5", logprob=-0.5, bytes=[53], top_logprobs=[])]))]), request=QUESTION | dict(include=[LOGPROBS]),
         check=lambda p, r, seen, told: seen[-1]["logprobs"] is True and [json.loads(json.dumps(r.model_dump()))["output"][0]["content"][0]["logprobs"][0]["logprob"] for _ in range(2)] == [-0.5] * 2),
    Case("chat, log probabilities ignored", TEXT, chat("5"), request=QUESTION | dict(include=[LOGPROBS]), check=lambda p, r, seen, told: p.settings()["not_honoured"] == ["logprobs"] and sum("log probabilities" in o for o in told) == 1),
    Case("Responses, plain", TEXT, None, responses(said("5", id="m1", status="completed")), check=lambda p, r, seen, told: p.api == "responses" and seen[-1]["seed"] == 7 and not told),
    Case("Responses, HTTP 404: chat is taken", TEXT, chat("5"), check=lambda p, r, seen, told: p.api == "chat" and len(told) == 1 and "HTTP 404" in told[0]),
    Case("Responses, HTTP 405", TEXT, chat("5"), Status(405, dict(detail="Method Not Allowed")), first_too=True, check=lambda p, r, seen, told: p.api == "chat"),
    Case("Responses, HTTP 501", TEXT, chat("5"), Status(501, dict(error="no")), first_too=True, check=lambda p, r, seen, told: p.api == "chat"),
    Case("Responses, an error in HTTP 200 (LM Studio)", TEXT, chat("5"), dict(error="Unexpected endpoint or method. (POST /v1/responses)"), first_too=True, check=lambda p, r, seen, told: p.api == "chat" and "Unexpected endpoint" in told[0]),
    Case("Responses, unreadable", TEXT, chat("5"), dict(result="5"), first_too=True, check=lambda p, r, seen, told: p.api == "chat"),
    Case("Responses, status failed", "out of memory", None, responses(status="failed", error=dict(code="server_error", message="out of memory"))),
    Case("Responses, status cancelled", "'cancelled'", None, responses(said("half"), status="cancelled")),
    Case("Responses, status in_progress", "'in_progress'", None, responses(status="in_progress"), check=lambda p, e, seen, told: len(seen) == 1),
    Case("Responses, output null", "no output", None, responses(output=None)),
    Case("Responses, web_search_call before the message", TEXT, None, responses(dict(type="web_search_call", id="w", status="completed", action=dict(type="search", query="x")), said("5")), collect=2, check=lambda p, r, seen, told: sum("web_search_call" in o for o in told) == 1),
    Case("Responses, mcp_call and custom_tool_call", TEXT, None, responses(dict(type="mcp_call", id="w"), dict(type="custom_tool_call", name="x", input="y"), said("5"))),
    Case("Responses, <think> in the text", THOUGHT, None, responses(said("<think>2 + 3</think>5"))),
    Case("Responses, <tool_call> in the text", CALL, None, responses(said('<tool_call>{"name": "now", "arguments": {}}</tool_call>'))),
    Case("Responses, arguments null, no call_id", CALL, None, responses(dict(type="function_call", name="now", arguments=None))),
    Case("Responses, reasoning without id and summary", THOUGHT, None, responses(dict(type="reasoning", content=[dict(type="reasoning_text", text="2 + 3")]), said("5"))),
    Case("Responses, refusal", [("message", "refusal: No.")], None, responses(said([dict(type="refusal", refusal="No.")]))),
    Case("Responses, usage null", TEXT, None, responses(said("5"), usage=None), check=lambda p, r, seen, told: r.usage is None),
    Case("Responses, usage with details null", TEXT, None, responses(said("5"), usage=dict(input_tokens=3, output_tokens=1, total_tokens=4, input_tokens_details=None, output_tokens_details=None)), check=lambda p, r, seen, told: r.usage.total_tokens == 4),
    Case("Responses, slim (llama.cpp), cut at the limit", TEXT, None, dict(id="r1", object="response", created_at=1, status="completed", model="m", output=[said("5")], usage=dict(input_tokens=3, output_tokens=50, total_tokens=53)),
         check=lambda p, r, seen, told: (r.status, r.tools[0].name, r.parallel_tool_calls) == ("incomplete", "now", True)),
    Case("Responses, seed refused", TEXT, None, refuses("seed", responses(said("5"))), first_too=True, check=lambda p, r, seen, told: "seed" not in seen[-1] and p.settings()["not_sent"] == ["seed"]),
    Case("Responses, log probabilities", TEXT, None, responses(said([dict(type="output_text", text="5", annotations=[], logprobs=[dict(token="5", logprob=-0.5, bytes=[53], top_logprobs=[dict(token="5", logprob=-0.5, bytes=[53])])])])), request=QUESTION | dict(include=[LOGPROBS]),
         check=lambda p, r, seen, told: len({json.dumps(r.model_dump()) for _ in range(2)}) == 1 and "logprob" in json.dumps(r.model_dump())),
    Case("a model that is not listed", "no model 'n'. It serves m", chat("5"), kind=GymenvError, options=dict(model="n"), collect=0, check=lambda p, e, seen, told: not seen),
    Case("a server without /models", TEXT, chat("5"), options=dict(model="m"), models=Status(404, dict(detail="Not Found"))),
    Case("models in a list of their own", TEXT, chat("5"), models=[dict(id="m")]),
    Case("HTTP 404 under /v1: no hint at /v1", "HTTP 404", Status(404, dict(detail="no such route")), first_too=True, options=dict(api="chat"), check=lambda p, e, seen, told: "/v1?" not in str(e) and "api=" not in str(e)),
    Case("the URL lacks /v1", "Does the URL end in /v1?", chat("5"), kind=GymenvError, options=dict(url="")),
    Case("HTTP 503, always", "loading", Status(503, dict(error=dict(message="loading"))), kind=EndpointsDown),
]


# ---- the servers

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self): self.send(self.server.case.models or dict(object="list", data=[dict(id="m")]) if self.path == "/v1/models" else Status(404, dict(detail="Not Found")))

    def do_POST(self):
        body, case, server = json.loads(self.rfile.read(int(self.headers["content-length"]))), self.server.case, self.server
        over = dict([("/v1/chat/completions", "chat"), ("/v1/responses", "responses")]).get(self.path)
        answer = getattr(case, over) if over else None
        if answer is None: return self.send(Status(404, dict(detail="Not Found")))
        if TRIAL["input"] in json.dumps(body) and not case.first_too: return self.send(chat("ok") if over == "chat" else responses(said("ok")))
        with server.lock:
            if TRIAL["input"] not in json.dumps(body): server.seen.append(body)
            if isinstance(answer, list): answer = answer[min(server.count, len(answer) - 1)]
            server.count += 1
        self.send(answer(body) if callable(answer) else answer)

    def send(self, answer):
        status, answer = (answer.code, answer.body) if isinstance(answer, Status) else (200, answer)
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "text/html" if data[:1] == b"<" else "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def serving(case):
    "The URL of a server that answers so, and what it is asked."
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.case, server.seen, server.count, server.lock, server.daemon_threads = case, [], 0, threading.Lock(), True
    threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.05), daemon=True).start()
    try: yield f"http://127.0.0.1:{server.server_port}", server.seen
    finally:
        server.shutdown()
        server.server_close()


def item_text(item):
    if item.type == "reasoning": return "".join(o.text for o in item.summary)
    if item.type == "function_call": return f"{item.name} {item.arguments}"
    return "".join(o.text if o.type == "output_text" else f"refusal: {o.refusal}" for o in item.content)


class Listening(list):
    "What a policy says, in place of a warning."
    def to(self, chosen):
        note, known = chosen._note, chosen._told
        def heard(text):
            if text not in known: self.append(text)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                note(text)
        chosen._note = heard
        return chosen


def ask(case):
    "What is wrong with what comes of a case; None when it is right."
    options = dict(max_retries=1) | (case.options or {})
    told = Listening()
    with serving(case) as (url, seen):
        chosen = told.to(policy(url + options.pop("url", "/v1"), **options))
        try: came = asyncio.run(chosen.respond(case.request or QUESTION, seed=7))
        except GymenvError as e: came = e
        if isinstance(case.wants, str):
            if not isinstance(came, case.kind): return f"{type(came).__name__}: {came}" if isinstance(came, Exception) else f"answered {[(o.type, item_text(o)) for o in came.output]}"
            if case.wants not in str(came): return str(came)
        elif isinstance(came, Exception): return str(came)
        elif (items := [(o.type, item_text(o)) for o in came.output]) != case.wants: return str(items)
        if case.check and not case.check(chosen, came, seen, told): return f"check failed: {came!r:.300}; said {told}; asked {seen[-1:]}; {chosen.settings() if chosen._ready else ''}"


COMMANDS = """
import contextlib, io, json, sys
from gymenv_nb.cli import main
for words in json.loads(sys.argv[1]):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try: main(words); code = 0
        except SystemExit as e: code = e.code or 0
    print(json.dumps([code, text.getvalue()]), flush=True)
""" # several commands in one process, for the time that imports take


def collect(cases):
    "The same through the command line, which must keep so many rollouts of two, and none of a failure: what is wrong in each case, or None."
    with contextlib.ExitStack() as stack:
        place, commands = stack.enter_context(tempfile.TemporaryDirectory()), []
        for i, case in enumerate(cases):
            url, _ = stack.enter_context(serving(case))
            model = (case.options or {}).get("model")
            commands.append(["collect", "addition", "--policy", f"{url}/v1", "-n", "1", "-r", "2", "--to", f"{place}/{i}", "--verify-in", "threads", *(["--model", model] if model else [])])
        done = subprocess.run([sys.executable, "-c", COMMANDS, json.dumps(commands)], capture_output=True, text=True, timeout=300)
        lines, wrong = [json.loads(o) for o in done.stdout.splitlines()], []
        if len(lines) != len(cases): return [f"{len(lines)} of {len(cases)} commands ended: {done.stderr[-400:]}"] * len(cases)
        for i, (case, (code, text)) in enumerate(zip(cases, lines)):
            file = Path(place)/str(i)/"rollouts.jsonl"
            count = len(file.read_bytes().splitlines()) if file.is_file() else 0
            fine = count == case.collect and (code == 0) == (count == 2)
            wrong.append(None if fine else f"{count} rollouts, not {case.collect}; exit code {code}: {text[-400:]}")
        return wrong


def tried(what, case):
    try: return what(case)
    except BaseException as e: return f"{type(e).__name__}: {e}"


def odd_servers(only):
    chosen = [o for o in CASES if only in o.name]
    kept = [o for o in chosen if o.collect >= 0]
    with ThreadPoolExecutor(8) as pool:
        collected = pool.submit(tried, collect, kept) if kept else None
        rows = [(o.name, work.result()) for o, work in [(o, pool.submit(tried, ask, o)) for o in chosen]]
    wrong = collected.result() if kept else []
    return rows + [(f"gymenv collect: {o.name}", w) for o, w in zip(kept, wrong if isinstance(wrong, list) else [wrong] * len(kept))]


# ---- a real server

async def real_checks(url, options):
    "Fixed questions to a real server: (check, what is wrong or None, what was seen)."
    chosen, rows = policy(url, max_retries=1, **options), []
    async def check(name, work):
        try: wrong, seen = await work
        except Exception as e: wrong, seen = f"{type(e).__name__}: {e}", ""
        rows.append((name, wrong, seen))
    short = dict(input="Name three colours.", max_output_tokens=24, temperature=1.0)
    async def found():
        settings = await asyncio.to_thread(chosen.settings)
        return None, f"{settings['model']} over {settings['api']}" + "".join(f", {k} {settings[k]}" for k in ("not_sent", "not_honoured") if k in settings)
    async def plain():
        r = await chosen.respond(short, 1)
        return (None if r.output and r.usage and r.usage.output_tokens else "no text or no tokens counted"), f"{r.output_text[:40]!r}, {r.usage and r.usage.output_tokens} tokens"
    async def seeds():
        texts = [r.output_text for r in await asyncio.gather(*(chosen.respond(short, s) for s in (7, 7, 8)))]
        if "seed" in chosen.not_sent: return None, "not sent, and said"
        return (None if texts[0] == texts[1] else "seed 7 gave two answers"), f"seed 7 twice equal: {texts[0] == texts[1]}, seed 8 another: {texts[2] != texts[0]}"
    async def cut():
        r = await chosen.respond(short | dict(max_output_tokens=5, input="Count from one to one hundred in words."), 1)
        return (None if r.incomplete_details and r.incomplete_details.reason == "max_output_tokens" else f"status {r.status}"), f"{r.status}, {r.usage and r.usage.output_tokens} tokens"
    async def logprobs():
        r = await chosen.respond(short | dict(include=[LOGPROBS], top_logprobs=2), 1)
        one, two = (json.dumps(r.model_dump()) for _ in range(2))
        scores = [len(c.logprobs or []) for o in r.output if o.type == "message" for c in o.content]
        there = any(scores) or {"logprobs"} & (chosen.not_sent | chosen.not_honoured)
        return (None if there and one == two else "neither given nor said"), f"{scores} tokens" if any(scores) else f"not sent {chosen.not_sent}, not honoured {chosen.not_honoured}"
    async def turns():
        first = [dict(role="user", content="What time is it? Use the tool.")]
        r = await chosen.respond(QUESTION | dict(input=first), 1)
        made = [o for o in r.output if o.type == "function_call"] or [dict(type="function_call", call_id="call_1", name="now", arguments="{}")]
        made = [o if isinstance(o, dict) else o.model_dump(exclude_none=True) for o in made[:1]]
        again = await chosen.respond(QUESTION | dict(input=first + made + [dict(type="function_call_output", call_id=made[0]["call_id"], output="noon")]), 2)
        return None, f"{[o.type for o in r.output]}, then {[o.type for o in again.output]} {again.output_text[:40]!r}"
    async def wrong():
        try: await asyncio.to_thread(policy(url, model="no-such-model", api=options.get("api", "auto")).settings)
        except GymenvError as e: return (None if chosen.model in str(e) else f"names no model: {e}"), str(e)[:120]
        return "taken", ""
    for name, work in (("model and API", found), ("plain answer", plain), ("seeds repeat", seeds), ("cut at the limit", cut), ("log probabilities", logprobs), ("tools, two turns", turns), ("wrong model", wrong)): await check(name, work())
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="of a real server")
    parser.add_argument("--model")
    parser.add_argument("--api", default="auto")
    parser.add_argument("--only", default="", help="cases with this in their names")
    given = parser.parse_args()
    if given.url: rows = asyncio.run(real_checks(given.url, {k: v for k, v in dict(model=given.model, api=given.api).items() if v}))
    else: rows = [(name, wrong, "") for name, wrong in odd_servers(given.only)]
    for name, wrong, seen in rows: print(f"{'ok  ' if wrong is None else 'FAIL'} {name}" + (f": {seen}" if seen else "") + (f"\n     {wrong}" if wrong is not None else ""))
    failed = sum(wrong is not None for _, wrong, _ in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__": main()
