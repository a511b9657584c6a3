"""What columns of data sets are called: by role the whole names, the words of names, and words that say it is another.

The names are those of public collections (FineWeb, Dolma, RedPajama, OSCAR, The Stack, DCLM, C4, WARC headers in JSON),
of crawlers and blog exports, and of other languages than English. Lower case, words joined by `_`; the surest first. A
name alone decides nothing: `pipeline.init.columns` looks at the values too.
"""

from __future__ import annotations

TEXT = (
    "text", "content", "contents", "body", "document", "doc", "article", "full_text",
    "fulltext", "article_body", "body_text", "main_text", "maintext", "main_content", "page_content",
    "page_text", "plain_text", "plaintext", "clean_text", "cleaned_text", "text_content", "content_text",
    "extracted_text", "article_text", "doc_text", "document_text", "markdown", "md", "passage", "story",
    "message", "post", "selftext", "transcript", "transcription", "paragraph", "paragraphs", "code",
    "source_code", "file_content", "raw_text", "raw_content", "abstract",
    "summary", "description", "texte", "texto", "inhalt", "testo",
)  # fmt: skip
"""Names of the text of a document."""
TEXT_WORDS = frozenset({
    "text", "content", "contents", "body", "document", "article", "passage",
})  # fmt: skip
NO_TEXT_WORDS = frozenset({
    "html", "raw", "warc", "headers", "header", "tokens", "token", "ids", "embedding", "hash", "summary",
    "prompt", "query",
})  # fmt: skip

URL = (
    "url", "uri", "page_url", "web_url", "source_url", "document_url", "doc_url", "article_url", "post_url",
    "warc_target_uri", "target_uri", "target_url", "permalink", "canonical_url", "link", "href", "webpage_url",
    "original_url", "requested_url", "website", "web_page", "address", "location",
)  # fmt: skip
URL_WORDS = frozenset({
    "url", "uri", "link", "href", "permalink", "urls",
})  # fmt: skip
NO_URL_WORDS = frozenset({
    "image", "img", "picture", "photo", "thumbnail", "thumb", "logo", "icon", "avatar", "favicon", "repo",
    "repository", "license", "licence", "feed", "rss", "video", "audio", "media", "file", "path", "pdf", "api",
    "profile", "author", "next", "previous", "prev", "parent", "referrer", "referer",
})  # fmt: skip

TIMESTAMP = (
    "timestamp", "date", "datetime", "published", "publish_date", "publication_date", "published_date",
    "date_published", "published_at", "date_publish", "pub_date", "pubdate", "publication_time", "posted_at",
    "posted", "created", "created_at", "created_date", "date_created", "creation_date", "creation_time",
    "created_utc", "created_timestamp", "time", "warc_date", "crawl_date", "crawl_time", "crawled_at",
    "date_crawled", "crawled", "fetch_time", "fetched_at", "fetch_date", "retrieved", "retrieved_at",
    "date_download", "download_date", "scraped_at", "capture_date", "revision_date",
    "committer_date", "commit_date", "author_date", "visit_date", "last_modified", "modified", "modified_at", "updated",
    "updated_at", "update_date", "last_edited", "added", "year",
    "publication_year", "issued", "day", "when",
)  # fmt: skip
TIMESTAMP_WORDS = frozenset({
    "date", "datetime", "timestamp", "time", "at", "dt", "published", "created", "year", "utc",
})  # fmt: skip
NO_TIMESTAMP_WORDS = frozenset({
    "birth", "death", "event", "expiry", "expires", "deadline", "gha", "count", "min", "max", "duration",
    "length", "reading",
})  # fmt: skip

PROGRAMMING_LANGUAGE = (
    "programming_language", "code_language", "lang", "language", "prog_lang", "lang_name", "repo_language",
)  # fmt: skip
PROGRAMMING_LANGUAGE_WORDS = frozenset({
    "language", "lang",
})  # fmt: skip
NO_PROGRAMMING_LANGUAGE_WORDS = frozenset({
    "gha", "script", "natural",
})  # fmt: skip

LANGUAGE = (
    "language", "lang", "language_code", "lang_code", "languages", "lng", "locale", "iso_code", "iso_639_1",
    "iso_639_3", "detected_language", "document_language", "text_language", "language_id", "lang_id",
    "identified_language", "langid", "lid", "metadata_identification_label", "identification_label",
    "meta_identification_label", "warc_identified_content_language", "idioma", "langue", "sprache",
)  # fmt: skip
LANGUAGE_WORDS = frozenset({
    "language", "lang", "locale", "langid", "lid",
})  # fmt: skip
NO_LANGUAGE_WORDS = frozenset({
    "programming", "score", "prob", "source", "target",
})  # fmt: skip

