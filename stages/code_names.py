"""Names of programming languages, and which of them a file's name allows.

`candidates_of_path` gives every language that a name or an extension stands for, the likeliest first;
`language_of_path` the first of them. Extensions of several languages (`AMBIGUOUS`) are decided by what the file holds:
`stages.code_content`. `programming_language` makes spellings of one name equal. Names are lower case with '-', so that
they can be folders.
"""

from __future__ import annotations

import posixpath
import re

EXTENSIONS = {
    # DDE's table of programming languages (Parmar et al. 2024, "Data, Data Everywhere", arXiv:2407.06380), and R and
    # Verilog of Nemotron-4 15B (Parmar et al. 2024, arXiv:2402.16819)
    "javascript": "js mjs cjs jsx es6 jsm", "markdown": "md markdown mkd mdown mdwn mkdn mkdown mdx",
    "java": "java", "python": "py pyi pyw pyt py3 wsgi bzl", "php": "php phtml php3 php4 php5 phps",
    "c": "c h idc", "cpp": "cpp cc cxx c++ cp hpp hh hxx h++ ipp tpp inl tcc ino txx ixx cppm",
    "csharp": "cs csx cake", "go": "go", "html": "html htm xhtml xht shtml", "typescript": "ts tsx mts cts",
    "sql": "sql ddl dml pls plsql pks pkb prc psql mysql", "css": "css",
    "xml": "xml xsl xslt xsd svg wsdl rng xaml csproj vbproj vcxproj fsproj resx plist xmi rss atom dtd xlf "
    "xliff launch urdf nuspec props targets dita ditamap",
    "rust": "rs", "jupyter": "ipynb", "ruby": "rb rake gemspec ru podspec rbw thor jbuilder builder",
    "swift": "swift", "json": "json json5 jsonc geojson webmanifest topojson avsc har",
    "tex": "tex sty cls ltx dtx ins latex bbx cbx", "scala": "scala sc sbt", "yaml": "yaml yml",
    "shell": "sh bash zsh ksh bats command", "dart": "dart", "lua": "lua rockspec",
    "restructuredtext": "rst rest", "perl": "pl pm pod t ph plx psgi", "haskell": "hs lhs hsc",
    "pascal": "pas pp dpr lpr lfm dfm", "assembly": "s asm nasm a51 masm",
    "fortran": "f f77 for ftn f90 f95 f03 f08 fpp fypp", "makefile": "mk mak make am", "julia": "jl",
    "mathematica": "nb wl wls mt wlt", "visual-basic": "vb vbs bas frm vba", "vhdl": "vhd vhdl vhi vho vhs",
    "common-lisp": "lisp lsp cl asd", "cuda": "cu cuh", "systemverilog": "sv svh vhh", "dockerfile": "dockerfile",
    "r": "r rmd rd rsx", "verilog": "v vh veo",
    # others that are met
    "actionscript": "as", "ada": "adb ads ada", "agda": "agda", "algol68": "alg a68", "apex": "trigger",
    "autohotkey": "ahk", "awk": "awk gawk mawk", "ballerina": "bal", "batch": "bat cmd", "beef": "bf", "bibtex": "bib",
    "boo": "boo", "chapel": "chpl", "clojure": "clj cljs cljc edn", "cmake": "cmake", "cobol": "cob cbl cpy",
    "coffeescript": "coffee litcoffee", "coldfusion": "cfm cfc", "crystal": "cr", "cython": "pyx pxd pxi", "d": "d di",
    "diff": "diff patch", "eiffel": "e", "elixir": "ex exs", "elm": "elm", "elvish": "elv",
    "emacs-lisp": "el", "erlang": "erl hrl escript", "euphoria": "eu exw", "f-star": "fst", "factor": "factor",
    "fennel": "fnl", "fsharp": "fs fsi fsx", "forth": "fth 4th", "frege": "fr", "gdscript": "gd", "gettext": "po pot",
    "glsl": "glsl vert frag geom comp tesc tese", "gosu": "gs gsp", "graphql": "graphql gql", "graphviz": "gv dot",
    "groovy": "groovy gradle gvy", "hack": "hack hhi", "haxe": "hx", "hcl": "tf hcl tfvars", "hlsl": "hlsl fx",
    "idris": "idr", "ini": "ini cfg", "io": "io", "isabelle": "thy", "janet": "janet", "jinja": "jinja j2 jinja2",
    "koka": "kk", "kotlin": "kt kts", "lean": "lean", "less": "less", "lex": "l lxx", "livescript": "ls",
    "llvm": "ll", "lolcode": "lol", "m4": "m4 ac", "matlab": "m", "mercury": "moo", "meson": "meson",
    "modula-2": "mod", "mojo": "mojo", "moonscript": "moon", "nim": "nim nims", "nit": "nit", "nix": "nix",
    "objective-c": "mm", "ocaml": "ml mli", "odin": "odin", "opa": "opa", "opencl": "opencl", "pony": "pony",
    "powershell": "ps1 psm1 psd1", "processing": "pde", "prolog": "pro prolog", "properties": "properties",
    "proto": "proto", "pug": "pug jade", "puppet": "epp", "purescript": "purs", "racket": "rkt rktd scrbl",
    "raku": "raku rakumod pm6 p6", "reason": "re rei", "red": "red", "rexx": "rexx", "ring": "ring", "roff": "roff man",
    "sas": "sas", "sass": "sass", "scheme": "scm ss sld sps", "scilab": "sce sci", "scss": "scss", "shen": "shen",
    "smalltalk": "st", "smt": "smt smt2", "solidity": "sol", "sparql": "sparql rq", "standard-ml": "sml",
    "stan": "stan", "stata": "do ado", "stylus": "styl", "svelte": "svelte", "tcl": "tcl tk", "thrift": "thrift",
    "toml": "toml", "turtle": "ttl", "twig": "twig", "vala": "vala vapi", "vimscript": "vim", "vue": "vue",
    "web-ontology-language": "owl", "webassembly": "wat wast", "wgsl": "wgsl", "wren": "wren", "yacc": "y yy",
    "zig": "zig",
    "arkscript": "ark", "c2": "c2", "carp": "carp", "chaiscript": "chai", "dg": "dg", "egison": "egi",
    "emojicode": "emojic", "felix": "flx", "flix": "flix", "gluon": "glu", "goby": "gb", "golo": "golo",
    "grain": "gr", "gravity": "gravity", "kitten": "ktn", "lily": "lily", "lobster": "lobster", "mirth": "mth",
    "never": "nev", "pinecone": "pn", "pyret": "arr", "sather": "sa", "wyvern": "wyv",
}  # fmt: skip
"""Language -> its extensions."""

