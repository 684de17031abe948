"""Trials: a scenario is run for a seed, again for many, and a failure is explained: weather, waits, replay."""
