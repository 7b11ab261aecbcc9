"""Settlement, checked exhaustively: the real code against a model of a broker, through every order of events."""
