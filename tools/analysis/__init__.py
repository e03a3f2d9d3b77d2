"""What is behind tools/analyze_model.py: parameters, floating-point operations and time."""
