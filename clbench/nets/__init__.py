"""Parts of networks and training steps: flat weights, optimizers, losses, heads, image layers."""
