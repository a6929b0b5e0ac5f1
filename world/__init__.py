"""Recurrent layers that people ship, judged: who is judged, the clients that reach them, the runner, the page."""
