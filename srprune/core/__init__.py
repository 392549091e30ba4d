"""Types, artifacts, config, errors: what everything else stands on."""
