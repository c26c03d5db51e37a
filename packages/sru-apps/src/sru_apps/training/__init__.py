"""What every trainer shares: run folders, recipes, checkpoints, resuming, pictures and summaries."""
