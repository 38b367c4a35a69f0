"""Every grader on 100 kB of adversarial text: the worst time of each, over all texts, and whether it is under 50 ms.

    python benchmarks/grading.py [--size 100000] [--repeats 3] [--only json]

A time is processor time of the thread, so that other programs of the machine do not count; the slowest texts of each grader are timed again, and the least of their times counts. `math_equal` refuses long text at once; what it takes on short text is
bounded by its own limit, and measured apart, by the clock.
"""
import argparse, json, os, platform, time

from gymenv_nb.grading import (boxed, calls_match, exact_match, json_match, last_number, last_tag, math_answer, math_verdict, multiple_choice, normalized_match, parse_json, parse_number,
                               same_number, similarity, stop_math_workers, strip_thinking, token_f1)

LIMIT_MS = 50
PIECES = ["<answer>", "</answer>", "<answer>1", "<answer></answer>", "</answer>1", "<", "</", "<think>", "</think>", "<think>x", "x</think>", r"\boxed{", r"\boxed{1", r"\boxed ", r"\boxed{}", r"\boxed{A}", "{", "}", "{}", "\\", "\\\\", "\\{",
          r"\frac", r"\frac{", r"\frac{1}{", r"\frac12", r"\text{", r"\text{A", r"\(", r"\(1\)", r"\[", "$", "$$", "$1$", "$x", "1", "9", "0", "-", "−", "1,", "1,111", ",111", "1.", ".", "1e", "1e9", "1/", "-1", "- ", "1 x 10^", "1%", "1 ",
          "A", "a", "A ", "A, ", "A or ", "(A", "(A)", "(A) ", "A) ", "A.", "A.\n", "A\n", "A - ", "**", "**A**", "*", "_", "__A", "`", "'", '"', "Answer:", "Answer:   ", "Answer: A ", "Answer: A\n", "Answer: a", "Answer: a ", "answer is ",
          "answer is the ", "the answer is A or ", "answer is $\\text{", "the answer is (A) and ", "answer ", "answer is A?", "I choose ", "I choose option ", "A is the ", "A is the correct answer ", "A is the correct ", "答案", "答案：", "选", "选A", "Ａ", "A和",
          "the ", "a ", "word ", "w", " ", "\n", "\t", "\r\n", "\x00", "\ud800", "\u200f", "\u202e", "٣", "é", "😀", "ab", "[", "]", "[]", "[1,", "1,", '"a":', '{"a":', '{"a":[', '"\\', '"\\"', "```", "```json\n", "```json\n1\n```\n", "null,", "true"]


