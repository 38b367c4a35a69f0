"""How much of GRPO's gradient is signal, on `addition` with the embedded policy in instruct mode: the mean gradient over batches of 64 x 16 against its deviation from batch to batch, for each kind of weight and for the
scale of the logits (the common factor of the last norm's gains). It is why a small model's scale has a rate of its own (`SCALE_RATE` in gymenv_nb.train).

    python benchmarks/train_signal.py [--batches 12] [--prompts 64] [--repeats 16]
"""
import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import re
from collections import defaultdict

import numpy as np
import torch

from gymenv_nb.environment import load_environment
from gymenv_nb.policy import model_folder
from gymenv_nb.train import TrainedPolicy, drawn_tasks, in_one_row, last_gains, load_trained, split_tasks, step_rollouts, step_seed, trainable, with_head

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--batches", type=int, default=12)
parser.add_argument("--prompts", type=int, default=64)
parser.add_argument("--repeats", type=int, default=16)
args = parser.parse_args()
batches, prompts, repeats = args.batches, args.prompts, args.repeats
if batches < 2 or prompts < 1 or repeats < 2: parser.error("at least 2 batches, 1 prompt and 2 repeats: a deviation takes two")
torch.set_num_threads(1)
env, start = load_environment("addition"), trainable(None)
policy = TrainedPolicy(start, False, None, "cpu")
model = with_head(load_trained(model_folder(start.model, None)[0], "cpu", True))
policy.take(model)
tasks = split_tasks(env.make_tasks(batches*prompts + 256), 128).train
order = drawn_tasks(len(tasks), batches, prompts)
gains, found, scales, rewards = last_gains(model), defaultdict(list), [], []
for step in range(batches):
    keys = [(t, r) for t in order[step*prompts:(step + 1)*prompts] for r in range(repeats)]
    earned, chains, failure = step_rollouts(env, policy, tasks, keys, step_seed(0, step))
    if failure: raise SystemExit(f"{sum(o is None for o in earned)} of {len(earned)} rollouts failed, the last one: {failure}")
    groups = np.array(earned).reshape(prompts, repeats)
    rewards.append(groups.mean())
    advantages = ((groups - groups.mean(1, keepdims=True))/(groups.std(1, ddof=1, keepdims=True) + 1e-4)).ravel()
    drawn = sum(sum(o.drawn) for pieces in chains for o in pieces)
    model.zero_grad()
    for part in np.array_split(np.arange(len(chains)), min(4, len(chains))):
        with torch.autocast("cpu", torch.bfloat16): logprobs, _ = in_one_row(model, [(o.prompt, o.answer) for i in part for o in chains[i]])
        weight = torch.tensor([advantages[i]*d for i in part for o in chains[i] for d in o.drawn], dtype=torch.float32)
        (-(logprobs.float()*weight).sum()/drawn).backward()
    scales.append(float(gains.grad @ gains.detach())/float(gains.detach().norm()))
    for name, p in model.named_parameters(): found[re.sub(r"model\.layers\.\d+\.|\.weight$", "", name)].append((step, p.grad.flatten().clone()))
    print(f"batch {step + 1} of {batches}, mean reward {rewards[-1]:.3f}", flush=True)

print(f"\nmean reward {np.mean(rewards):.3f}; mean gradient against its deviation from batch to batch")
print(f"{'scale of the logits':<28}{abs(np.mean(scales))/np.std(scales, ddof=1):6.2f}")
for name, parts in found.items():
    by_step = torch.stack([torch.cat([g for s, g in parts if s == step]) for step in range(batches)])
    noise = float(by_step.var(0).sum())
    signal = max(0., float(by_step.mean(0).square().sum()) - noise/batches) # without what chance adds to the mean
    print(f"{name:<28}{(signal/noise)**.5:6.2f}")
policy.close()
