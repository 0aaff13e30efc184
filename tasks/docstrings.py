"""Docstring arguments: "def port(self, load, size, file, last): ... :param size:" -> the next name.

Heimersheim and Janiak 2023 (Alignment Forum) found the circuit in a model of four layers: a
docstring lists the arguments of its function in order. The claim is that the name of the argument
to come passes through the circuit at the last token. The answer is a preference among the names
that the pair is about.

Base accuracy (both prompts of a pair, n = 64):
SMOLLM
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
