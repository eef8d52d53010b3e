"""The method: an encoder that sees, a decoder that writes, scores, and neighbours beside it."""
