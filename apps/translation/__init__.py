"""Translation: an LSTM reads a text in one language, another with attention writes it in another.

text (batch,) -> pieces of words (batch, source_time)
    -> translations, best first, and for each piece the attention (batch, target_time, source_time)

Encoder and attention decoder of Luong et al. (2015), https://arxiv.org/abs/1508.04025; by option
without attention and with the source reversed (Sutskever et al. 2014,
https://arxiv.org/abs/1409.3215), or deep and residual (GNMT, Wu et al. 2016,
https://arxiv.org/abs/1609.08144). One network for several target languages: a token before the
source names the language (Johnson et al. 2017, https://arxiv.org/abs/1611.04558).
Differs from the papers: one vocabulary of pieces for all languages, whose vectors are shared by
source, target and output; scaled scores of attention.
"""
