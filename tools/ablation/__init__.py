"""The parts of tools/ablate.py."""
