"""Time and memory of a GRPO step on a GPU: a Qwen3-0.6B-shaped model with random weights (float32 with bfloat16 autocast), 64 prompts x 16 rollouts of 256 tokens, `train_grpo` against TRL's GRPOTrainer with its
default generation. Rewards are the parity of the answer's length, for the model knows nothing. `--small` is the same on a CPU with a tiny model, to see that the script runs. Needs no network."""
import argparse, importlib.util, os, sys
if sys.path[0].endswith("benchmarks"): sys.path.pop(0) # benchmarks/profile.py stands in the way of Python's own
os.environ.update(TOKENIZERS_PARALLELISM="false", TRL_EXPERIMENTAL_SILENCE="1")
import json, shutil, tempfile, time, warnings
from pathlib import Path

import numpy as np
import torch
import transformers

from gymenv_nb.contract import BaseVerifyRequest, BaseVerifyResponse
from gymenv_nb.environment import Card, Environment
from gymenv_nb.policy import policy
from gymenv_nb.resources import SimpleResourcesServer
from gymenv_nb.tasks import data_path

spec = importlib.util.spec_from_file_location("benchmark_train", Path(__file__).with_name("train.py"))
spec.loader.exec_module(beside := importlib.util.module_from_spec(spec))
ours, peer, shares = beside.ours, beside.peer, beside.shares


class Parity(SimpleResourcesServer):
    "Reward 1 for an answer of an even number of characters"
    async def verify(self, body: BaseVerifyRequest) -> BaseVerifyResponse:
        return BaseVerifyResponse(**body.model_dump(), reward=float(len(body.response.output_text) % 2 == 0))


def questions(num_tasks, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(num_tasks): yield dict(responses_create_params=dict(input=[dict(role="user", content=f"{i}: " + " ".join(map(str, rng.integers(0, 1000, 20).tolist())))]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--micro", type=int, default=16)
    parser.add_argument("--shape", default="0.6B", choices=["0.6B", "1.7B"])
    parser.add_argument("--limit", type=float, default=150., help="seconds after which TRL is not begun")
    parser.add_argument("--skip-peer", action="store_true")
    args = parser.parse_args()
    start, device = time.perf_counter(), "cpu" if args.small else "cuda"
    if args.small: args.prompts, args.repeats, args.tokens, args.steps = 4, 4, 16, 2
    shape = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=128, vocab_size=768) if args.small else \
            {"0.6B": dict(hidden_size=1024, num_hidden_layers=28, num_attention_heads=16, intermediate_size=3072), "1.7B": dict(hidden_size=2048, num_hidden_layers=28, num_attention_heads=16, intermediate_size=6144)}[args.shape] | dict(num_key_value_heads=8, head_dim=128, vocab_size=151936)
    folder, known = Path(tempfile.mkdtemp()), data_path("embedded_policy")
    for o in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"): shutil.copy(known/o, folder/o)
    config = transformers.Qwen3Config(**shape, tie_word_embeddings=True, max_position_embeddings=4096, eos_token_id=732, pad_token_id=730, architectures=["Qwen3ForCausalLM"])
    torch.manual_seed(0)
    with torch.device(device): model = transformers.Qwen3ForCausalLM(config).to(torch.bfloat16)
    count = model.num_parameters()
    model.save_pretrained(folder)
    shutil.copy(known/"generation_config.json", folder/"generation_config.json")
    del model
    card = Card("parity", "other", "Answers of even length.")
    env = Environment(Parity, questions, card)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, transformers {transformers.__version__}; {count/1e6:,.0f} M parameters, {args.prompts} x {args.repeats} x {args.tokens} tokens, {args.micro} rollouts in one pass; made in {time.perf_counter() - start:.0f} s", flush=True)
    if device == "cuda": torch.cuda.reset_peak_memory_stats()
    rows, facts = ours(env, policy(str(folder), max_output_tokens=args.tokens), args.prompts, args.repeats, args.steps, device=device, micro=args.micro, validation=4)
    mine = rows[1:] or rows
    seconds = float(np.median([o["seconds"] for o in mine]))
    print(f"train_grpo {seconds:.2f} s a step ({', '.join(f'{k} {100*v:.0f} %' for k, v in shares(mine).items())}), peak {max(o['peak_gib'] for o in rows):.1f} GiB, {args.prompts*args.repeats*args.tokens/np.median([o['seconds_sampling'] for o in mine]):,.0f} tokens/s sampled; {facts['precision']}, engine {facts['engine']}, mismatch of log probabilities {mine[-1]['mismatch']:.4f}; at {time.perf_counter() - start:.0f} s", flush=True)
    if device == "cuda": torch.cuda.empty_cache()
    if args.skip_peer or time.perf_counter() - start > args.limit: return print("TRL not measured")
    messages = [o["responses_create_params"]["input"] for o in env.make_tasks(args.prompts*args.steps)]
    rows, peak = peer(folder, messages, lambda prompt, text: float(len(text) % 2 == 0), args.prompts, args.repeats, args.steps, args.tokens, device, device == "cuda", args.micro)
    theirs = rows[1:] or rows
    other = float(np.median([o["seconds"] for o in theirs]))
    print(f"TRL        {other:.2f} s a step (generation {100*sum(o['generation'] for o in theirs)/sum(o['seconds'] for o in theirs):.0f} %), peak {peak or 0:.1f} GiB; ratio {other/seconds:.2f}; at {time.perf_counter() - start:.0f} s")


if __name__ == "__main__": main()
