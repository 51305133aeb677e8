"""For people who write a journal: the contract suite, and a journal and a bus in memory."""