def texts(size):
    "Pairs (name, text): one piece over and over, alone and inside the frames that the graders look for, and JSON of many kinds."
    for piece in PIECES:
        text = piece * (size // len(piece))
        for name, frame in (("", "{}"), ("in a tag", "<answer>{}x</answer>"), ("in a box", r"\boxed{{{}}}")):
            yield f"{piece!r} {name}", frame.format(text)
    for name, value in (("ints", list(range(size // 6))), ("ones", [1] * (size // 3)), ("many small", [1] * 999), ("strings", ["x" * 90] * 999), ("objects", [{"a": 1, "b": "x"}] * 330), ("wrong objects", [{"a": "1", "c": {}}] * 330),
                        ("one string", "x" * size), ("keys", {f"k{i}": i for i in range(999)}), ("long keys", {"k" * 90 + str(i): {} for i in range(999)}), ("floats", [1.5] * 999), ("empty lists", [[]] * 999), ("huge ints", [10 ** 4000] * (size // 4002))):
        yield f"JSON {name}", json.dumps(value)
    deep = "x" * (size - 100)
    yield "JSON deep string", "[" * 49 + json.dumps(deep) + "]" * 49
    yield "JSON wide and deep", "[" * 45 + ",".join(["1"] * 950) + "]" * 45
    yield "letters", "".join(chr(0x4E00 + i % 20_000) for i in range(size))
    yield "numbers", " ".join(map(str, range(size // 6)))


NODE = {"$ref": "#/$defs/node", "$defs": {"node": {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 10}, {"type": "array", "items": {"$ref": "#/$defs/node"}}, {"type": "object", "additionalProperties": {"$ref": "#/$defs/node"}}]}}}
TABLE = {"type": "array", "uniqueItems": True, "items": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0}, "b": {"type": "string", "pattern": "^x"}}, "required": ["a"], "additionalProperties": False}}
CITIES = dict(A="Paris", B="London", C="Rome", D="Bern")
EXPECTED = [dict(name="f", arguments=dict(x=i, y=[1.5, "a"])) for i in range(10)]


def call(arguments, name="f"): return dict(type="function_call", call_id="c", name=name, arguments=arguments)


def cut(text):
    "The text as the arguments of one call, and cut into those of 190."
    size = max(1, len(text) // 190)
    return [call(text)], [call(text[i:i + size]) for i in range(0, len(text), size)]


def many_calls(size):
    "Many that nearly match, and names as long as texts."
    near = call('{"x": 1.0001, "y": [1.5, "a"]}')
    return [near] * (size // 40), [near] * 200, [call("{}", "f" * size)] * 100, [call(json.dumps(dict(x=[1.5] * 80)))] * 200


GRADERS = {
    "last_tag": lambda o: last_tag(o, "answer"), "boxed": boxed, "strip_thinking": strip_thinking, "parse_number": parse_number, "same_number": lambda o: same_number(o, 1), "last_number": last_number,
    "multiple_choice": multiple_choice, "multiple_choice, A to J": lambda o: multiple_choice(o, "ABCDEFGHIJ"), "multiple_choice, options": lambda o: multiple_choice(o, options=CITIES),
    "exact_match": lambda o: exact_match(o, o + "x"), "normalized_match": lambda o: normalized_match(o, o + "x"), "token_f1": lambda o: token_f1(o, o[::-1]), "similarity": lambda o: similarity(o, o[::-1]), "similarity, short": lambda o: similarity(o, "word " * 200),
    "parse_json": parse_json, "json_match, tree": lambda o: json_match(o, NODE), "json_match, table": lambda o: json_match(o, TABLE), "math_answer": math_answer, "math_equal": lambda o: math_verdict(o, "x+1"),
}


def worst_of(f, given, repeats):
    "The worst (milliseconds, name) of `given`, pairs (name, make): each once, then the least of the repeats for the three that were slowest."
    def milliseconds(make):
        made = make()
        start = time.thread_time(); f(made)
        return 1e3 * (time.thread_time() - start)
    slowest = sorted(((milliseconds(make), i) for i, (_, make) in enumerate(given)), reverse=True)[:3]
    return max((min(first, *(milliseconds(given[i][1]) for _ in range(repeats))), given[i][0]) for first, i in slowest)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="a part of the graders' names")
    args = parser.parse_args()
    every, over = list(texts(args.size)), 0
    def report(name, f, given):
        global over
        if args.only not in name: return
        worst, text = worst_of(f, given, args.repeats)
        over += worst >= LIMIT_MS
        print(f"{name:26s}{worst:8.1f} ms   {'under' if worst < LIMIT_MS else 'OVER '} {LIMIT_MS} ms   {text}", flush=True)
    fresh = [(name, lambda text=text: (" " + text)[1:]) for name, text in every]
    for name, f in GRADERS.items(): report(name, f, fresh)
    calls = [(name, lambda o=o: list(o)) for name, text in every for o in cut(text)] + [(f"{len(o)} calls", lambda o=o: list(o)) for o in many_calls(args.size)]
    for name, options in (("calls_match", {}), ("calls_match, tolerance", dict(tolerance=.1, in_order=False))): report(name, lambda o: calls_match(o, EXPECTED, **options), calls)
    print(f"{over} over the limit, of {len(every)} texts of up to {max(len(o.encode(errors='replace')) for _, o in every):,} bytes")
    for answer in (r"\frac{1}{\sqrt2}+x", "10^{10^{10}}+x", r"(x+1)^{10^7}", r"\int" * 250, "{" * 1000, "x^" * 500 + "x", "(" * 300 + "x" + ")" * 300, r"\sin " * 150 + "x", "9!!!!!!", "x," * 500, "+".join(f"x_{{{i}}}" for i in range(120))):
        math_verdict("1+x", "x+1") # a worker is ready
        start = time.perf_counter(); verdict = math_verdict(answer, r"\frac{\sqrt2}{2}+x", timeout=2)
        print(f"math_equal, limit 2 s{1e3 * (time.perf_counter() - start):13.1f} ms   {verdict:12s} {answer[:30]!r}")
    stop_math_workers()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
