"""How documents move: configuration, readers, engine, steps, and what looks into an output."""

if __name__ == "pipeline":  # a checkout on sys.path; gristmill.bare_names says what then
    from gristmill.bare_names import refuse

    refuse(__name__)
