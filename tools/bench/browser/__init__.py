"""How quickly the browser app responds to a person while others edit the same document."""
