"""Names of languages: what the recipe takes, one code per natural and one name per programming language.

`iso_code` maps labels of fastText's lid.176, locales (`pt_BR`, `sr@latin`) and BCP 47 tags to ISO 639-1, or to ISO
639-3 where there is no two-letter code. `language_of_path` names the programming language of a source file by its
name or extension, `programming_language` makes spellings of one name equal. Names are lower case with '-', so that
they can be folders.
"""

from __future__ import annotations

import posixpath
import re

RECIPE_LANGUAGES = (
    "ar", "az", "bg", "bn", "ca", "cs", "da", "de", "el", "es", "et", "fa", "fi", "fr", "gl", "he", "hi", "hr", "hu",
    "hy", "id", "is", "it", "ja", "ka", "kk", "kn", "ko", "lt", "lv", "mk", "ml", "mr", "ne", "nl", "no", "pl", "pt",
    "ro", "ru", "sk", "sl", "sq", "sr", "sv", "ta", "te", "th", "tr", "uk", "ur", "vi", "zh",
)  # fmt: skip
"""The 53 languages beside English of Nemotron-4 15B (Parmar et al. 2024, arXiv:2402.16819), in ISO 639-1."""

DEFAULT_LANGUAGES = ("en", *RECIPE_LANGUAGES)

_CODES = {
    "nb": "no",  # Norwegian is one macrolanguage in ISO 639 (no = nb + nn); lid.176 trains `no` on Bokmål
    "nn": "no",
    "sh": "hr",  # lid.176's `sh` is Serbo-Croatian in Latin script, its `sr` Serbian in Cyrillic
    "hbs": "hr",
    "cmn": "zh",  # written Chinese in either script and by either region; lid.176 has wuu and yue beside zh
    "yue": "zh",
    "wuu": "zh",
    "lzh": "zh",
    "arz": "ar",  # Egyptian belongs to the macrolanguage ar; lid.176 learned it beside Standard Arabic
    "als": "gsw",  # lid.176 follows Wikipedia, where als is Alemannic; in ISO 639-3 it is Tosk Albanian
    "iw": "he",  # withdrawn codes that software still writes
    "in": "id",
    "ji": "yi",
    "jw": "jv",
    "mo": "ro",
    "fil": "tl",
    "c": "en",  # the POSIX locale
    "posix": "en",
}

_ISO_639_3 = {
    "ara": "ar", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs", "dan": "da", "deu": "de", "ell": "el", "eng": "en",
    "est": "et", "fas": "fa", "fin": "fi", "fra": "fr", "glg": "gl", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu",
    "hye": "hy", "ind": "id", "isl": "is", "ita": "it", "jpn": "ja", "kan": "kn", "kat": "ka", "kaz": "kk", "kor": "ko",
    "lav": "lv", "lit": "lt", "mal": "ml", "mar": "mr", "mkd": "mk", "nep": "ne", "nld": "nl", "nno": "no", "nob": "no",
    "nor": "no", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "slk": "sk", "slv": "sl", "spa": "es", "sqi": "sq",
    "srp": "sr", "swe": "sv", "tam": "ta", "tel": "te", "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "vie": "vi",
    "zho": "zh", "aze": "az",
}  # fmt: skip


def iso_code(label: str) -> str:
    """`label`: a lid.176 label with or without `__label__`, a locale or a BCP 47 tag; region and script are left out.

    A script that decides the language is heeded: Serbian in Latin script stays `sr`.
    """
    code = re.split(r"[_\-@.]", label.strip().removeprefix("__label__").lower(), maxsplit=1)[0]
    return _CODES.get(code) or _ISO_639_3.get(code, code)


