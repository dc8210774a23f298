"""The dynamic pass: measures a model in a child process, the only one that imports torch."""