TITLE = (
    "title", "headline", "page_title", "article_title", "document_title", "doc_title", "book_title",
    "short_book_title", "post_title", "heading", "subject", "titel", "titre", "titulo",
)  # fmt: skip
TITLE_WORDS = frozenset({
    "title", "headline",
})  # fmt: skip
NO_TITLE_WORDS = frozenset({
    "author", "journal", "id", "section",
})  # fmt: skip

LICENSE = (
    "license", "licence", "licenses", "licences", "detected_licenses", "max_stars_repo_licenses",
    "license_name", "license_id", "spdx", "spdx_license", "rights", "license_type", "copyright_license",
)  # fmt: skip
LICENSE_WORDS = frozenset({
    "license", "licence", "licenses", "licences", "spdx",
})  # fmt: skip
NO_LICENSE_WORDS = frozenset({
    "gha", "issues", "forks", "url",
})  # fmt: skip

ID = (
    "id", "doc_id", "document_id", "docid", "uid", "uuid", "guid", "_id", "identifier", "record_id",
    "article_id", "page_id", "pageid", "post_id", "text_id", "example_id", "item_id", "sample_id", "row_id",
    "warc_record_id", "blob_id", "content_id", "hexsha", "sha", "sha1", "sha256", "md5", "hash", "content_hash",
    "digest", "key", "doc_key", "paper_id", "arxiv_id", "doi", "corpusid", "pmcid", "pmid", "isbn", "docno",
    "doc_no", "number", "accession",
)  # fmt: skip
ID_WORDS = frozenset({
    "id", "uid", "uuid", "guid", "identifier", "key", "hash", "sha1", "sha256", "md5", "hexsha", "digest",
    "docno", "ident",
})  # fmt: skip
NO_ID_WORDS = frozenset({
    "user", "author", "parent", "repo", "repository", "snapshot", "revision", "directory", "github", "session",
    "group", "cluster", "dump", "crawl", "gha", "max", "head", "warcinfo", "refers", "concurrent", "block",
    "payload", "ip", "language", "lang", "label", "category", "class", "type",
})  # fmt: skip

CATEGORY = (
    "category", "subset", "source", "genre", "topic", "domain", "red_pajama_subset", "corpus", "collection",
)  # fmt: skip
"""Of what divides a collection into a few parts."""

LANGUAGE_NAMES = frozenset({
    "arabic", "bengali", "bulgarian", "catalan", "chinese", "croatian", "czech", "danish", "dutch", "english",
    "estonian", "finnish", "french", "german", "greek", "hebrew", "hindi", "hungarian", "indonesian", "italian",
    "japanese", "korean", "latvian", "lithuanian", "norwegian", "persian", "polish", "portuguese", "romanian",
    "russian", "serbian", "slovak", "slovenian", "spanish", "swedish", "thai", "turkish", "ukrainian", "urdu",
    "vietnamese",
})  # fmt: skip
"""English names of natural languages, as values."""
OTHER_LANGUAGE_CODES = frozenset({
    "af", "als", "am", "an", "arz", "as", "ast", "av", "ba", "bar", "bcl", "be", "bh", "bho", "bo", "bpy", "br",
    "bs", "bxr", "cbk", "ce", "ceb", "ckb", "co", "cv", "cy", "diq", "dsb", "dv", "eml", "eo", "eu", "frr",
    "fy", "ga", "gd", "gn", "gom", "gsw", "gu", "gv", "ha", "hif", "hsb", "ht", "ia", "ie", "ilo", "io", "jbo",
    "jv", "km", "krc", "ku", "kv", "kw", "ky", "la", "lb", "lez", "li", "lmo", "lo", "lrc", "mai", "mg", "mhr",
    "min", "mn", "mrj", "ms", "mt", "mwl", "my", "myv", "mzn", "nah", "nap", "nds", "new", "oc", "or", "os",
    "pa", "pam", "pfl", "pms", "pnb", "ps", "qu", "rm", "rue", "sa", "sah", "sc", "scn", "sco", "sd", "si",
    "so", "su", "sw", "tg", "tk", "tl", "tt", "tyv", "ug", "uz", "vec", "vep", "vls", "vo", "wa", "war", "xal",
    "xh", "xmf", "yi", "yo", "zu", "unknown", "und", "mul",
})  # fmt: skip
"""Codes that lid.176 has beside those of the recipe's languages, and those that say that nobody knows."""
