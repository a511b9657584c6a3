"""`gristmill lm train`: n-gram language models over SentencePiece pieces, one a language, as KenLM reads them."""
