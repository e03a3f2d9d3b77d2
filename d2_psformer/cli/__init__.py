"""Commands of the installed package, which import what they need after reading their arguments."""
