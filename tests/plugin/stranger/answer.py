"""An answer: the expected token is one of the two most likely."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

from dataclasses import dataclass

from circuitfind.answers.top import Top


@dataclass(frozen=True)
class TopTwo(Top):
    name = "top-two"

    def hit(self, output, target):
        return self.lead(output, target) > 0

    def lead(self, output, target):
        index = target.spelling.ids[:, 0, 0].clamp(min=0).expand(len(output), -1)[..., None]
        others = output.scatter(-1, index, float("-inf")).topk(2, dim=-1).values[..., 1]
        lead = output.gather(-1, index)[..., 0] - others
        return lead.masked_fill(~target.known, float("-inf"))


TOP_TWO = TopTwo()
