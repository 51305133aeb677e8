"""What the process itself needs: logs, metrics, worker processes, memory."""
