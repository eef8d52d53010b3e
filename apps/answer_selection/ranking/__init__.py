"""How candidates are ranked: words, networks, agreement, rivals, metrics and pictures."""
