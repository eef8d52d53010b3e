"""Answer sentence selection: a question and candidate sentences -> the candidates, best first.

question words (batch, question_time), candidate words (batch, candidates, candidate_time)
    -> scores (batch, candidates), attention (batch, candidates, candidate_time)

Compare-aggregate matching on BiLSTM states after Wang & Jiang (2017),
https://arxiv.org/abs/1611.01747; by option the stacked BiLSTM of Wang & Nyberg (2015),
https://aclanthology.org/P15-2116.
Differs from the papers: each word also has whether, and how rare, it stands in the other text; the
question is read once for all its candidates, which the loss takes one by one, not as a list; a
second BiLSTM aggregates, no CNN.
"""
