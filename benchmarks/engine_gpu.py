"""A GPU's tokens per second: the engine, with its own forward pass and with transformers', against transformers' `generate` and `generate_batch`,
on a Qwen3-4B-shaped model with random weights. 64 prompts x 16 samples x 512 new tokens, bf16; then the share of samples that are equal in batches of another size.
`--small` is the same on a CPU with a tiny model, to see that the script runs."""
import argparse, gc, json, platform, time

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from gymenv_nb.engine import Engine, Request, Sampling

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--small", action="store_true")
parser.add_argument("--prompts", type=int, help="64, or 8 with --small")
parser.add_argument("--samples", type=int, help="16, or 4 with --small")
parser.add_argument("--tokens", type=int, help="512, or 32 with --small")
parser.add_argument("--paths", nargs="+", default=["engine", "engine_transformers", "generate", "generate_batch"])
parser.add_argument("--limit", type=float, default=150., help="seconds after which a path is given up")
args = parser.parse_args()
for what, size, small in (("prompts", 64, 8), ("samples", 16, 4), ("tokens", 512, 32)):
    if getattr(args, what) is None: setattr(args, what, small if args.small else size)
device = "cpu" if args.small else "cuda"
shape = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=128, vocab_size=512) if args.small else \
        dict(hidden_size=2560, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8, head_dim=128, intermediate_size=9728, vocab_size=151936)
config = Qwen3Config(**shape, tie_word_embeddings=True, max_position_embeddings=8192)
torch.manual_seed(0)
with torch.device(device):
    torch.set_default_dtype(torch.float32 if args.small else torch.bfloat16)
    model = Qwen3ForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
model.generation_config = GenerationConfig(pad_token_id=0, eos_token_id=None)
rng = np.random.default_rng(0)
prompts = [rng.integers(1, config.vocab_size, rng.integers(80, 161)).tolist() for _ in range(args.prompts)]
total = args.prompts*args.samples*args.tokens
sync = torch.cuda.synchronize if device == "cuda" else lambda: None


def bandwidth():
    "Bytes per second read and written by a copy on the device"
    a = torch.empty(2**31 if device == "cuda" else 2**26, dtype=torch.uint8, device=device); b = torch.empty_like(a)
    times = []
    for _ in range(7):
        sync(); start = time.perf_counter(); b.copy_(a); sync(); times.append(time.perf_counter() - start)
    return 2*a.numel()/np.median(times)


class TooSlow(Exception): pass


requests = [Request(p, Sampling(max_tokens=args.tokens), seed=i*100 + j) for i, p in enumerate(prompts) for j in range(args.samples)]


def engine():
    return sum(len(s.token_ids) for _, s in Engine(model).run(requests))


def engine_transformers():
    "The engine on the model's own forward pass"
    sampler = Engine(model)
    sampler.decoder = None
    return sum(len(s.token_ids) for _, s in sampler.run(requests))


def equal_samples(some=256):
    "Of samples of 64 tokens, how many are the same in batches of 256 and of 48"
    part = [Request(r.prompt_ids, Sampling(max_tokens=64), seed=r.seed) for r in requests[:some]]
    one, other = (dict(Engine(model, max_batch=size).run(part)) for size in (256, 48))
    return sum(one[i].token_ids == other[i].token_ids for i in range(len(part))), len(part)


def generate():
    "One left-padded batch of every row, halved until it fits"
    rows = [p for p in prompts for _ in range(args.samples)]
    size = len(rows)
    start = time.perf_counter()
    class Watch(transformers.StoppingCriteria):
        def __call__(self, ids, scores, **kwargs):
            if time.perf_counter() - start > args.limit: raise TooSlow(f"{int((ids.shape[1] - 160)*size)} tokens in {args.limit} s")
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    while True:
        try:
            count = 0
            for i in range(0, len(rows), size):
                part = rows[i:i + size]; width = max(map(len, part))
                ids = torch.tensor([[0]*(width - len(p)) + p for p in part], device=device)
                mask = torch.tensor([[0]*(width - len(p)) + [1]*len(p) for p in part], device=device)
                out = model.generate(input_ids=ids, attention_mask=mask, do_sample=True, temperature=1., top_k=0, top_p=1., max_new_tokens=args.tokens,
                                     stopping_criteria=transformers.StoppingCriteriaList([Watch()]))
                count += (out.shape[1] - width)*len(part)
            return count
        except torch.OutOfMemoryError:
            gc.collect(); torch.cuda.empty_cache(); size //= 2
            print(f"generate: out of memory, {size} rows", flush=True)


def generate_batch():
    out = model.generate_batch([p for p in prompts for _ in range(args.samples)], generation_config=GenerationConfig(do_sample=True, temperature=1., top_k=0, top_p=1., max_new_tokens=args.tokens, eos_token_id=-1, pad_token_id=0), progress_bar=False,
                               **dict(continuous_batching_config=transformers.ContinuousBatchingConfig(page_size=64, num_blocks=64, max_batch_tokens=128)) if args.small else {})
    return sum(len(o.generated_tokens) for o in out.values())


def measured(f):
    gc.collect()
    if device == "cuda": torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
    sync(); start = time.perf_counter()
    tokens = f()
    sync(); seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated()/2**30 if device == "cuda" else 0
    return dict(tokens=tokens, seconds=round(seconds, 2), tokens_per_second=round(tokens/seconds), peak_gib=round(peak, 1))


name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
speed = bandwidth()
weights = sum(p.numel()*p.element_size() for p in model.parameters())
per_token = 2*config.num_hidden_layers*config.num_key_value_heads*config.head_dim*next(model.parameters()).element_size()
cache = args.prompts*args.samples*per_token*(np.mean([len(p) for p in prompts]) + args.tokens/2)
shared = per_token*(sum(map(len, prompts)) + args.prompts*args.samples*args.tokens/2)
bound = args.prompts*args.samples*speed/(weights + cache)
print(json.dumps(dict(machine=name, torch=torch.__version__, transformers=transformers.__version__, bandwidth_TB_s=round(speed/1e12, 2), weights_GB=round(weights/1e9, 2),
                      cache_GB=round(cache/1e9, 2), bound_tokens_per_second=round(bound), bound_with_shared_prompts=round(args.prompts*args.samples*speed/(weights + shared)))), flush=True)
found = {}
for path in args.paths:
    try: found[path] = measured(globals()[path]) | dict(of_bound=None)
    except Exception as e: print(f"{path}: {type(e).__name__}: {str(e)[:300]}", flush=True); continue
    found[path]["of_bound"] = round(found[path]["tokens_per_second"]/bound, 3)
    print(path, json.dumps(found[path]), flush=True)
if "engine" in found:
    for path in found: print(f"engine / {path}: {found['engine']['tokens_per_second']/found[path]['tokens_per_second']:.2f}")
if "engine" in found: print("equal in batches of 256 and 48: {} of {}".format(*equal_samples()))
