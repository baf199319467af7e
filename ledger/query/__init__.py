"""Search: filters as values, the languages they are written in, and the plan that answers them."""
