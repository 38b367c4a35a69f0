"""The engine against transformers' three ways of sampling, on a CPU with the embedded policy in float32: 64 tasks of `addition` x 16 samples, both modes.
Every way samples at temperature 1 up to the model's own stop tokens, on one thread. They run in turn; a ratio is the median over the rounds.
Also: the share of the machine, which is the FLOP/s of the engine over those of plain matrix products of the model's own shapes, timed before and after each run;
and, with `--workers 2`, rollouts per second of so many worker processes over those of one."""
import os
os.environ["OMP_NUM_THREADS"] = "1"   # before torch: a small model is slower with two threads than with one
import argparse, json, platform, statistics, time
from contextlib import contextmanager

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

from gymenv_nb.engine import Engine, Request, Sampling
from gymenv_nb.environment import load_environment
from gymenv_nb.policy import as_request, policy
from gymenv_nb.workers import Workers

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--environment", default="addition")
parser.add_argument("--tasks", type=int, default=64)
parser.add_argument("--samples", type=int, default=16)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--modes", nargs="+", default=["direct", "thinking"])
parser.add_argument("--paths", nargs="+", default=["engine", "generate_prompt", "generate_padded", "generate_batch"])
parser.add_argument("--padded-rows", type=int, default=256, help="rows of the padded batch: 256 was the best of 128, 256, 512")
parser.add_argument("--workers", type=int, default=2, help="worker processes to compare with one; 0 leaves it out")
args = parser.parse_args()
torch.set_num_threads(1)
folder = policy().model
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
loaded = Engine.load(folder, "cpu")
ends = [732, 730]
assert set(ends) == set(model.generation_config.eos_token_id)
MOST = 256


def processor():
    try: return next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    except (OSError, StopIteration): return platform.processor() or platform.machine()


def prompts_of(mode, round=0, tasks=args.tasks):
    "Prompts of tasks; other tasks in each round"
    prompter = policy(thinking=mode == "thinking").load().prompter
    return [prompter.ids(prompter.text(as_request(task["responses_create_params"]))) for task in load_environment(args.environment).make_tasks(tasks, round)]


def generated(rows, width):
    "Tokens that were drawn, those after the end left out"
    tokens = rows[:, width:]
    ended = torch.isin(tokens, torch.tensor(ends))
    return int(torch.where(ended.any(1), ended.int().argmax(1) + 1, tokens.shape[1]).sum())


def engine(prompts, engine=loaded):
    requests = [Request(p, Sampling(max_tokens=MOST, stop_token_ids=tuple(ends)), seed=i * 1000 + j) for i, p in enumerate(prompts) for j in range(args.samples)]
    return sum(len(sample.token_ids) for _, sample in engine.run(requests))


settings = dict(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=MOST, eos_token_id=ends, pad_token_id=730)


def generate_prompt(prompts):
    return sum(generated(model.generate(torch.tensor([p]), attention_mask=torch.ones(1, len(p), dtype=torch.long), num_return_sequences=args.samples, **settings), len(p)) for p in prompts)


def generate_padded(prompts):
    rows, total = sorted((p for p in prompts for _ in range(args.samples)), key=len), 0
    for i in range(0, len(rows), args.padded_rows):
        part = rows[i:i + args.padded_rows]
        width = max(map(len, part))
        ids = torch.tensor([[730] * (width - len(p)) + p for p in part])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in part])
        total += generated(model.generate(ids, attention_mask=mask, **settings), width)
    return total


def generate_batch(prompts):
    found = model.generate_batch([p for p in prompts for _ in range(args.samples)], generation_config=GenerationConfig(**settings), progress_bar=False,
                                 continuous_batching_config=ContinuousBatchingConfig(page_size=32, num_blocks=128, max_batch_tokens=128))
    return sum(len(o.generated_tokens) for o in found.values())


def peak():
    "FLOP/s of the model's matrix products at 256 rows, nothing between them"
    matrices = loaded.decoder.matrices()
    inputs = {m.shape[1]: torch.randn(256, m.shape[1]) for m in matrices}
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(20):
            for m in matrices: torch.mm(inputs[m.shape[1]], m.t())
    return 20 * 256 * loaded.decoder.flops / (time.perf_counter() - start)


def flops(prompts, tokens):
    "Of the samples: matrix products of each token read, and attention over the columns that it sees. A prompt is read once, and the last token of a sample is not read"
    shape, count = loaded.decoder.shape, len(prompts) * args.samples
    column = 4 * shape.heads * shape.head_dim * shape.layers   # a query times a key, a share times a value
    lengths = [len(p) for p in prompts]
    return sum(n * loaded.decoder.flops + column * n * n / 2 for n in lengths) + (tokens - count) * (loaded.decoder.flops + column * (np.mean(lengths) + tokens / count / 2))


if __name__ == "__main__":
    print(json.dumps(dict(machine=processor(), cores=len(os.sched_getaffinity(0)), threads=1, torch=torch.__version__, transformers=transformers.__version__, tasks=args.tasks, samples=args.samples)), flush=True)
    for mode in args.modes:
        rounds = [prompts_of(mode, round) for round in range(args.rounds + 1)]
        speed, share = {path: [] for path in args.paths}, []
        warm = rounds.pop()[:4]
        for path in args.paths: globals()[path](warm)
        for prompts in rounds:
            for path in args.paths:
                before, start = peak(), time.perf_counter()
                tokens = globals()[path](prompts)
                seconds = time.perf_counter() - start
                speed[path].append(tokens / seconds)
                if path == "engine": share.append(flops(prompts, tokens) / seconds / ((before + peak()) / 2))
        for path in args.paths:
            ratios = [a / b for a, b in zip(speed["engine"], speed[path])] if "engine" in speed else []
            print(f"{args.environment} {mode:8} {path:16} {statistics.median(speed[path]):8,.0f} tokens/s" + (f"   engine / {path}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if path != "engine" and ratios else ""), flush=True)
        if share: print(f"{args.environment} {mode:8} share of the machine: {statistics.median(share):.2f} ({min(share):.2f} to {max(share):.2f})", flush=True)
        if args.workers:
            pools = {n: Workers(folder, n, "cpu") for n in (1, args.workers)}
            speed = {n: [] for n in pools}
            for pool in pools.values(): engine(rounds[0][:8], pool)   # the processes start
            for round in range(args.rounds):
                prompts = prompts_of(mode, round, 4 * args.tasks)   # a run of the usual size, in which the end, when one has work and the other none, counts for little
                for n, pool in pools.items():
                    start = time.perf_counter()
                    engine(prompts, pool)
                    speed[n].append(len(prompts) * args.samples / (time.perf_counter() - start))
            ratios = [b / a for a, b in zip(*speed.values())]
            print(f"{args.environment} {mode:8} rollouts/s of 1 worker {statistics.median(speed[1]):,.0f}, of {args.workers} {statistics.median(speed[args.workers]):,.0f}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
            for pool in pools.values(): pool.close()
