"""Parts shared by the applications: imports none of them, takes plain keywords and no config."""