AMBIGUOUS = {
    "alg": "algol68 algol60", "as": "actionscript assembly", "bas": "visual-basic basic", "bf": "brainfuck beef",
    "cl": "common-lisp opencl", "cls": "tex apex visual-basic", "cs": "csharp smalltalk", "d": "d makefile",
    "e": "eiffel euphoria", "ex": "elixir euphoria", "f": "fortran forth", "for": "fortran forth",
    "frag": "glsl javascript", "frm": "visual-basic sql", "fs": "fsharp glsl forth", "gs": "gosu javascript",
    "h": "c cpp objective-c", "hh": "cpp hack", "inc": "php assembly pascal cpp c sql html",
    "l": "lex common-lisp roff", "ll": "llvm lex", "ls": "livescript", "lsp": "common-lisp",
    "m": "matlab objective-c mathematica", "md": "markdown common-lisp", "ml": "ocaml standard-ml",
    "mm": "objective-c xml", "mod": "modula-2 xml", "mt": "mathematica", "pl": "perl prolog raku",
    "pm": "perl raku", "pp": "pascal puppet", "pro": "prolog idl qmake", "props": "xml ini", "php": "php hack",
    "r": "r rebol", "re": "reason cpp", "rs": "rust xml", "s": "assembly", "sc": "scala supercollider",
    "st": "smalltalk html", "t": "perl terra", "ts": "typescript xml", "v": "verilog v coq", "y": "yacc",
    "cfg": "ini", "trigger": "apex shell", "e4x": "javascript",
}  # fmt: skip
"""Extension -> the languages that share it, the one to take where the content has no say first."""

NAMES = {
    "makefile": "makefile", "gnumakefile": "makefile", "makefile.am": "makefile", "makefile.in": "makefile",
    "kbuild": "makefile", "dockerfile": "dockerfile", "containerfile": "dockerfile", "cmakelists.txt": "cmake",
    "rakefile": "ruby", "gemfile": "ruby", "vagrantfile": "ruby", "podfile": "ruby", "guardfile": "ruby",
    "brewfile": "ruby", "fastfile": "ruby", "capfile": "ruby", "berksfile": "ruby", "jenkinsfile": "groovy",
    "sconstruct": "python", "sconscript": "python", "wscript": "python", "snakefile": "python",
    "build": "bazel", "build.bazel": "bazel", "workspace": "bazel", "workspace.bazel": "bazel",
    "meson.build": "meson", "meson_options.txt": "meson", "configure.ac": "m4", "configure.in": "m4",
    "go.mod": "go-module", "go.sum": "go-checksums", "cargo.lock": "toml", "poetry.lock": "toml", "pipfile": "toml",
    "pipfile.lock": "json", "composer.lock": "json", "pubspec.lock": "yaml", ".clang-format": "yaml",
    ".clang-tidy": "yaml", "citation.cff": "yaml", ".bashrc": "shell", ".bash_profile": "shell", ".profile": "shell",
    ".zshrc": "shell", "pkgbuild": "shell", "apkbuild": "shell", ".vimrc": "vimscript", ".emacs": "emacs-lisp",
    ".babelrc": "json", ".eslintrc": "json", ".jshintrc": "json", ".rprofile": "r", "namespace": "r",
    "cpanfile": "perl", "rebar.config": "erlang", "dune": "dune", "dune-project": "dune",
}  # fmt: skip
"""Whole name in lower case -> language."""

