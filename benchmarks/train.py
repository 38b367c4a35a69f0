"""Time of a GRPO step on a CPU, 64 prompts x 16 rollouts of `addition` with the embedded policy: `train_grpo` against TRL's GRPOTrainer with its default generation, on one thread,
in turn within one run. Prints CPU seconds a step (the first step of each is left out), their ratio, and what share is sampling, scoring and learning. `--small` is a quick look at whether it runs."""
import argparse, os, sys
if sys.path[0].endswith("benchmarks"): sys.path.pop(0) # benchmarks/profile.py stands in the way of Python's own
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", TRL_EXPERIMENTAL_SILENCE="1") # before torch is imported
import gc, json, platform, shutil, tempfile, time
from pathlib import Path

import numpy as np


def peer(model_folder, messages, reward_of, prompts, repeats, steps, max_tokens, device="cpu", bf16=False, micro=256, thinking=False):
    "TRL as it comes: a row a step, with its seconds, CPU seconds and what part was generation"
    import torch, transformers
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer
    from gymenv_nb.policy import load_tokenizer
    transformers.utils.logging.set_verbosity_error()
    rows, clock = [], {}

    class Timed(GRPOTrainer):
        def _generate(self, asked):
            start = time.perf_counter()
            found = super()._generate(asked)
            clock["generation"] = time.perf_counter() - start
            return found
        def create_model_card(self, *args, **more): pass

    class Watch(transformers.TrainerCallback):
        def on_step_begin(self, *args, **more):
            if device == "cuda": torch.cuda.synchronize()
            clock.update(wall=time.perf_counter(), cpu=time.process_time())
        def on_step_end(self, *args, **more):
            if device == "cuda": torch.cuda.synchronize()
            rows.append(dict(seconds=time.perf_counter() - clock["wall"], cpu_seconds=time.process_time() - clock["cpu"], generation=clock["generation"]))

    def verify(prompts, completions, **more): return [reward_of(p, c[0]["content"]) for p, c in zip(prompts, completions)]
    tokenizer = load_tokenizer(model_folder)
    tokenizer.padding_side = "left"
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).to(device)
    micro = min(micro, prompts*repeats)
    args = GRPOConfig(tempfile.mkdtemp(), max_steps=steps, per_device_train_batch_size=micro, gradient_accumulation_steps=prompts*repeats//micro, num_generations=repeats, learning_rate=1e-6, beta=0., temperature=1.,
                      max_completion_length=max_tokens, use_cpu=device == "cpu", bf16=bf16, gradient_checkpointing=False, save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=False, logging_steps=1,
                      chat_template_kwargs=dict(enable_thinking=thinking))
    trainer = Timed(model=model, reward_funcs=verify, args=args, train_dataset=Dataset.from_dict(dict(prompt=messages)), processing_class=tokenizer, callbacks=[Watch()])
    trainer.remove_callback(transformers.PrinterCallback)
    if device == "cuda": torch.cuda.reset_peak_memory_stats()
    trainer.train()
    peak = torch.cuda.max_memory_allocated()/2**30 if device == "cuda" else None
    del trainer, model
    gc.collect()
    if device == "cuda": torch.cuda.empty_cache()
    return rows, peak


def ours(env, policy, prompts, repeats, steps, **more):
    "`train_grpo`'s instruct arm in this process: its rows of metrics"
    from gymenv_nb.train import Arm, begin_training, run_arm, trainable, whole_settings
    folder = Path(tempfile.mkdtemp())
    settings = whole_settings(env, env, trainable(policy), None, None, steps, prompts, repeats, ("instruct",), False, 1e-6, None, 0, more.get("validation", 8), steps, more.get("max_tokens"), more.get("micro"), (), more.get("device"), None)
    begin_training(folder, settings, env, None)
    run_arm(folder, "instruct", env)
    arm = Arm(folder, "instruct")
    rows, facts = arm.metrics(), json.loads((arm.path/"finished.json").read_text())
    shutil.rmtree(folder)
    gc.collect()
    return rows, facts


def shares(rows):
    "Of a step: sampling, scoring and learning"
    total = sum(o["seconds"] for o in rows)
    return {k: sum(o[f"seconds_{k}"] for o in rows)/total for k in ("sampling", "scoring", "learning")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    if args.small: args.prompts, args.repeats, args.steps, args.rounds = 8, 4, 2, 1
    import torch
    torch.set_num_threads(1)
    from gymenv_nb.environment import load_environment
    from gymenv_nb.policy import policy
    from gymenv_nb.tasks import data_path
    env = load_environment("addition")
    tasks = env.make_tasks(args.prompts*args.steps)
    messages = [[dict(role=m["role"], content=m["content"]) for m in o["responses_create_params"]["input"]] for o in tasks]
    answers = {json.dumps(m): o for m, o in zip(messages, tasks)}
    def reward_of(prompt, text):
        expected = next(v for k, v in answers[json.dumps([dict(role=m["role"], content=m["content"]) for m in prompt])].items() if "answer" in k or "sum" in k)
        return float(f"<answer>{expected}</answer>" in text)
    theirs, mine, said = [], [], []
    for turn in range(args.rounds):
        rows, facts = ours(env, policy("embedded"), args.prompts, args.repeats, args.steps)
        mine += rows[1:] or rows
        rows, _ = peer(data_path("embedded_policy"), messages, reward_of, args.prompts, args.repeats, args.steps, 64)
        theirs += rows[1:] or rows
        print(f"round {turn + 1}: ours {[round(o['cpu_seconds'], 2) for o in mine]}, TRL {[round(o['cpu_seconds'], 2) for o in theirs]} CPU s; load {os.getloadavg()[0]:.1f}", flush=True)
    a, b = (float(np.median([o["cpu_seconds"] for o in rows])) for rows in (mine, theirs))
    print(f"{args.prompts} x {args.repeats}, {platform.processor() or platform.machine()}, one thread, {facts['precision']}")
    print(f"train_grpo {a:.2f} CPU s a step: " + ", ".join(f"{k} {100*v:.0f} %" for k, v in shares(mine).items()))
    print(f"TRL        {b:.2f} CPU s a step: generation {100*sum(o['generation'] for o in theirs)/sum(o['seconds'] for o in theirs):.0f} %")
    print(f"ratio      {b/a:.2f}")


if __name__ == "__main__": main()
