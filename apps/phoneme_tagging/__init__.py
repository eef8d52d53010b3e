"""Phoneme tagging: a waveform -> the phone of every 10 ms, and the phones with their times.

waveform float32 (batch, samples) at 16 kHz -> features (batch, frames, dim)
    -> logits (batch, frames, choices) -> phones by Viterbi decoding (batch, frames)

Bidirectional LSTM of Graves & Schmidhuber (2005), https://doi.org/10.1016/j.neunet.2005.06.042.
Differs from the paper: 40 log-mel energies (or cepstra 1 to 12) with log energy and two
derivatives, where it has cepstra and one; Adam in place of plain gradient descent; dropout; speech
played at changing speeds, and input noise only by option; decoding with phone bigrams.
"""
