"""Verifications a second of one verifier: NeMo Gym's own server and `gymenv serve` over HTTP with 64 connections, and both in process with validation.

    python benchmarks/serve.py PYTHON [--rounds 5]

PYTHON is that of an environment with nemo-gym 0.4.0 (Python 3.12). It runs the exported `addition` as NeMo Gym's `run_webserver` does: uvicorn with uvloop, its middleware, its log filter; what of that needs a deployment (Ray, the head server) is
left out, to its advantage. One client process keeps 64 connections, each with a session's cookie and one request under way. The two servers take turns. In process is what a request does apart from HTTP: the body is parsed and
validated, `verify` runs, and its answer is validated and serialised; NeMo Gym has no such call, so its pydantic models are called by hand, and its app through ASGI.
"""
import argparse, asyncio, json, os, platform, re, statistics, subprocess, sys, tempfile, time
from pathlib import Path

from gymenv_nb.contract import text_response
from gymenv_nb.environment import load_environment
from gymenv_nb.export import export
from gymenv_nb.resources import Session

THEIRS = '''
import sys, json, time, asyncio, logging
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/resources_servers/addition"]
from unittest.mock import MagicMock
from nemo_gym.server_utils import ServerClient
from resources_servers.addition.app import Addition, AdditionVerifyRequest, AdditionVerifyResponse
from nemo_gym.base_resources_server import BaseResourcesServerConfig
server = Addition(config=BaseResourcesServerConfig(host="127.0.0.1", port=0, entrypoint="app.py", name="addition"), server_client=MagicMock(spec=ServerClient))
app = server.setup_webserver(); server.setup_liveness(app); server.setup_exception_middleware(app)
if sys.argv[2] == "serve":
    import socket, uvicorn
    class No200(logging.Filter):
        def filter(self, record): return not record.getMessage().strip().endswith("200")
    logging.getLogger("uvicorn.access").addFilter(No200())
    listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(2048)
    print("http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=0.5, timeout_keep_alive=30)).run(sockets=[listener])
else:
    body, n = open(sys.argv[3], "rb").read(), int(sys.argv[4])
    async def by_hand():
        for _ in range(n): AdditionVerifyResponse.model_validate(await server.verify(AdditionVerifyRequest.model_validate(json.loads(body)))).model_dump_json()
    async def through_app():
        import httpx
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
            for _ in range(n//10): await client.post("/verify", content=body, headers={"content-type": "application/json"})
    for f, count in ((by_hand, n), (through_app, n//10)):
        start = time.perf_counter(); asyncio.run(f()); print(count/(time.perf_counter() - start), flush=True)
'''


async def one(port: int, body: bytes, ends: float, counts: list):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async def post(path, data, cookie=b""):
        writer.write(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n" % (path, len(data), cookie) + data)
        head = await reader.readuntil(b"\r\n\r\n")
        answer = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head, re.I)[1]))
        assert head.startswith(b"HTTP/1.1 200"), (head, answer)
        return head, answer
    head, _ = await post(b"/seed_session", b'{"responses_create_params": {"input": "x"}, "expected_answer": 42}')
    cookie = b"cookie: " + re.search(rb"set-cookie: ([^;]+)", head, re.I)[1] + b"\r\n"
    while time.perf_counter() < ends:
        _, answer = await post(b"/verify", body, cookie)
        counts[0] += 1
    assert json.loads(answer)["reward"] == 1.
    writer.close()


def rate(port: int, body: bytes, seconds: float) -> float:
    "Verifications a second with 64 connections, from a process of its own."
    code = "import asyncio, sys; sys.path.insert(0, sys.argv[1]); import uvloop; from serve import client; uvloop.run(client(int(sys.argv[2]), sys.argv[3], float(sys.argv[4])))"
    with tempfile.NamedTemporaryFile() as f:
        f.write(body); f.flush()
        return float(subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(port), f.name, str(seconds)], capture_output=True, text=True, check=True).stdout)


async def client(port: int, file: str, seconds: float):
    body, counts, start = Path(file).read_bytes(), [0], time.perf_counter()
    await asyncio.gather(*(one(port, body, start + seconds, counts) for _ in range(64)))
    print(counts[0]/(time.perf_counter() - start))


def served(command: list):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return process, int(re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())[1])


def in_process(body: bytes, count: int) -> float:
    async def run():
        session = Session(load_environment("addition").server)
        for _ in range(count): await session.post("/verify", body)
    start = time.perf_counter(); asyncio.run(run())
    return count/(time.perf_counter() - start)


def on_all_cores(body: bytes, count: int) -> float:
    "The same in as many processes as there are cores, each with the server."
    start = time.perf_counter()
    children = []
    for _ in range(cores := len(os.sched_getaffinity(0))):
        if not (pid := os.fork()):
            in_process(body, count); os._exit(0)
        children.append(pid)
    for pid in children: os.waitpid(pid, 0)
    return cores*count/(time.perf_counter() - start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.)
    args = parser.parse_args()
    name = next((o.split(":")[1].strip() for o in open("/proc/cpuinfo") if o.startswith("model name")), platform.machine()) if os.path.exists("/proc/cpuinfo") else platform.machine()
    print(f"{name}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}", flush=True)
    place = Path(tempfile.mkdtemp())
    export(load_environment("addition"), place/"resources_servers"/"addition")
    body = json.dumps(dict(responses_create_params=dict(input=[dict(role="user", content="What is 40 + 2? Put the answer in <answer> tags.")]), expected_answer=42, response=text_response("<answer>42</answer>").model_dump(mode="json"))).encode()
    (place/"body.json").write_bytes(body)
    theirs, their_port = served([args.python, "-c", THEIRS, str(place), "serve"])
    ours, our_port = served([sys.executable, "-c", "from gymenv_nb.cli import main; main(['serve', 'addition', '--port', '0'])"])
    rates = {k: [] for k in ("NeMo Gym, HTTP", "gymenv serve, HTTP", "NeMo Gym's models by hand", "NeMo Gym's app through ASGI", "Session, in process", "Session, on all cores")}
    try:
        for port in (their_port, our_port): rate(port, body, 1.)
        for _ in range(args.rounds):
            rates["NeMo Gym, HTTP"].append(rate(their_port, body, args.seconds))
            rates["gymenv serve, HTTP"].append(rate(our_port, body, args.seconds))
            hand, app = map(float, subprocess.run([args.python, "-c", THEIRS, str(place), "process", str(place/"body.json"), "8000"], capture_output=True, text=True, check=True).stdout.split()[-2:])
            rates["NeMo Gym's models by hand"].append(hand); rates["NeMo Gym's app through ASGI"].append(app)
            rates["Session, in process"].append(in_process(body, 8000))
            rates["Session, on all cores"].append(on_all_cores(body, 8000))
    finally: theirs.kill(); ours.kill()
    for k, v in rates.items(): print(f"{k:<28} {statistics.median(v):8,.0f} a second ({min(v):,.0f} to {max(v):,.0f})")
    ratio = lambda a, b: f"{statistics.median(x/y for x, y in zip(rates[a], rates[b])):.1f}x"
    http, hand, app = ratio("gymenv serve, HTTP", "NeMo Gym, HTTP"), ratio("Session, in process", "NeMo Gym's models by hand"), ratio("Session, in process", "NeMo Gym's app through ASGI")
    print(f"over HTTP {http}; in process {hand} of its models by hand, {app} of its app")
