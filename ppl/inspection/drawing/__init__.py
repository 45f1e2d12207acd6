"""Drawing: a form as text and as pictures."""
