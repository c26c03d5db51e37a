from __future__ import annotations

import re
from pathlib import Path

EXAMPLES = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8"), re.DOTALL
)


def test_the_first_example_runs_as_written(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[0], {})
    *batches, matrix = capsys.readouterr().out.splitlines()
    assert len(batches) == 2
    assert matrix == "torch.Size([15, 3]) 2"


def test_the_example_of_own_files_runs_as_written(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[2], {})
    assert capsys.readouterr().out.splitlines() == [
        "81 9 10 ('home', 'work')",
        "mail.csv:101 ('home', 'Message 99') ['body', 'folder']",
    ]
    assert (tmp_path / "mail-lengths.csv").read_text().splitlines()[-1] == "Message 99,home,10"


def test_the_language_modelling_example_runs_as_written(capsys) -> None:
    exec(EXAMPLES[3], {})
    assert capsys.readouterr().out == "characters True True\nthe| function|\n|returns| a| list|"


def test_the_token_file_example_runs_as_written(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[4], {})
    assert capsys.readouterr().out == "True True\n"


def test_the_example_of_tokens_runs_as_written(capsys) -> None:
    exec(EXAMPLES[5], {})
    words, span = re.findall("# (.*)", EXAMPLES[5])
    assert capsys.readouterr().out == f"{words.split()}\n{span}\n"


def test_the_example_of_questions_runs_as_written(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[6], {})
    assert capsys.readouterr().out == "0 0 ['Rain', 'falls', 'from', 'clouds', '.']\nRain\n"


def test_the_example_of_translation_runs_as_written(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[7], {})
    *batches, last = capsys.readouterr().out.splitlines()
    assert len(batches) == 2
    assert last == "der Schnee Pair(source='the snow', targets=('der Schnee',), place='')"


def test_the_example_of_speech_runs_as_written(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[8], {})
    assert capsys.readouterr().out.splitlines() == [
        "torch.Size([98, 2, 80]) tensor(50) tensor([48, 98])",
        "[3, 2]",
        "True",
    ]


def test_the_data_example_runs_as_written(real_data, capsys) -> None:
    exec(EXAMPLES[1], {})
    assert capsys.readouterr().out.startswith("6920 872 1821 ('negative', 'positive')\n")
