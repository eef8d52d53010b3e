"""Beam search over a network that gives a step: the twin of common/decoding/beam_search.py."""

from typing import NamedTuple

import numpy as np
from network import Network


class Hypothesis(NamedTuple):
    """A text or the beginning of one.

    Attributes:
        score: log-probability of a beginning; with the length penalty, of a whole text.
        token_ids: written so far.
        attention: (places,) at each of them.
    """

    score: np.float32
    token_ids: list[int]
    attention: list[np.ndarray]


class BeamSearch:
    """Writes with GNMT's length penalty (Wu et al. 2016, https://arxiv.org/abs/1609.08144).

    Args:
        step: token_ids (beam,), states and memory -> log_probs (beam, vocab), attention
            (beam, places), and the states after, next_NAME.
        vocab: number of tokens.

    Its settings are those of the decoder: start_id, end_id, forbidden_ids, min_steps, max_steps,
    beam, length_penalty.
    """

    def __init__(self, step: Network, vocab: int):
        self.step, self.vocab, self.settings = step, vocab, step.settings

    def __call__(self, memory: dict[str, np.ndarray]) -> list[Hypothesis]:
        """Finished hypotheses, best first; never more than the beam is wide.

        `memory` is that of one example; what is called state_... are the first states, (1, units).
        """
        beam, max_steps = self.settings["beam"], self.settings["max_steps"]
        states = {name: memory[name] for name in memory if name.startswith("state_")}
        memory = {name: memory[name] for name in memory if name not in states}
        states = {name: np.repeat(value, beam, axis=0) for name, value in states.items()}
        last = np.full(beam, self.settings["start_id"], np.int32)
        live, pool = [Hypothesis(np.float32(0), [], [])], []
        for length in range(max_steps):
            reachable = self.penalised(max(hypothesis.score for hypothesis in live), max_steps)
            if len(pool) == beam and reachable <= pool[-1].score:
                break
            outputs = self.step(token_ids=last, **states, **memory)
            log_probs = outputs["log_probs"][: len(live)] + self.allowed(length)
            totals = np.array([hypothesis.score for hypothesis in live])[:, None] + log_probs
            best = np.argsort(-totals, axis=None, kind="stable")[:beam]
            best = best[np.isfinite(totals.ravel()[best])]
            parents, tokens = np.divmod(best, log_probs.shape[1])
            live, rows = self.grown(live, pool, totals, parents, tokens, outputs["attention"])
            pool.sort(key=lambda whole: -whole.score)  # of equal ones, the older stays before
            del pool[beam:]
            if not live:
                break
            rows += (beam - len(rows)) * [0]  # fillers: the network takes `beam` rows
            last = tokens[rows].astype(np.int32)
            states = {name: outputs[f"next_{name}"][parents[rows]] for name in states}
        return pool

    def grown(self, live, pool, totals, parents, tokens, attention) -> tuple[list, list]:
        """What goes on, and its places in `tokens`; what ends is added to `pool`."""
        grown, rows = [], []
        for row, (parent, token) in enumerate(zip(parents, tokens, strict=True)):
            before = live[parent]
            token_ids = [*before.token_ids, int(token)]
            looks = [*before.attention, attention[parent]]
            score = totals[parent, token]
            if token == self.settings["end_id"]:
                pool.append(Hypothesis(self.penalised(score, len(token_ids)), token_ids, looks))
            else:
                grown.append(Hypothesis(score, token_ids, looks))
                rows.append(row)
        return grown, rows

    def penalised(self, log_prob: np.float32, length: int) -> np.float32:
        """A log-probability by a power of the length."""
        return log_prob / np.float32(((5 + length) / 6) ** self.settings["length_penalty"])

    def allowed(self, length: int) -> np.ndarray:
        """0 for the tokens that may come next, minus infinity for the others, (vocab,)."""
        added, end = np.zeros(self.vocab, np.float32), self.settings["end_id"]
        added[self.settings["forbidden_ids"]] = -np.inf
        if length < self.settings["min_steps"]:
            added[end] = -np.inf
        if length == self.settings["max_steps"] - 1:
            added[np.arange(len(added)) != end] = -np.inf
        return added


def attention_of_best(found: list[Hypothesis]) -> tuple[np.ndarray, int]:
    """Attention of the best (time, places), zeros after its end, and how many steps those are.

    Time is that of the longest.
    """
    best = found[0]
    padding = max(len(whole.token_ids) for whole in found) - len(best.token_ids)
    return np.array([*best.attention, *padding * [np.zeros_like(best.attention[0])]]), padding
