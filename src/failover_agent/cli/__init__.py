"""The commands: the daemon and failoverctl."""
