"""Blocks of processes until each aggregate is decided, and again for those that look slower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rnn_parity.bench.gate.pairs import Block
from rnn_parity.bench.gate.rule import LOOKS, LOOKS_AGAIN, Answer, Finding, Rule

Take = Callable[[Sequence[str]], Block | None]  # measures aggregates; None where the time is up


@dataclass(frozen=True)
class Comparison:
    """What some blocks say.

    Args:
        blocks: what was measured.
        findings: of head against base, by aggregate.
        control: of base against base, later and earlier process changing places too.
    """

    blocks: Sequence[Block]
    findings: dict[str, Finding]
    control: dict[str, tuple[Finding, Finding]]

    def noisy(self) -> list[str]:
        """Return the aggregates in which base is slower than base, or faster."""
        return [name for name, both in self.control.items() if any(f.answer == Answer.REGRESSION for f in both)]

    def suspects(self) -> list[str]:
        """Return the aggregates that look slower."""
        return [name for name, finding in self.findings.items() if finding.answer == Answer.REGRESSION]

    def enough(self) -> bool:
        """Whether no more blocks are needed: all is fine, or there is something to measure again."""
        answers = {finding.answer for finding in self.findings.values()}
        return not self.noisy() and (Answer.REGRESSION in answers or answers == {Answer.FINE})


@dataclass(frozen=True)
class Timing:
    """What was found in time: a first comparison of everything, and a second of what looked slower in it."""

    first: Comparison
    second: Comparison | None

    def findings(self) -> dict[str, Finding]:
        """Return what counts, by aggregate: for one that looked slower the second, undecided where there is none."""
        first = self.first.findings
        open_ = {name: replace(first[name], answer=Answer.UNDECIDED) for name in self.first.suspects()}
        return first | open_ | (self.second.findings if self.second else {})

    def noisy(self) -> list[str]:
        """Return the aggregates in which base against base says that the machine is too noisy."""
        return list(dict.fromkeys(self.first.noisy() + (self.second.noisy() if self.second else [])))

    def answer(self) -> Answer:
        """Return the answer for all of it: no verdict where base differs from base."""
        answers = {finding.answer for finding in self.findings().values()}
        if self.noisy() or not answers:
            return Answer.UNDECIDED
        return next(answer for answer in (Answer.REGRESSION, Answer.UNDECIDED, Answer.FINE) if answer in answers)


def compared(take: Take, take_again: Take, aggregates: Sequence[str], tolerance: float) -> Timing:
    """Measure everything, then from scratch what looks slower: only what does so twice is a regression.

    Args:
        take: runs a block of processes.
        take_again: likewise, for the second comparison.
        aggregates: what to measure.
        tolerance: the slowdown that is let pass.
    """
    first = _until_enough(take, aggregates, tolerance, LOOKS)
    suspects = first.suspects()
    if not suspects or first.noisy():
        return Timing(first, None)
    return Timing(first, _until_enough(take_again, suspects, tolerance, LOOKS_AGAIN))


def _until_enough(take: Take, aggregates: Sequence[str], tolerance: float, looks: Sequence[int]) -> Comparison:
    rule = Rule(tolerance, len(aggregates) * len(looks))
    blocks: list[Block] = []
    found = Comparison((), {}, {})
    for look in looks:
        while len(blocks) < look and (block := take(aggregates)):
            blocks.append(block)
        if len(blocks) < looks[0]:
            return Comparison(tuple(blocks), {}, {})
        found = _judged(blocks, aggregates, rule)
        if found.enough() or len(blocks) < look:
            break
    return found


def _judged(blocks: Sequence[Block], aggregates: Sequence[str], rule: Rule) -> Comparison:
    findings, control = {}, {}
    alone = replace(rule, tests=1)  # half as many differences, which could hardly reach the level of all
    for name in aggregates:
        findings[name] = rule.judge([pair for block in blocks for pair in block.pairs(name)])
        steady = [block.control(name) for block in blocks]
        control[name] = (alone.judge(steady), alone.judge([-difference for difference in steady]))
    return Comparison(tuple(blocks), findings, control)
