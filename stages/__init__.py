"""What happens to documents, one file a stage: columns in, columns out."""

if __name__ == "stages":  # a checkout on sys.path; gristmill.bare_names says what then
    from pathlib import Path

    from gristmill.bare_names import hand_over

    hand_over(__name__, Path(__file__).parent)
