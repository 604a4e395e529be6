//! What a mangled C++ name says, as a tree.

/// Index of a node among those of its name. A node refers to earlier ones only, so the tree has no cycle.
pub(super) type Id = u32;

/// No node.
pub(super) const NONE: Id = Id::MAX;

/// Bytes of the mangled name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Node {
    /// An identifier, as it is written in the mangled name.
    Name(Span),
    Text(&'static str),
    Number(i64),
    /// `a::b`.
    Scoped(Id, Id),
    /// What is declared within a function.
    Local(Id, Id),
    /// What is declared within the default argument with this number, counted from the last.
    DefaultArgument(u32, Id),
    /// A function: its name and its type.
    Typed(Id, Id),
    /// A name and its list of arguments.
    Template(Id, Id),
    TemplateParameter(u32),
    /// A parameter of a function, in an expression; 0 is `this`.
    FunctionParameter(u32),
    Constructor(Id),
    Destructor(Id),
    /// `vtable for x`, ….
    Special(&'static str, Id),
    /// The table of a base while a derived class is constructed: base, derived.
    ConstructionTable(Id, Id),
    ReferenceTemporary(Id, i64),
    /// A qualified type.
    Qualified(Qualifier, Id),
    /// A function's name or type with what stands behind its parameters; the last is an operand, where it has one.
    Suffixed(Suffix, Id, Id),
    VendorQualified(Id, Id),
    Pointer(Id),
    Reference(Id),
    RvalueReference(Id),
    Complex(Id),
    Imaginary(Id),
    Builtin(&'static Builtin),
    /// Return type, if it is written, and parameters, a list.
    Function(Id, Id),
    /// Dimension, if there is one, and element.
    Array(Id, Id),
    Vector(Id, Id),
    /// Class and member.
    MemberPointer(Id, Id),
    /// An item, and the rest. Neither is there in an empty list.
    List(Id, Id),
    Operator(&'static Operator),
    /// `operator T`.
    Conversion(Id),
    /// A cast to a type, in an expression.
    Cast(Id),
    VendorOperator(Id),
    Unary(Id, Id),
    /// `x++`.
    Postfix(Id, Id),
    Binary(Id, Id, Id),
    Conditional(Id, Id, Id),
    /// `new`, its placement arguments, and a node of type and initializer.
    New(&'static Operator, Id, Id),
    Initialized(Id, Id),
    /// A type in angle brackets and an operand: `static_cast<T>(x)`.
    NamedCast(&'static str, Id, Id),
    /// `(... + x)` (`l`) or `(x + ...)` (`r`): operator and operand.
    Fold(u8, Id, Id),
    /// `(x + ... + y)`.
    FoldInit(Id, Id, Id),
    /// Type, and digits; whether it is negative.
    Literal(Id, Span, bool),
    /// Type, if it is written, and a list.
    Braces(Id, Id),
    Decltype(Id),
    PackExpansion(Id),
    Lambda(Id, u32),
    Unnamed(u32),
    /// `name[abi:tag]`.
    Tagged(Id, Id),
    StructuredBinding(Id),
    /// A copy that the compiler made of a function.
    Clone(Id, Span),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qualifier {
    Restrict = 1,
    Volatile = 2,
    Const = 4,
}

impl Qualifier {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Restrict => " restrict",
            Self::Volatile => " volatile",
            Self::Const => " const",
        }
    }
}

/// What follows a function's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    Qualifier(Qualifier),
    Reference,
    RvalueReference,
    TransactionSafe,
    Noexcept,
    Throw,
}

/// How a literal of a type is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    /// Digits, and this behind them.
    Number(&'static str),
    Bool,
    /// Its bytes in hexadecimal.
    Float,
    /// With its type.
    Other,
}

#[derive(Debug)]
pub(super) struct Builtin {
    pub(super) name: &'static str,
    pub(super) notation: Notation,
}

#[derive(Debug)]
pub(super) struct Operator {
    pub(super) code: [u8; 2],
    /// As in an expression; one that ends with a space stands before its operand.
    pub(super) name: &'static str,
    pub(super) operands: u8,
}

/// The types with a code of one letter.
pub(super) fn builtin(code: u8) -> Option<&'static Builtin> {
    macro_rules! types {
        ($($code:literal $name:literal $notation:expr;)*) => {
            match code {
                $($code => {
                    const TYPE: Builtin = Builtin { name: $name, notation: $notation };
                    Some(&TYPE)
                })*
                _ => None,
            }
        };
    }
    types! {
        b'a' "signed char" Notation::Other;
        b'b' "bool" Notation::Bool;
        b'c' "char" Notation::Other;
        b'd' "double" Notation::Float;
        b'e' "long double" Notation::Float;
        b'f' "float" Notation::Float;
        b'g' "__float128" Notation::Float;
        b'h' "unsigned char" Notation::Other;
        b'i' "int" Notation::Number("");
        b'j' "unsigned int" Notation::Number("u");
        b'l' "long" Notation::Number("l");
        b'm' "unsigned long" Notation::Number("ul");
        b'n' "__int128" Notation::Other;
        b'o' "unsigned __int128" Notation::Other;
        b's' "short" Notation::Other;
        b't' "unsigned short" Notation::Other;
        b'v' "void" Notation::Other;
        b'w' "wchar_t" Notation::Other;
        b'x' "long long" Notation::Number("ll");
        b'y' "unsigned long long" Notation::Number("ull");
        b'z' "..." Notation::Other;
    }
}

/// The types whose code is this letter behind a `D`.
pub(super) fn builtin_d(code: u8) -> Option<&'static Builtin> {
    macro_rules! types {
        ($($code:literal $name:literal;)*) => {
            match code {
                $($code => {
                    const TYPE: Builtin = Builtin { name: $name, notation: Notation::Other };
                    Some(&TYPE)
                })*
                _ => None,
            }
        };
    }
    types! {
        b'a' "auto";
        b'c' "decltype(auto)";
        b'd' "decimal64";
        b'e' "decimal128";
        b'f' "decimal32";
        b'h' "half";
        b'i' "char32_t";
        b'n' "decltype(nullptr)";
        b's' "char16_t";
        b'u' "char8_t";
    }
}

macro_rules! operators {
    ($($code:literal $name:literal $operands:literal;)*) => {
        &[$(Operator { code: *$code, name: $name, operands: $operands },)*]
    };
}

/// In the order of their codes.
pub(super) static OPERATORS: &[Operator] = operators! {
    b"aN" "&=" 2;
    b"aS" "=" 2;
    b"aa" "&&" 2;
    b"ad" "&" 1;
    b"an" "&" 2;
    b"at" "alignof " 1;
    b"aw" "co_await " 1;
    b"az" "alignof " 1;
    b"cc" "const_cast" 2;
    b"cl" "()" 2;
    b"cm" "," 2;
    b"co" "~" 1;
    b"dV" "/=" 2;
    b"dX" "[...]=" 3;
    b"da" "delete[] " 1;
    b"dc" "dynamic_cast" 2;
    b"de" "*" 1;
    b"di" "=" 2;
    b"dl" "delete " 1;
    b"ds" ".*" 2;
    b"dt" "." 2;
    b"dv" "/" 2;
    b"dx" "]=" 2;
    b"eO" "^=" 2;
    b"eo" "^" 2;
    b"eq" "==" 2;
    b"fL" "..." 3;
    b"fR" "..." 3;
    b"fl" "..." 2;
    b"fr" "..." 2;
    b"ge" ">=" 2;
    b"gs" "::" 1;
    b"gt" ">" 2;
    b"ix" "[]" 2;
    b"lS" "<<=" 2;
    b"le" "<=" 2;
    b"li" "operator\"\" " 1;
    b"ls" "<<" 2;
    b"lt" "<" 2;
    b"mI" "-=" 2;
    b"mL" "*=" 2;
    b"mi" "-" 2;
    b"ml" "*" 2;
    b"mm" "--" 1;
    b"na" "new[]" 3;
    b"ne" "!=" 2;
    b"ng" "-" 1;
    b"nt" "!" 1;
    b"nw" "new" 3;
    b"nx" "noexcept" 1;
    b"oR" "|=" 2;
    b"oo" "||" 2;
    b"or" "|" 2;
    b"pL" "+=" 2;
    b"pl" "+" 2;
    b"pm" "->*" 2;
    b"pp" "++" 1;
    b"ps" "+" 1;
    b"pt" "->" 2;
    b"qu" "?" 3;
    b"rM" "%=" 2;
    b"rS" ">>=" 2;
    b"rc" "reinterpret_cast" 2;
    b"rm" "%" 2;
    b"rs" ">>" 2;
    b"sP" "sizeof..." 1;
    b"sZ" "sizeof..." 1;
    b"sc" "static_cast" 2;
    b"ss" "<=>" 2;
    b"st" "sizeof " 1;
    b"sz" "sizeof " 1;
    b"te" "typeid " 1;
    b"ti" "typeid " 1;
    b"tr" "throw" 0;
    b"tw" "throw " 1;
};

pub(super) fn operator(code: [u8; 2]) -> Option<&'static Operator> {
    OPERATORS.binary_search_by_key(&code, |operator| operator.code).ok().map(|index| &OPERATORS[index])
}

/// The abbreviations of the standard library: their letter, what they stand for, that in full, where it is something
/// else, and the name that a constructor has.
pub(super) fn standard(letter: u8) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match letter {
        b't' => ("std", "std", "std"),
        b'a' => ("std::allocator", "std::allocator", "allocator"),
        b'b' => ("std::basic_string", "std::basic_string", "basic_string"),
        b's' => {
            ("std::string", "std::basic_string<char, std::char_traits<char>, std::allocator<char> >", "basic_string")
        }
        b'i' => ("std::istream", "std::basic_istream<char, std::char_traits<char> >", "basic_istream"),
        b'o' => ("std::ostream", "std::basic_ostream<char, std::char_traits<char> >", "basic_ostream"),
        b'd' => ("std::iostream", "std::basic_iostream<char, std::char_traits<char> >", "basic_iostream"),
        _ => return None,
    })
}