_EXTENSIONS = {
    # the 43 of DDE's table of programming languages (Parmar et al. 2024, "Data, Data Everywhere", arXiv:2407.06380)
    "javascript": "js mjs cjs jsx", "markdown": "md markdown mkd", "java": "java", "python": "py pyi pyw",
    "php": "php phtml",
    "c": "c h", "cpp": "cpp cc cxx c++ hpp hh hxx h++ ipp tpp inl", "csharp": "cs csx", "go": "go",
    "html": "html htm xhtml", "typescript": "ts tsx mts cts", "sql": "sql", "css": "css",
    "xml": "xml xsl xslt xsd", "rust": "rs", "jupyter": "ipynb", "ruby": "rb rake gemspec", "swift": "swift",
    "json": "json json5", "tex": "tex sty cls ltx", "scala": "scala sc", "yaml": "yaml yml", "shell": "sh bash zsh ksh",
    "dart": "dart", "lua": "lua", "restructuredtext": "rst rest", "perl": "pl pm pod t ph plx", "haskell": "hs lhs",
    "pascal": "pas pp dpr lpr", "assembly": "s asm nasm", "fortran": "f f77 for ftn f90 f95 f03 f08",
    "makefile": "mk mak",
    "julia": "jl", "mathematica": "nb wl wls", "visual-basic": "vb vbs bas frm", "vhdl": "vhd vhdl",
    "common-lisp": "lisp lsp cl asd", "cuda": "cu cuh", "systemverilog": "sv svh", "dockerfile": "dockerfile",
    "r": "r rmd", "verilog": "v vh",
    # others that are met
    "ada": "adb ads ada", "awk": "awk", "batch": "bat cmd", "bibtex": "bib", "clojure": "clj cljs cljc",
    "cmake": "cmake",
    "cobol": "cob cbl", "coffeescript": "coffee", "crystal": "cr", "cython": "pyx pxd pxi", "d": "d",
    "elixir": "ex exs",
    "elm": "elm", "emacs-lisp": "el", "erlang": "erl hrl", "fsharp": "fs fsi fsx", "glsl": "glsl vert frag",
    "graphql": "graphql gql", "groovy": "groovy gradle", "hcl": "tf hcl", "ini": "ini cfg", "jinja": "jinja j2 jinja2",
    "kotlin": "kt kts", "less": "less", "llvm": "ll", "m4": "m4", "matlab": "m", "nim": "nim", "nix": "nix",
    "objective-c": "mm", "ocaml": "ml mli", "opencl": "opencl", "powershell": "ps1 psm1 psd1", "prolog": "pro prolog",
    "proto": "proto", "racket": "rkt", "sass": "sass", "scheme": "scm ss", "scss": "scss", "solidity": "sol",
    "tcl": "tcl tk", "toml": "toml", "vala": "vala", "vimscript": "vim", "vue": "vue", "zig": "zig",
}  # fmt: skip

PROGRAMMING_LANGUAGES = frozenset(_EXTENSIONS)

_BY_EXTENSION = {
    extension: language for language, extensions in _EXTENSIONS.items() for extension in extensions.split()
}

_BY_NAME = {
    "makefile": "makefile", "gnumakefile": "makefile", "dockerfile": "dockerfile", "containerfile": "dockerfile",
    "cmakelists.txt": "cmake", "rakefile": "ruby", "gemfile": "ruby", "vagrantfile": "ruby", "jenkinsfile": "groovy",
    "sconstruct": "python", "meson.build": "meson", "build.bazel": "bazel", "configure.ac": "m4",
}  # fmt: skip

_ALIASES = {
    "c++": "cpp", "c#": "csharp", "c-sharp": "csharp", "f#": "fsharp", "f-sharp": "fsharp", "golang": "go",
    "js": "javascript",
    "ts": "typescript", "py": "python", "python3": "python", "jupyter-notebook": "jupyter",
    "ipython-notebook": "jupyter",
    "rst": "restructuredtext", "latex": "tex", "bash": "shell", "sh": "shell", "zsh": "shell", "viml": "vimscript",
    "vim-script": "vimscript", "vb": "visual-basic", "visual-basic-.net": "visual-basic", "vb.net": "visual-basic",
    "lisp": "common-lisp", "delphi": "pascal", "object-pascal": "pascal", "wolfram": "mathematica",
    "wolfram-language": "mathematica", "objective-c++": "objective-c", "objc": "objective-c", "docker": "dockerfile",
    "make": "makefile", "asm": "assembly", "fortran-free-form": "fortran", "protocol-buffer": "proto",
    "protobuf": "proto",
    "html+erb": "html", "yml": "yaml", "batchfile": "batch", "octave": "matlab", "rlang": "r",
}  # fmt: skip


def programming_language(name: str) -> str:
    """One spelling of a name: `C++` -> cpp, `Visual Basic` -> visual-basic. Unknown names stay."""
    slug = re.sub(r"[\s_/\\]+", "-", name.strip().lower())
    return _ALIASES.get(slug, slug) or "other"


def language_of_path(path: str) -> str | None:
    """The programming language of a source file, None where neither its name nor its extension tells."""
    name = posixpath.basename(path).lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name.startswith(("makefile.", "dockerfile.")):
        return name.partition(".")[0]
    stem, _, extension = name.rpartition(".")
    return _BY_EXTENSION.get(extension) if stem else None
