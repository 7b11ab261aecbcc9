"""One foreign system each; they carry out and report, they decide nothing."""
