"""Models, losses, optimizers and loaders with one bug each, marked `# <- sick` on the line to blame."""
