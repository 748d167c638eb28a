"""Files written whole, hashes, tensor files, and what is known of the machine."""
