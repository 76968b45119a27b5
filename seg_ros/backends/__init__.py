"""Inference engines by name, one file each; imported when one is asked for."""
