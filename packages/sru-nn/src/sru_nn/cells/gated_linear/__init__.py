"""The gated linear RNN: linear attention with a gate for each key."""
