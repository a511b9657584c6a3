"""The 256k SentencePiece tokenizer: sample, train, encode; and the shard files."""

if __name__ == "tokenizer":  # a checkout on sys.path; gristmill.bare_names says what then
    from gristmill.bare_names import refuse

    refuse(__name__)
