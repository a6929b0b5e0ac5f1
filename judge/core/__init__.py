"""What a verdict is made of: candidate, case, call, bounds."""
