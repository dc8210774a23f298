"""The abstract interpreter of the static pass: it runs a program once over abstract values, in order."""
