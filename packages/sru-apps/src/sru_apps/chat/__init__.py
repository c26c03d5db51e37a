"""Chat: answer what a user says, learnt from dialogues."""
