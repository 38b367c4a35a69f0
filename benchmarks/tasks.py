"Ten thousand task rows: load and validate with `Tasks`, against reading the same file with json alone. Prints seconds (median of 5) and the machine. --tasks and --rounds make it smaller."
import argparse, json, platform, os, statistics, tempfile, time
from pathlib import Path

from gymenv_nb.contract import BaseVerifyRequest
from gymenv_nb.tasks import Tasks


class SumRequest(BaseVerifyRequest):
    expected_answer: int


def rows(count):
    tool = dict(type="function", name="add", description="a + b", strict=True, parameters=dict(type="object", properties=dict(a=dict(type="integer"), b=dict(type="integer"))))
    for i in range(count):
        yield dict(responses_create_params=dict(input=[dict(role="system", content="Answer in <answer> tags."), dict(role="user", content=f"What is {i} + {i}?")],
                                                tools=[tool] if i % 2 else []), expected_answer=2 * i)


def seconds(f):
    start = time.perf_counter(); f(); return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    path = Path(tempfile.mkdtemp())/"tasks.jsonl"
    path.write_text("".join(json.dumps(o) + "\n" for o in rows(args.tasks)))
    ours, plain = [], []
    for _ in range(args.rounds):
        ours.append(seconds(lambda: Tasks(path, SumRequest)))
        plain.append(seconds(lambda: [json.loads(o) for o in path.read_text().splitlines()]))
    print(f"{args.tasks:,} tasks: load and validate {statistics.median(ours):.2f} s; json alone {statistics.median(plain):.2f} s; ratio {statistics.median(ours)/statistics.median(plain):.1f}")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
