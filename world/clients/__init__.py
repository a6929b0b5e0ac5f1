"""How layers of other packages are reached: a file for each package, an attribute for each layer."""
