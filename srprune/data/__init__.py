"""From a core-set to batches of aligned HR and LR crops."""
