"""How quickly the browser app answers a person's hand while others edit the same document."""
