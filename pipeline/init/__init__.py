"""From files to a configuration: what lies there, which of its values are what, and the YAML that reads it."""
