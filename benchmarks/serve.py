"""Verifications a second of one verifier: NeMo Gym's own server and `gymenv serve` over HTTP with 64 connections, and both in process with validation.

    python benchmarks/serve.py PYTHON [--rounds 5] [--seconds 4] [--count 8000] [--connections 64]

PYTHON is that of an environment with nemo-gym 0.4.0 (Python 3.12). It runs the exported `addition` as NeMo Gym's `run_webserver` does: uvicorn with uvloop, its middleware, its log filter; what of that needs a deployment (Ray, the head server) is
left out, to its advantage. One client process keeps 64 connections, each with a session's cookie and one request under way. The two servers take turns. In process is what a request does apart from HTTP: the body is parsed and
validated, `verify` runs, and its answer is validated and serialised; NeMo Gym has no such call, so its pydantic models are called by hand, and its app through ASGI.
"""
import argparse, asyncio, json, os, platform, re, statistics, subprocess, sys, tempfile, time, traceback
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
            for _ in range(max(1, n//10)): (await client.post("/verify", content=body, headers={"content-type": "application/json"})).raise_for_status()
    for f, count in ((by_hand, n), (through_app, max(1, n//10))):
        start = time.perf_counter(); asyncio.run(f()); print(count/(time.perf_counter() - start), flush=True)
'''


async def one(port: int, body: bytes, begun: asyncio.Barrier, seconds: float, counts: list):
    "Verify on one connection, once at least; the time runs when all connections have their session."
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async def post(path, data, cookie=b""):
        writer.write(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n" % (path, len(data), cookie) + data)
        head = await reader.readuntil(b"\r\n\r\n")
        answer = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head, re.I)[1]))
        if not head.startswith(b"HTTP/1.1 200"): raise SystemExit(f"{path.decode()}: {head.decode(errors='replace').splitlines()[0]} {answer[:300].decode(errors='replace')}")
        return head, answer
    head, _ = await post(b"/seed_session", b'{"responses_create_params": {"input": "x"}, "expected_answer": 42}')
    cookie = b"cookie: " + re.search(rb"set-cookie: ([^;]+)", head, re.I)[1] + b"\r\n"
    await begun.wait()
    ends = time.perf_counter() + seconds
    while True:
        _, answer = await post(b"/verify", body, cookie)
        counts[0] += 1
        if time.perf_counter() >= ends: break
    writer.close()
    if (reward := json.loads(answer)["reward"]) != 1.: raise SystemExit(f"the right answer earned {reward}, not 1")


def printed(command: list) -> str:
    "What a command prints. Ends with its own words when it fails."
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode: raise SystemExit(f"{' '.join(map(str, command))[:200]} ended with {done.returncode}:\n{done.stderr.strip()[-2000:] or done.stdout.strip()[-2000:]}")
    return done.stdout


def rate(port: int, body: bytes, seconds: float, connections: int) -> float:
    "Verifications a second with so many connections, from a process of its own."
    code = "import asyncio, sys; sys.path.insert(0, sys.argv[1]); import uvloop; from serve import client; uvloop.run(client(int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), int(sys.argv[5])))"
    with tempfile.NamedTemporaryFile() as f:
        f.write(body); f.flush()
        return float(printed([sys.executable, "-c", code, str(Path(__file__).parent), str(port), f.name, str(seconds), str(connections)]))


async def client(port: int, file: str, seconds: float, connections: int):
    body, counts, begun = Path(file).read_bytes(), [0], asyncio.Barrier(connections + 1)
    tasks = [asyncio.create_task(one(port, body, begun, seconds, counts)) for _ in range(connections)]
    ready = asyncio.create_task(begun.wait())
    await asyncio.wait([*tasks, ready], return_when=asyncio.FIRST_COMPLETED) # a connection that fails ends it
    start = time.perf_counter()
    await asyncio.gather(*tasks)
    print(counts[0]/(time.perf_counter() - start))


def served(command: list):
    "A server that was started, and its port. Ends with its own words when it does not come up."
    said = tempfile.TemporaryFile("w+")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
    for line in process.stdout:
        if place := re.search(r"http://127\.0\.0\.1:(\d+)", line): return process, int(place[1])
    process.kill()
    said.seek(0)
    raise SystemExit(f"{' '.join(map(str, command))[:200]} did not come up:\n{said.read().strip()[-2000:]}")


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
            try: in_process(body, count)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(pid)
    failed = [code for pid in children if (code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))]
    if failed: raise SystemExit(f"{len(failed)} of {cores} processes failed, the first with {failed[0]}")
    return cores*count/(time.perf_counter() - start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4., help="of each measurement over HTTP")
    parser.add_argument("--count", type=int, default=8000, help="verifications of each measurement in process")
    parser.add_argument("--connections", type=int, default=64)
    args = parser.parse_args()
    name = next((o.split(":")[1].strip() for o in open("/proc/cpuinfo") if o.startswith("model name")), platform.machine()) if os.path.exists("/proc/cpuinfo") else platform.machine()
    print(f"{name}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}", flush=True)
    place = Path(tempfile.mkdtemp())
    export(load_environment("addition"), place/"resources_servers"/"addition")
    body = json.dumps(dict(responses_create_params=dict(input=[dict(role="user", content="What is 40 + 2? Put the answer in <answer> tags.")]), expected_answer=42, response=text_response("<answer>42</answer>").model_dump(mode="json"))).encode()
    (place/"body.json").write_bytes(body)
    servers = []
    rates = {k: [] for k in ("NeMo Gym, HTTP", "gymenv serve, HTTP", "NeMo Gym's models by hand", "NeMo Gym's app through ASGI", "Session, in process", "Session, on all cores")}
    try:
        for command in ([args.python, "-c", THEIRS, str(place), "serve"], [sys.executable, "-c", "from gymenv_nb.cli import main; main(['serve', 'addition', '--port', '0'])"]): servers.append(served(command))
        (_, their_port), (_, our_port) = servers
        for port in (their_port, our_port): rate(port, body, min(1., args.seconds), args.connections)
        for _ in range(args.rounds):
            rates["NeMo Gym, HTTP"].append(rate(their_port, body, args.seconds, args.connections))
            rates["gymenv serve, HTTP"].append(rate(our_port, body, args.seconds, args.connections))
            hand, app = map(float, printed([args.python, "-c", THEIRS, str(place), "process", str(place/"body.json"), str(args.count)]).split()[-2:])
            rates["NeMo Gym's models by hand"].append(hand); rates["NeMo Gym's app through ASGI"].append(app)
            rates["Session, in process"].append(in_process(body, args.count))
            rates["Session, on all cores"].append(on_all_cores(body, args.count))
    finally:
        for process, _ in servers: process.kill()
    for k, v in rates.items(): print(f"{k:<28} {statistics.median(v):8,.0f} a second ({min(v):,.0f} to {max(v):,.0f})")
    ratio = lambda a, b: f"{statistics.median(x/y for x, y in zip(rates[a], rates[b])):.1f}x"
    http, hand, app = ratio("gymenv serve, HTTP", "NeMo Gym, HTTP"), ratio("Session, in process", "NeMo Gym's models by hand"), ratio("Session, in process", "NeMo Gym's app through ASGI")
    print(f"over HTTP {http}; in process {hand} of its models by hand, {app} of its app")
