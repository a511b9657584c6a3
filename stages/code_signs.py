"""Signs of programming languages: weighted patterns that tell a text's language where its name does not.

Patterns are RE2's with `^` and `$` at lines, in which a space stands for one or more spaces and tabs, `·` for any
number of them: `regex` gives what is searched for. A sign counts once, however often it occurs; a negative weight
speaks against a language. Signs and weights are this project's own.
"""

SIGNS: dict[str, tuple[tuple[int, str], ...]] = {
    "c": (
        (2, r"^·#·include·[<\"][\w/.-]+\.h[>\"]"), (2, r"^·#·(?:define|ifndef|ifdef)\b"),
        (1, r"^·(?:static )?(?:void|int|char|unsigned)[\x20\t*]+\w+·\([^;{]*\)"),
        (1, r"^·typedef (?:struct|enum|union)\b"), (1, r"\b(?:printf|malloc|memcpy|sizeof)·\("), (1, r"\bextern \"C\""),
        (1, r"\bint main·\("),
    ),
    "cpp": (
        (3, r"^·template·<"), (3, r"\bstd::\w"), (3, r"^·(?:inline )?namespace\b[^;=]*(?:\{|$)"),
        (3, r"^·using (?:namespace )?[\w:]+·(?:=[^;]*)?;"), (3, r"^·(?:public|private|protected)·:"),
        (2, r"\b(?:static_cast|dynamic_cast|reinterpret_cast|const_cast)·<"),
        (3, r"^·class \w+(?: \w+)?(?: final)?·(?::·(?:public|private|virtual|protected)\b[^;]*)?(?:\{|$)"),
        (3, r"\bvirtual [\w~:<>*&\x20]+\("), (2, r"^·#·include·<(?:\w+)>"), (2, r"\b\w+::~?\w+·\("),
        (2, r"\b(?:nullptr|constexpr|noexcept|decltype)\b"), (1, r"\boperator·(?:[-+*/=<>!&|^%\[(]|new|delete)"),
    ),
    "objective-c": (
        (4, r"^·@(?:interface|implementation|protocol|end|property|synthesize|class|import)\b"),
        (3, r"^·#·import·[<\"]"), (2, r"@\"|\bNS[A-Z]\w+"), (2, r"^[-+]·\([\w\x20\t*]+\)·\w+"),
    ),
    "cuda": ((9, r"\b__(?:global|device|shared|constant)__\b"), (3, r"<<<[^<>]*>>>"), (3, r"\bcuda[A-Z]\w+·\(")),
    "opencl": (
        (4, r"\b(?:__kernel|kernel) (?:__attribute__[^\n]*)?void\b"), (3, r"\b(?:__global|__local|get_global_id)\b"),
    ),
    "java": (
        (3, r"^·package [\w.]+;"), (3, r"^·import (?:static )?[\w.]+(?:\.\*)?;"),
        (2, r"\bpublic (?:final |abstract |static )*(?:class|interface|enum|record) \w+"),
        (1, r"^·@(?:Override|Test|Deprecated)\b"), (1, r"\bpublic static void main·\(String"),
    ),
    "csharp": (
        (4, r"^·using (?:System|Microsoft|Unity\w*)[\w.]*;"), (2, r"^·namespace [\w.]+·[;{]?\s*$"), (2, r"\{·get;"),
        (2, r"\bConsole\.(?:Write|Read)"), (1, r"\bpublic (?:static |sealed |partial )*(?:class|struct|interface)\b"),
        (1, r"\bstring\[\] args\b"),
    ),
    "smalltalk": (
        (3, r"^!\w+[^\n]*!\s*$"), (2, r"\b(?:ifTrue|ifFalse|subclass|printNl|displayNl|timesRepeat)\b:?"),
        (1, r"\|·\w+(?: \w+)*·\|"), (1, r"\^·self\b"),
    ),
    "python": (
        (2, r"^·def \w+·\([^\n]*"), (3, r"^·(?:async )?def \w+\([^)]*\)[^\n]*:·(?:#.*)?$"),
        (2, r"^·from [\w.]+ import[\x20\t]"), (1, r"^import [\w.]+(?: as \w+)?·$"),
        (2, r"^·class \w+(?:\([^)]*\))?:·$"), (1, r"^·(?:if|for|while|elif|else|try|except|with)\b[^\n]*:·$"),
        (2, r"__name__·==·['\"]__main__"), (1, r"\bself\.\w"), (1, r"\bprint\("),
    ),
    "cython": ((5, r"^·(?:cdef|cpdef|cimport|from \S+ cimport)\b"),),
    "ruby": (
        (3, r"^·def [\w.?!=]+(?:\([^)\n]*\))?·$"), (2, r"^·end·$"),
        (2, r"^·(?:require|require_relative|gem|attr_\w+|include) ['\":A-Z]"), (1, r"\bdo·\|[^|\n]+\|"),
        (1, r"^·(?:module|class) [A-Z]\w*(?:·<·[\w:]+)?·$"), (1, r"@\w+·\|?\|?="),
    ),
    "crystal": ((4, r"^·(?:lib|fun|require \"\./)\b"), (2, r"\b(?:Int32|Float64|Nil|String)\b·(?:\||\)|=|\z)")),
    "go": (
        (4, r"^package \w+·(?://.*)?$"), (3, r"^func (?:\([^)]*\)·)?\w+(?:\[[^\]]*\])?\("), (2, r":="),
        (2, r"^import (?:\(|\")"), (1, r"^type \w+ (?:struct|interface)\b"),
    ),
    "rust": (
        (3, r"^·(?:pub(?:\([^)]*\))? )?(?:async |unsafe |const )*fn \w+[^;{\n]*"), (3, r"^·(?:pub )?use (?:\w+::)+"),
        (2, r"\blet mut\b"), (2, r"^·#!?\[\w+"), (2, r"\b(?:println|format|vec|assert_eq|panic)!\s*[\[(]"),
        (2, r"^·impl(?:<[^>]*>)? "), (1, r"->·(?:Self|Option|Result|&)"),
    ),
    "v": (
        (4, r"^(?:pub )?fn (?:\([^)]*\)·)?\w+\("), (2, r"^(?:module|import) [\w.]+·$"), (2, r":="), (1, r"\bprintln\("),
    ),
    "verilog": (
        (4, r"^·(?:end)?module\b"), (3, r"\balways·@"),
        (2, r"^·(?:input|output|inout|wire|reg|assign|parameter|localparam)\b"),
        (2, r"^·`(?:include|define|timescale|ifdef|ifndef)\b"),
    ),
    "systemverilog": (
        (5, r"\balways_(?:ff|comb|latch)\b"),
        (4, r"^·(?:class \w+ extends \w+|endclass|endpackage|endinterface|endfunction|endtask|covergroup|import"
         r" \w+::\*;)"),
        (3, r"\blogic\b"), (2, r"`uvm_\w+"), (2, r"^·(?:end)?module\b"), (1, r"^·`(?:include|define|ifndef)\b"),
    ),
    "coq": ((4, r"^·(?:Require (?:Import|Export)|Theorem|Lemma|Proof|Qed|Fixpoint|Inductive|Definition)\b"),),
    "vhdl": (
        (4, r"(?i)^·(?:entity|architecture|library ieee|use ieee\.)"), (2, r"(?i)\bstd_u?logic(?:_vector)?\b"),
        (2, r"(?i)\bend (?:process|architecture|entity|component|if|generate)\b"), (1, r"(?i)\bdownto\b"),
    ),
    "javascript": (
        (2, r"\b(?:const|let|var) [\w${[]"), (2, r"\bfunction\b·\*?·\w*·\("),
        (2, r"\brequire\(['\"]|\bmodule\.exports\b"), (1, r"=>·[\[({\w]"), (1, r"\b(?:document|window|console)\.\w"),
        (2, r"^·import[\x20\t][^\n]*[\x20\t]from ['\"]"), (1, r"^·export (?:default|const|function|class)\b"),
        (1, r"===|!=="),
    ),
    "typescript": (
        (3, r"\b(?:const|let|var) \w+·:·[\w<>\[\]|{\x20]+="),
        (3, r"^·(?:export )?(?:interface|type|enum|declare|abstract class|namespace) \w+"),
        (2, r"\)·:·(?:void|string|number|boolean|any|Promise|Observable|never|unknown)\b"),
        (2, r"\b\w+\??·:·(?:string|number|boolean|any|unknown|void)\b"),
        (2, r"^·import[\x20\t][^\n]*[\x20\t]from ['\"]"), (2, r"\b(?:const|let) [\w${[]"), (1, r"=>·[\[({\w]"),
        (2, r"\bfunction\b·\w*·(?:<[^>]*>)?·\("), (1, r"^·export (?:default|const|function|class)\b"), (1, r"===|!=="),
        (1, r"^·(?:private|public|readonly|protected) \w+"), (2, r"\bas (?:const|any|unknown|string)\b"),
    ),
    "vue": ((5, r"^<(?:template|script setup)[\x20>]"), (2, r"\bv-(?:if|for|bind|model|on)\b")),
    "php": ((6, r"<\?(?:php\b|=)"), (1, r"\$this->"), (1, r"^·namespace [\w\\]+;")),
    "hack": ((6, r"<\?hh\b"), (4, r"^·<<__EntryPoint>>")),
    "html": (
        (3, r"(?i)<(?:html|head|body|div|span|p|table|ul|script|a|h[1-6])[\x20>]"),
        (2, r"(?i)</(?:div|p|body|html|a|ul|li|table|h[1-6])>"), (1, r"(?i)\bhref=[\"']"),
    ),
    "xml": (
        (3, r"^·<[\w-]+:[\w-]+[\x20\t>/]|\bxmlns(?::\w+)?="), (3, r"<!DOCTYPE (?:TS|xml|svg|plist)"),
        (2, r"^\s*<(?:\w|!--|!\[CDATA)"), (1, r"^·</[\w:-]+>·$"),
    ),
    "css": (
        (3, r"^·[.#@:\w\[][^{}\n;]*\{·(?:\n·[\w-]+·:[^;\n]+;)?"),
        (2, r"^·(?:color|margin|padding|font-size|font-family|display|width|height|border"
         r"|background)(?:-\w+)*·:·[^;{}\n]+;"),
        (1, r"^·@(?:media|import|font-face|charset)\b"),
    ),
    "scss": (
        (4, r"^·@(?:include|mixin|extend|use|function|each|if|return)\b"), (4, r"^·\$[\w-]+·:[^;\n]*;"),
        (2, r"^·&[:.\w-]"), (2, r"^·[\w-]+·:·[^;{}\n]+;"),
    ),
    "sql": (
        (4, r"(?i)^·(?:select\b.*(?:\bfrom\b|$)|insert into|create (?:or replace )?(?:temp\w* )?(?:table|view"
         r"|function|index|database|type|procedure|trigger|schema|role)|alter table|drop (?:table|view|function"
         r"|index)|delete from)\b"),
        (2, r"(?i);·$"), (1, r"^--"), (1, r"(?i)\b(?:varchar|primary key|not null|where)\b"),
    ),
    "json": ((6, r"(?s)\A\s*\{\s*(?:\"(?:[^\"\\]|\\.)*\"\s*:|\})"), (5, r"\A\s*\[\s*(?:\{\s*\"|\"|-?\d|\[)")),
    "yaml": (
        (3, r"\A---·(?:#.*)?\n"), (2, r"^[\w-]+:·(?:$|[\w'\"\[{|>*&/.$-])"),
        (2, r"\A(?:·(?:#[^\n]*)?\n)*[\w-]+:[\x20\t\n]"), (2, r"^·- [\w-]+:[\x20\t]"), (1, r"^ [\w-]+: [^\s{]"),
        (-4, r"[;{]·$"),
    ),
    "toml": ((3, r"^\[{1,2}[\w.\"-]+\]{1,2}·(?:#.*)?$"), (3, r"^[\w-]+·=·(?:[\"'\[{]|true\b|false\b|\d)")),
    "ini": ((3, r"^\[[^\]\n]+\]·$"), (2, r"^[\w\x20.-]+·=·[^\s\"'\[{]")),
    "markdown": (
        (3, r"^#{1,6} \S"), (3, r"\[[^\]\n]+\]\([^)\n]+\)"), (2, r"^```"), (1, r"^·[-*+] \S"), (1, r"\*\*[^*\n]+\*\*"),
        (1, r"(?s)\A---\n(?:[\w-]+:[^\n]*\n)+.*?\n---\n"),
    ),
    "restructuredtext": (
        (4, r"^\.\. (?:[\w-]+::|_[^:\n]+:)"), (3, r"^[^\n]+\n(?:={4,}|-{4,}|~{4,}|\*{4,}|\^{4,}|\"{4,})·$"),
        (2, r":(?:ref|class|func|doc|meth|mod|math):`"), (1, r"``[^`\n]+``"),
    ),
    "tex": (
        (4, r"\\(?:documentclass|usepackage|begin\{|section|chapter|newcommand|providecommand|ProvidesPackage"
         r"|ProvidesClass|NeedsTeXFormat|input\{)"),
        (2, r"\\(?:end\{|label\{|ref\{|cite\{|emph\{|def\\)"),
    ),
    "bibtex": ((6, r"(?i)^·@(?:article|book|inproceedings|misc|techreport|phdthesis|online)·\{"),),
    "apex": (
        (3, r"(?i)\b(?:with|without) sharing class\b|\btrigger \w+ on\b"),
        (2, r"(?i)\bpublic (?:virtual |abstract )?class\b|@isTest|\bSystem\.(?:debug|assert)"),
    ),
    "visual-basic": (
        (3, r"(?i)^·(?:imports \w|attribute vb_|option (?:explicit|strict))"),
        (3, r"(?i)^·(?:(?:public|private|friend|shared) )*(?:sub|function|property|module|class) \w+"),
        (3, r"(?i)^·end (?:sub|function|if|module|class|property|select|type)\b"),
        (2, r"(?i)^·dim \w+[^\n]*[\x20\t]as \w+"),
    ),
    "basic": (
        (5, r"(?i)^·\d{1,5} (?:rem|print|let|goto|gosub|for|next|if|dim|input|end|data|read|poke|open|get)\b"),
        (1, r"(?i)^·(?:goto|gosub) \d+"),
    ),
    "shell": (
        (3, r"^·(?:if|elif|while) (?:!?·\[|test\b)[^\n]*"), (2, r"^·(?:fi|done|esac)\b"), (2, r"\$\{?\w+\}?"),
        (1, r"^·(?:echo|export|set|cd|source|exit|mkdir|rm|cp|sudo)\b"), (2, r"^·(?:function )?\w+·\(\)·\{?·$"),
        (1, r";·then\b"),
    ),
    "powershell": (
        (3, r"(?i)^·(?:function \w+-\w+|param·\()"), (3, r"\b(?:Write|Get|Set|New|Add|Remove|Import|Invoke)-[A-Z]\w+"),
        (2, r"(?i)[\x20\t]-(?:eq|ne|lt|gt|like|match)[\x20\t]"), (1, r"^·\$\w+·="),
    ),
    "batch": ((3, r"(?i)^·@?echo off\b"), (2, r"(?i)^·(?:rem|setlocal|goto|call|set \w+=)"), (2, r"%\w+%|%~")),
    "makefile": (
        (4, r"^[\w.%/$(){}\x20-]+:(?:[^=\n][^\n]*)?\n\t"), (2, r"^\.PHONY·:"), (2, r"\$\([\w@<^+-]+\)"),
        (1, r"^[\w-]+·[:+?]?="),
    ),
    "cmake": (
        (5, r"(?i)^·(?:cmake_minimum_required|project|add_executable|add_library|target_link_libraries"
         r"|set_target_properties|find_package|target_include_directories|include_directories|add_subdirectory"
         r"|add_test|install)·\("),
        (2, r"(?i)^·(?:set|if|endif|foreach|endforeach|message|list|string|macro|function)·\("),
    ),
    "dockerfile": ((5, r"^FROM [\w./:@$-]+"), (3, r"^(?:RUN|CMD|ENTRYPOINT|WORKDIR|COPY|ENV|EXPOSE) \S")),
    "perl": (
        (3, r"^·use (?:strict|warnings|utf8|lib|base|parent|Mojo|v?5)\b"), (3, r"^·(?:my|our|local) [\$@%(]"),
        (2, r"^·sub \w+[^;\n]*\{?"), (2, r"^·package [\w:]+;"), (2, r"^=(?:head\d|pod|cut|over|encoding)\b"),
        (1, r"\$[\w:]+->|=~"), (1, r"^1;·$"),
    ),
    "raku": (
        (4, r"^·(?:use v6|unit (?:class|module)|multi (?:sub|method)|sub MAIN|method \w+)"),
        (2, r"\bsay |\$\.\w+|->\x20\$\w+"),
    ),
    "prolog": (
        (4, r"^·:-·(?:module|use_module|initialization|dynamic|ensure_loaded|set_prolog_flag)?"),
        (4, r"^[a-z]\w*(?:\([^)\n]*\))?·:-"), (1, r"^[a-z]\w*\([^)\n]*\)\.·$"), (1, r"^%"),
    ),
    "terra": ((5, r"^·(?:terra \w+|terralib\.|local \w+·=·terralib)"), (3, r"terralib")),
    "lua": (
        (3, r"^·local (?:function )?\w+"), (2, r"^·(?:local )?function [\w.:]+·\([^)]*\)·$"),
        (2, r"\bthen\b·$|\bthen·$"), (1, r"^·end\b"), (1, r"\.\.·[\"\w]"), (1, r"^·--"),
    ),
    "r": (
        (3, r"<-·function·\("), (2, r"^·[\w.]+·<-[\x20\t]"), (2, r"^·(?:library|require)\([\w\"']+\)"), (1, r"^#'"),
        (1, r"\bc\("),
    ),
    "rebol": ((5, r"(?i)\bREBOL·\["),),
    "julia": (
        (2, r"^·(?:using|import) [A-Z][\w.,\x20:]*$"), (2, r"^·function [\w!.]+(?:\{[^}]*\})?\([^\n]*\)[^\n]*$"),
        (2, r"^·end\b·(?:#.*)?$"), (2, r"::[A-Z]\w+"), (2, r"@(?:test|testset|inbounds|inline|assert)\b"),
        (2, r"^·(?:mutable )?struct \w+[^{;]*$"),
    ),
    "matlab": (
        (3, r"^·function\b[^\n]*=·\w+·(?:\(|$)|^·function \w+·(?:\([^)]*\))?·;?·$"), (2, r"^·%"),
        (2, r"^·end(?:function|if|for|while)?·;?·$"), (1, r"\b(?:disp|fprintf|printf|zeros|ones|numel|argv)·\("),
        (1, r"\.\.\.·\z"), (1, r"^##?\x20"),
    ),
    "mathematica": (
        (4, r"^\(\*·(?:Content-type|::|Wolfram|Created)"),
        (3, r"\b(?:Module|Block|With|Table|Map|Function|Plot|Print|Length|Range)\["),
        (2, r"\b\w+\[\w*_\w*(?:,[^\]]*)?\]·:?="), (1, r":>|/@|->"),
    ),
    "haskell": (
        (4, r"^module [A-Z][\w.]*"), (3, r"^import (?:qualified )?[A-Z][\w.]*"), (3, r"^[a-z][\w']*·::[\x20\t]"),
        (1, r"\{-#?"), (1, r"^data [A-Z]"), (1, r"<-|->"),
    ),
    "scala": (
        (3, r"^·(?:case )?object \w+"), (2, r"^·import [\w.]+(?:\.(?:_|\{[^}]*\}))?·$"), (2, r"^package [\w.]+·$"),
        (2, r"^·(?:override |private )*def \w+[^\n]*=·\{?·$"), (1, r"\bval \w+"),
        (1, r"^·(?:sealed )?(?:case class|trait) \w+"),
    ),
    "kotlin": (
        (3, r"^·(?:\w+ )*fun (?:<[^>]*>·)?[\w.]+\("), (1, r"\bva[lr] \w+"), (2, r"^import [\w.]+·$"),
        (1, r"\?:|!!|\?\."),
    ),
    "swift": (
        (2, r"^import (?:Foundation|UIKit|SwiftUI)\b"), (3, r"^·(?:\w+ )*func \w+(?:<[^>]*>)?\([^\n]*"),
        (2, r"\b(?:let|var) \w+·(?::·\[?\w+[\]?!]?)?·="), (2, r"\bguard let\b|\bif let\b|\bCommandLine\.arguments"),
    ),
    "dart": ((4, r"^import '(?:dart|package):"), (2, r"\bvoid main\("), (1, r"\bfinal \w+"), (1, r"@override\b")),
    "groovy": (
        (2, r"\bdef \w+·(?:=|\()"), (2, r"^·(?:apply plugin:|plugins·\{|dependencies·\{|pipeline·\{)"),
        (1, r"\bprintln\b"),
    ),
    "fortran": (
        (3, r"(?i)^·(?:program|(?:end·)?(?:module|subroutine|program|function|interface))\b(?: \w+)?·(?:\(|$|!)"),
        (2, r"(?i)^·implicit none\b"), (3, r"(?i)^·(?:integer|real|character|logical|complex|type)[^\n]*::"),
        (2, r"(?i)^·(?:call \w+|use \w+|end·do|end·if|write·\(|print·\*)"),
        (2, r"(?i)^\x20{6}(?:integer|real|double|call|do|if)\b"),
    ),
    "forth": (
        (3, r"^·: \S+[^\n]*"), (2, r"[\x20\t];·$"), (1, r"\(\s[^()\n]*--[^()\n]*\)"),
        (1, r"(?i)\b(?:dup|swap|drop|over|rot)\b"),
    ),
    "pascal": (
        (4, r"(?i)^·(?:program|unit) \w+·(?:\([^)]*\))?;"), (2, r"(?i)\bbegin\b"),
        (2, r"(?i)^·(?:uses \w|(?:procedure|function) \w+)"), (2, r":="), (2, r"(?i)\bend[.;]"),
        (1, r"(?i)\bwriteln\b"),
    ),
    "modula-2": ((5, r"^·(?:IMPLEMENTATION |DEFINITION )?MODULE \w+"), (2, r"^·FROM \w+ IMPORT\b"), (1, r"\bBEGIN\b")),
    "puppet": ((4, r"^·(?:class|define|node) [\w:'\"]+[^\n]*\{"), (2, r"=>·"), (1, r"\bensure\b")),
    "ada": (
        (4, r"(?i)^·(?:with [\w.]+;|procedure \w+ is|package (?:body )?[\w.]+ is)"), (2, r"(?i)\bend \w+;"), (1, r":="),
    ),
    "assembly": (
        (4, r"(?i)^·\.(?:globl|global|text|data|section|align|byte|word|type|size)\b"),
        (3, r"(?i)^·(?:section|segment) \.?\w+|\b(?:proc|endp)\b"),
        (3, r"(?i)^·(?:\w+:)?·(?:movq?|mov[lbw]|push[lq]?|pop[lq]?|jmp|jnz|jne|je|call|ret|lda|ldx|sta|ldr|str|addi?"
         r"|subl?|xorl?|li|la|sw|lw|bne|int) [%$\w\[#]"),
        (1, r"^·\w+:·(?:[;#/].*)?$"),
    ),
    "common-lisp": (
        (4, r"(?i)^·\((?:defun|defmacro|defpackage|in-package|defclass|defmethod|defvar|defparameter|defgeneric"
         r"|asdf:defsystem|defsystem|defconstant)\b"),
        (2, r"^·;;"), (1, r"(?i)\((?:let|format t|setf|loop)\b"),
    ),
    "emacs-lisp": ((5, r"\((?:provide|require) '|\(interactive\b|\(defcustom\b"), (2, r"\(defun\b")),
    "scheme": ((4, r"^·\(define\b"), (1, r"\((?:lambda|let\*?|cond)\b"), (2, r"\(display\b|#t\b|#f\b")),
    "clojure": ((5, r"^·\((?:ns|defn-?|def)[\x20\t]"), (1, r"\[[\w&\x20-]*\]")),
    "ocaml": (
        (3, r"^·let (?:rec )?[\w']+[^\n]*="), (2, r"^·open [A-Z]"), (2, r"\bmatch\b[^\n]*\bwith\b"), (1, r";;·$"),
        (1, r"\(\*"), (2, r"^·(?:val|external) \w+·:|\bPrintf\.|\bList\."),
    ),
    "standard-ml": ((4, r"^·(?:fun|structure|signature|functor|val) \w+[^\n]*="), (1, r"\bfn \w+·=>")),
    "fsharp": (
        (3, r"^·let (?:rec |mutable |inline )?\w+[^\n]*="), (3, r"^·open System|\[<EntryPoint>\]"), (2, r"\|>"),
        (1, r"\bprintfn\b"),
    ),
    "glsl": (
        (4, r"^·#version \d+|\bgl_(?:Position|FragColor|FragCoord|Vertex)\b"),
        (2, r"\b(?:uniform|varying|attribute|in|out) (?:\w+ )?(?:vec[234]|mat[234]|sampler\w+|float)\b"),
    ),
    "erlang": ((5, r"^-(?:module|export|include|behaviou?r|record|spec)·\("), (1, r"->·$")),
    "elixir": (
        (4, r"^·defmodule [A-Z][\w.]* do\b"), (3, r"^·defp? \w+[^\n]*\bdo\b"), (1, r"\|>"),
        (2, r"\bIO\.puts\b|\bEnum\.\w"),
    ),
    "euphoria": (
        (4, r"^·include (?:std/|[\w/]+\.e)"), (3, r"^·end (?:function|procedure|if|for|while)\b"),
        (2, r"\b(?:sequence|atom|integer|object) \w+"), (1, r"^·(?:puts|printf)\("),
    ),
    "eiffel": ((4, r"^·(?:class|create|feature)\b[^\n;{(]*$"), (1, r"^·do·$"), (1, r"\bend·\z")),
    "tcl": (
        (4, r"^·proc [\w:]+ \{?"), (2, r"^·set \w+ "), (2, r"^·(?:package require|namespace eval|puts)\b"),
        (1, r"\[(?:get|lindex|llength|expr)\w*[\x20\t]"),
    ),
    "awk": ((4, r"^·(?:BEGIN|END)·\{"), (2, r"\bNR\b|\bNF\b|\bFS·=|\$\d\b"), (1, r"^function \w+\(")),
    "nim": ((3, r"^·proc \w+\*?·\("), (2, r"^·import \w+(?:[,/]·\w+)*·$"), (1, r"\becho\b")),
    "zig": ((4, r"@import\(\""), (3, r"\bpub fn\b"), (1, r"\bconst \w+·=")),
    "d": ((3, r"^·(?:module [\w.]+|import std\.[\w.]+)"), (1, r"\bwriteln\("), (1, r"\bauto \w+·=")),
    "cobol": (
        (5, r"(?i)\b(?:identification|procedure|data|environment) division\b"),
        (1, r"(?i)\b(?:display|perform|move)\b"),
    ),
    "algol60": (
        (4, r"\b(?:outstring|outinteger|ininteger|inchar|outchar)·\(|'(?i:begin|end|integer|procedure)'"),
        (1, r"^\s*begin\b"), (1, r"\b(?:comment|step)\b"),
    ),
    "algol68": (
        (4, r"\b(?:PROC|MODE|OD|FI|STRUCT|CO|UPB|LWB)\b"), (3, r"^·(?:BEGIN|IF|INT|STRING|BOOL|PR)\b"),
        (2, r"\bprint·\(\(?"),
    ),
    "brainfuck": ((2, r"[\[\].,+<>-]{8,}"), (-3, r"[*{}^?]")),
    "beef": ((4, r"\b(?:namespace|class|Console|using System)\b"), (2, r"\bpublic static\b")),
    "supercollider": ((4, r"\bSynthDef\(|\bSinOsc\.|\bOut\.ar\b"),),
    "idl": ((4, r"(?i)^·(?:pro|function) \w+·,"), (1, r"(?i)\bendfor\b|\bendif\b")),
    "qmake": ((4, r"^·(?:QT|TEMPLATE|SOURCES|HEADERS|TARGET|CONFIG)·[+-]?="),),
    "actionscript": ((3, r"^·(?:package\b|import (?:flash|mx)\.)"), (2, r"\bfunction \w+\([^)]*\)·:·\w+")),
    "lex": ((4, r"^%%·$"), (3, r"^%(?:option|\{|x|s)\b?"), (1, r"\byy(?:text|lex)\b")),
    "yacc": ((4, r"^%%·$"), (3, r"^%(?:token|type|union|left|right|start)\b")),
    "roff": ((4, r"^\.(?:TH|SH|Dd|Dt|PP|B)\b"),),
    "llvm": ((4, r"^(?:define|declare)[\x20\t]|^target (?:datalayout|triple)"), (2, r"^·%\w+·=")),
    "livescript": ((2, r"->|\b(?:console\.log)\b"),),
    "reason": ((2, r"^·let \w+"),),
    "gosu": ((2, r"^·(?:uses |var \w+·=|function )"),),
}  # fmt: skip
"""Language -> (weight, pattern)."""

RARE = frozenset((
    "algol60", "algol68", "basic", "beef", "brainfuck", "eiffel", "euphoria", "forth", "gosu", "hack", "idl", "lex",
    "livescript", "opencl", "puppet", "reason", "rebol", "standard-ml", "supercollider", "terra", "v", "yacc",
))  # fmt: skip
"""Looked for only where the file's name allows them: in texts without a name their signs mislead more than they
find."""


def regex(pattern: str) -> str:
    """What RE2 is given for a pattern of `SIGNS`."""
    return "(?m)" + pattern.replace(" ", r"[ \t]+").replace("·", r"[ \t]*")
