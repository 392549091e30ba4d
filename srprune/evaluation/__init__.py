"""The ruler: metrics, protocols, benchmarks. It knows nothing of how a model was made."""
