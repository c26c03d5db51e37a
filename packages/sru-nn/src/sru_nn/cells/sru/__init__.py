"""The Simple Recurrent Unit: `SRUCell` is one layer, `SRU` a stack of them."""
