"""Bytes by URI, for pipeline and trainer.

    uris        finds and opens what is read: local, s3, gs, hdfs, http, hf; patterns, and what may be shown of a URI
    store       the tree of files below one URI: writing, creating if absent, moving, deleting
    lease       one run at a time on such a tree
    hashing     checksums of what is written, in whole and by block
    retrying    failures of remote storages: tried again, then said in one sentence
    web         files on web servers, by ranges
    hub         datasets of the Hugging Face Hub
    positioned  the base of the files that these read by position
    json_values the type of a JSON value

Imports nothing of this product from outside the package but `gristmill.extras`.
"""
