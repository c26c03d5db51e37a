"""Random command lines, settings and inputs of every command."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from functools import cache

import samples
import yaml
from cases import TEXTS, Case, Refused, dump_json, hostile_value, mutated_bytes, mutated_tree
from hypothesis import strategies as st

from sru_apps.cli import main
from sru_apps.tasks import TASKS

SECONDS = 60
prepare = samples.prepare
SLOW = re.compile("epochs|max_steps|devices|num_nodes|runs-dir|resume")
"""Options that make training slow, or need unavailable hardware or files."""
VALUES = [
    *("0", "1", "-1", "2", "0.5", "nan", "inf", "1e400", "9" * 30, "null", "true", "[]", "{}", "[1, 2]"),
    *("{a: b}", "!!python/name:os.system", "&a [*a]", "a: - b"),
    *("cpu", "sru", "lstm", "mean", "words", "adam", *TEXTS[:-1]),
]
LINES = [
    *(b"a warm film", b"", b" ", b"\xff", b"\0", b"the quick", b"say a", b"x" * 5000),
    *(b"Ada lives in Oslo.", b"Who lives in Oslo?", b"/passage", b"/quit"),
]
YAML = [
    *(b"model: 3", b"trainer: null", b"a: &a [*a]", b"\xff\xfe", b"- 1", b"", b"data: {unit: [words]}"),
    b"lr_scheduler: {class_path: x.Y}",
    b"\n".join(
        b"a%d: &a%d [%s]" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9 if i else [b"1"])) for i in range(9)
    ),
]


def refuses(error: BaseException) -> bool:
    """`samples.run` raises `Refused` itself."""
    return False


@cache
def _options(*command: str) -> list[str]:
    """List the options of a command from its help text."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main([*command, "--help"])
    return sorted(
        set(re.findall(r"--[a-z][\w.-]*", shown.getvalue())) - {"--help", "--print_config", "--config"}
    )


def fit_options(case: Case) -> None:
    """Train with one to three options set to random values."""
    task = case.draw(st.sampled_from(samples.TASKS), "task")
    samples.write_data(case.folder)
    args = samples.fit_options(task, case.folder)
    names = [name for name in _options(task, "fit") if not SLOW.search(name)]
    for _ in range(case.draw(st.integers(1, 3))):
        args.append(f"{case.draw(st.sampled_from(names))}={case.draw(st.sampled_from(VALUES))}")
    samples.run(case, args)


def settings_files(case: Case) -> None:
    """Train with an invalid options file, or with the mutated settings of a run."""
    task = case.draw(st.sampled_from(samples.TASKS), "task")
    samples.write_data(case.folder)
    chance = case.random()
    content = (samples.run_folder(task, case.samples) / "config.yaml").read_bytes()
    kind = case.draw(st.sampled_from(["hostile", "bytes", "tree"]), "kind")
    if kind == "hostile":
        content = case.draw(st.sampled_from(YAML), "content")
    elif kind == "bytes":
        content = mutated_bytes(content, chance)
    else:
        content = dump_json(mutated_tree(yaml.safe_load(content), chance, hostile_value))
    path = case.write("options.yaml", content)
    # The sizes come last, so that the run stays small.
    samples.run(case, [*samples.fit_options(task, case.folder), f"--config={path}", *samples.SMALL])


def names_of_runs(case: Case) -> None:
    """Hostile run names: nothing is written outside the folder of runs."""
    samples.write_data(case.folder)
    allowed = {*case.folder.iterdir(), case.folder / "runs", case.folder / "runs/chat"}
    name = case.draw(st.sampled_from([*TEXTS, "..", ".", "a/b", "-x", "con", "x" * 300, "~"]), "name")
    fit = [*samples.fit_options("chat", case.folder), "--trainer.max_epochs=1"]
    try:
        samples.run(case, [*fit, f"--name={name}"])
    finally:
        made = {*case.folder.iterdir(), *case.folder.glob("runs/*")} - allowed
        assert not made, f"wrote outside the folder of runs: {sorted(path.name for path in made)}"


def inputs(case: Case) -> None:
    """Use a model with random options and random lines on standard input; `predict` prints as many lines."""
    task = case.draw(st.sampled_from(samples.TASKS), "task")
    command = {"classify": "predict", "lm": "generate", "chat": "reply", "squad": "ask"}[task]
    run = samples.run_folder(task, case.samples)
    args = [task, command, f"--model={run}"]
    names = [name for name in _options(task, command) if name not in ("--model", "--message", "--samples")]
    for _ in range(case.draw(st.integers(0, 2))):
        name = case.draw(st.sampled_from(names))
        is_flag = name in ("--json", "--greedy", "--allow-unknown", "--forbid-unknown")
        args.append(name if is_flag else f"{name}={case.draw(st.sampled_from(VALUES))}")
    if task in ("lm", "chat"):
        args.append("--max-tokens=5")
    lines = case.draw(st.lists(st.sampled_from(LINES), max_size=6), "lines")
    end = case.draw(st.sampled_from([b"\n", b"\r\n"]), "end")
    mark = case.draw(st.sampled_from([b"", b"\xef\xbb\xbf"]), "mark")
    out = samples.run(case, args, stdin=mark + b"".join(line + end for line in lines))
    if command == "predict" and not any(arg.startswith("--file") for arg in args):
        assert out.count("\n") == len(lines), f"{out.count(chr(10))} lines of output for {len(lines)}"
    if "--json" in args:
        assert not {"NaN", "Infinity"} & set(re.findall(r"\w+", out)), "bare NaN in JSON"


def lines_of_commands(case: Case) -> None:
    """Random words after `sru`, in a separate process: no traceback, whatever the exit status."""
    words = [
        *(*TASKS, "fit", "prepare", "test", "validate", "predict", "score", "table", "--help", "--version"),
        *("--json", "/nowhere", "--model=/nowhere", "--model", "-c", "--resume=/dev/null", "--recipe=x"),
        *("", "\udcff", "é"),
    ]
    args = case.draw(st.lists(st.sampled_from(words), max_size=4), "args")
    if "demo" in args or args[1:2] == ["prepare"]:
        return
    done = subprocess.run(
        [sys.executable, "-m", "sru_apps", *args], capture_output=True, text=True, errors="replace",
        stdin=subprocess.DEVNULL, cwd=case.folder, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1, 2), f"exit status {done.returncode}: {done.stderr[-300:]}"
    assert "Traceback" not in done.stderr, f"traceback: {done.stderr[-300:]}"
    if done.returncode:
        raise Refused(done.stderr[-100:].replace("\n", " "))
