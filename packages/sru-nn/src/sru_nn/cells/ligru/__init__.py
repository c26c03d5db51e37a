"""The light GRU and its stabilised form."""
