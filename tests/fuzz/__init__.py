"""Property tests of everything that reads what strangers send; docs/developing.md tells how to run them for longer."""
