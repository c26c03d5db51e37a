"""Translation of sentences by recurrent networks."""
