"""Who may connect and what they may do: hooks, tokens, keys, revocations, and limits per address."""
