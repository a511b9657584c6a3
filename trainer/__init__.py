"""Nemotron-4 on token shards: model, parallelism, data, checkpoints, loop, evaluation."""

if __name__ == "trainer":  # a checkout on sys.path; gristmill.bare_names says what then
    from gristmill.bare_names import refuse

    refuse(__name__)
