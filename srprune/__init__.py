"""srprune: keep the part of your super-resolution training data that teaches, drop the rest."""
