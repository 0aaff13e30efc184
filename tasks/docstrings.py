"""Docstring arguments: "def update(self, load, size, ...): ... :param load: ... :param" -> " size".

Heimersheim and Janiak 2023 (Alignment Forum, "A circuit for Python docstrings in a 4-layer
attention-only transformer") found the circuit: a docstring lists the arguments of its function in
order. The claim is that the name of the argument to come passes through the circuit at the last
token, and that the name of the function makes no difference. The answer is a preference between the
names that base and source ask for.

Base accuracy (both prompts of a pair, 64 pairs of each desideratum): SmolLM2-135M 0.99 on the
search side and 0.99 held out (n = 192 each).
"""

from desiderata import CausalModel, Prompt, choice, distinct, fill, integers

NAMES = (
    "load", "size", "file", "last", "port", "name", "path", "data", "mode", "time", "user", "page",
    "node", "line", "text", "date", "code", "type", "word", "host", "list", "rate", "step", "key",
)  # fmt: skip
METHODS = ("update", "process", "create", "handle")


def wanted(arguments: tuple[str, ...], place: int) -> str:
    return arguments[place]


def prompt(method: str, arguments: tuple[str, ...], place: int) -> Prompt:
    """The function, and its docstring up to the argument that is wanted."""
    listed = ", ".join(f"{{arguments[{index}]}}" for index in range(len(arguments)))
    lines = "".join(
        f"    :param {{arguments[{index}]}}: the {{arguments[{index}]}}\n" for index in range(place)
    )
    text = f'def {{method}}(self, {listed}):\n    """{{method}}\n\n{lines}    :param'
    return fill(text, method=method, arguments=arguments)


model = CausalModel(
    inputs={
        "method": choice(METHODS),
        "arguments": distinct(choice(NAMES, one_token=True), 4),
        "place": integers(1, 3),
    },
    mechanisms=[wanted],
    prompt=prompt,
    completion=" {wanted}",
)

claim = model.carries("wanted", at="last", among="named")
