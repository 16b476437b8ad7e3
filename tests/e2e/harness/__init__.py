"""Real servers, the brownout binary, and the questions the tests ask of both."""
