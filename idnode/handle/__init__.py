"""The Handle wire protocol: the resolver's face for Handle clients, over UDP and TCP (versions 2.1 to 2.11)."""
