"""What networks and steps are made of: flat weights, optimizers, losses, heads, image layers."""