PROGRAMMING_LANGUAGES = frozenset(EXTENSIONS) | {
    name for names in AMBIGUOUS.values() for name in names.split()
} | frozenset(NAMES.values())  # fmt: skip

MARKUP = frozenset(
    ("markdown", "restructuredtext", "html", "xml", "tex", "bibtex", "roff", "json", "gettext", "jupyter", "diff")
)
"""Languages in which prose or data are written: a text is not source code for being in one of them."""

_ALIASES = {
    "c++": "cpp", "c#": "csharp", "c-sharp": "csharp", "f#": "fsharp", "f-sharp": "fsharp", "golang": "go",
    "js": "javascript", "ts": "typescript", "tsx": "typescript", "jsx": "javascript", "py": "python",
    "python3": "python", "jupyter-notebook": "jupyter", "ipython-notebook": "jupyter", "rst": "restructuredtext",
    "latex": "tex", "bash": "shell", "sh": "shell", "zsh": "shell", "shellscript": "shell", "viml": "vimscript",
    "vim": "vimscript", "vim-script": "vimscript", "vim-l": "vimscript", "vb": "visual-basic", "vba": "visual-basic",
    "vbscript": "visual-basic", "visual-basic-.net": "visual-basic", "visual-basic-6.0": "visual-basic",
    "vb.net": "visual-basic", "lisp": "common-lisp", "delphi": "pascal", "object-pascal": "pascal",
    "wolfram": "mathematica", "wolfram-language": "mathematica", "objective-c++": "objective-c",
    "objc": "objective-c", "docker": "dockerfile", "make": "makefile", "asm": "assembly", "nasm": "assembly",
    "unix-assembly": "assembly", "fortran-free-form": "fortran", "protocol-buffer": "proto", "protobuf": "proto",
    "html+erb": "html", "html+django": "html", "yml": "yaml", "batchfile": "batch", "octave": "matlab",
    "rlang": "r", "rmarkdown": "r", "xslt": "xml", "svg": "xml", "commodore-basic": "basic", "q-basic": "basic",
    "freebasic": "basic", "standard-ml-(sml)": "standard-ml", "sml": "standard-ml", "el": "emacs-lisp",
    "graphviz-(dot)": "graphviz", "dot": "graphviz", "lucee": "coldfusion", "phix": "euphoria",
    "owl": "web-ontology-language", "roff-manpage": "roff",
    "web-ontology-language-(owl)": "web-ontology-language", "terraform": "hcl",
}  # fmt: skip

_BY_EXTENSION: dict[str, tuple[str, ...]] = {
    extension: (language,) for language, extensions in EXTENSIONS.items() for extension in extensions.split()
} | {extension: tuple(languages.split()) for extension, languages in AMBIGUOUS.items()}

_TEMPLATES = ("in", "tmpl", "tpl", "template", "erb", "dist", "example", "sample")
"""Endings that say that a file is made into another: config.h.in is C. `.erb` alone stays unknown."""


def programming_language(name: str) -> str:
    """One spelling of a name: `C++` -> cpp, `Visual Basic` -> visual-basic. Unknown names stay."""
    slug = re.sub(r"[\s_/\\]+", "-", name.strip().lower())
    return _ALIASES.get(slug, slug) or "other"


def candidates_of_path(path: str) -> tuple[str, ...]:
    """The languages that a source file's name allows, the likeliest first; () where it does not tell."""
    name = posixpath.basename(path).lower()
    if name in NAMES:
        return (NAMES[name],)
    stem, _, extension = name.rpartition(".")
    if stem and extension in _BY_EXTENSION:
        return _BY_EXTENSION[extension]
    if name.startswith(("makefile.", "dockerfile.", "containerfile.")):
        return (NAMES[name.partition(".")[0]],)
    if stem and extension in _TEMPLATES:
        return candidates_of_path(stem)
    return ()


def language_of_path(path: str) -> str | None:
    """The programming language of a source file, None where neither its name nor its extension tells."""
    return next(iter(candidates_of_path(path)), None)
