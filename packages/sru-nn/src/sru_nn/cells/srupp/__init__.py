"""SRU++: SRU whose projection attends to the whole sequence."""
