//! What the symbols of functions say of the types that they are of.
//!
//! Compilers give functions with the same code one address, and one name; so a name counts where all functions that say something of a
//! type say the same.

use super::traits::TraitVtable;
use crate::report::SymbolOffset;
use std::collections::{BTreeMap, HashMap};

/// What symbols of types' vtables begin with.
const VTABLE: &str = "vtable for ";

/// What symbols of functions that drop a value begin with, before the type in angle brackets.
const DROP: &str = "core::ptr::drop_in_place";

/// What symbols of functions for callables begin with, before the arguments of their template, of which the last one is the callable's type.
const HANDLER: &str = "std::_Function_handler";

/// The same of managers, of libstdc++ before version 11.
const OLDER_MANAGER: &str = "std::_Function_base::_Base_manager";

/// What older names have for a closure; newer ones have its number.
const CLOSURE: &str = "{{closure}}";

/// The symbols that addresses lie in, by address.
pub type Symbols = BTreeMap<u64, SymbolOffset>;

/// The class whose vtable an address lies in.
pub(super) fn class(symbols: &Symbols, vtable: u64) -> Option<&str> {
    symbols.get(&vtable)?.name.strip_prefix(VTABLE)
}

/// The name of the symbol that begins at an address.
fn exact(symbols: &Symbols, address: u64) -> Option<&str> {
    symbols.get(&address).filter(|symbol| symbol.offset == 0).map(|symbol| &*symbol.name)
}

/// The type of a callable, in the name of the function that calls it and in that of its manager.
pub(super) fn callable(symbols: &Symbols, invoker: u64, manager: u64) -> Option<&str> {
    let invoker = exact(symbols, invoker)?.strip_prefix(HANDLER)?;
    let own = last_argument(invoker, "::_M_invoke(")?;
    let manager = exact(symbols, manager)?;
    let managed = match manager.strip_prefix(HANDLER) {
        Some(arguments) => last_argument(arguments, "::_M_manager("),
        None => last_argument(manager.strip_prefix(OLDER_MANAGER)?, "::_M_manager("),
    };
    (managed == Some(own)).then_some(own)
}

/// The last of the template's arguments that a text begins with, if this member follows.
fn last_argument<'a>(arguments: &'a str, member: &str) -> Option<&'a str> {
    let end = group(arguments)?;
    if !arguments[end + 1..].starts_with(member) {
        return None;
    }
    let mut depth = 0u32;
    let mut last = 1;
    for (at, byte) in arguments[..end].bytes().enumerate().skip(1) {
        match byte {
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            b'>' | b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => last = at + 1,
            _ => {}
        }
    }
    Some(arguments[last..end].trim())
}

/// What is known of types by the vtables of their traits.
#[derive(Debug)]
pub(super) struct TraitNames<'a> {
    symbols: &'a Symbols,
    vtables: &'a BTreeMap<u64, TraitVtable>,
    /// For each function that drops something, whether all vtables with it may be of one type.
    drops: HashMap<u64, bool>,
}

impl<'a> TraitNames<'a> {
    pub(super) fn new(symbols: &'a Symbols, vtables: &'a BTreeMap<u64, TraitVtable>) -> Self {
        let mut sizes: HashMap<u64, (u64, u64)> = HashMap::new();
        let mut names = Self { symbols, vtables, drops: HashMap::new() };
        for vtable in vtables.values().filter(|vtable| vtable.drop != 0) {
            let own = (vtable.size, vtable.align);
            let dropped = names.dropped(vtable).map(comparable);
            let agrees =
                names.methods(vtable).iter().all(|method| dropped.as_ref().is_none_or(|own| agree(own, method)));
            let same = *sizes.entry(vtable.drop).or_insert(own) == own && agrees;
            *names.drops.entry(vtable.drop).or_insert(true) &= same;
        }
        names
    }

    /// The type that the vtable at this address is for.
    pub(super) fn of(&self, address: u64) -> Option<String> {
        let vtable = self.vtables.get(&address)?;
        let methods = self.methods(vtable);
        if vtable.drop == 0 {
            let first = methods.first()?;
            return methods.iter().all(|other| agree(first, other)).then(|| first.shown.to_owned());
        }
        let dropped = comparable(self.dropped(vtable)?);
        let Some(first) = methods.first() else {
            return (self.drops.get(&vtable.drop) == Some(&true)).then(|| dropped.shown.to_owned());
        };
        if methods.iter().all(|method| agree(&dropped, method)) {
            return Some(dropped.shown.to_owned());
        }
        // What is done to drop a value is the same for many types; what several methods do is not.
        let several = methods.iter().any(|method| method.function != first.function);
        let sound = several && !first.is_generic() && methods.iter().all(|method| method.whole == first.whole);
        sound.then(|| first.shown.to_owned())
    }

    /// What the function drops.
    fn dropped(&self, vtable: &TraitVtable) -> Option<&'a str> {
        dropped(exact(self.symbols, vtable.drop)?)
    }

    /// The types that its methods say that they are of, as far as they do. Behind the last method the next vtable may begin.
    fn methods(&self, vtable: &TraitVtable) -> Vec<Comparable<'a>> {
        let names = vtable.methods.iter().map_while(|method| exact(self.symbols, *method));
        let own = names.take_while(|name| dropped(name).is_none());
        let types = own.filter_map(|name| Some(Comparable { function: name, ..comparable(self_type(name)?) }));
        types.filter(Comparable::says_something).collect()
    }
}

/// The type in the name of a function that drops a value of it.
fn dropped(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(DROP)?;
    let rest = rest.strip_prefix("::").unwrap_or(rest);
    rest.get(1..group(rest)?)
}

/// The type that a method is implemented for: `<TYPE as TRAIT>::name`, or the closure that a function is the code of.
fn self_type(name: &str) -> Option<&str> {
    if name.ends_with(CLOSURE) || closure_at_end(name).is_some() {
        return Some(name);
    }
    let end = group(name)?;
    let inner = &name[1..end];
    let mut depth = 0u32;
    let mut before = b' ';
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' => depth += 1,
            b'>' if before == b'-' => {}
            b'>' | b')' | b']' => depth = depth.saturating_sub(1),
            b' ' if depth == 0 && inner[at..].starts_with(" as ") => return Some(&inner[..at]),
            _ => {}
        }
        before = byte;
    }
    None
}

/// Where the angle brackets that a text begins with are closed.
fn group(text: &str) -> Option<usize> {
    let mut depth = 0u32;
    let mut before = b' ';
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' if before != b'-' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (at > 0).then_some(at);
        }
        before = byte;
    }
    None
}

/// Where a `{closure#0}` at the end begins.
fn closure_at_end(name: &str) -> Option<usize> {
    let start = name.rfind("{closure#")?;
    let number = name[start..].strip_prefix("{closure#")?.strip_suffix('}')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(start)
}

/// A type's name, as it can be held against others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparable<'a> {
    /// The function that says so.
    function: &'a str,
    shown: &'a str,
    /// Without blanks.
    whole: String,
    /// The same without what stands in angle brackets behind names.
    path: String,
}

fn comparable(name: &str) -> Comparable<'_> {
    let whole = name.replace(' ', "");
    let path = path(&whole);
    Comparable { function: name, shown: name, whole, path }
}

/// A name without the arguments of its types and functions.
fn path(name: &str) -> String {
    let mut path = String::new();
    let mut rest = name;
    while let Some(letter) = rest.chars().next() {
        let behind = path.ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | '}'));
        let turbofish = if behind { rest.strip_prefix("::").filter(|text| text.starts_with('<')) } else { None };
        let arguments = turbofish.or((behind && letter == '<').then_some(rest));
        if let Some(arguments) = arguments
            && let Some(end) = group(arguments)
        {
            rest = &arguments[end + 1..];
            continue;
        }
        path.push(letter);
        rest = &rest[letter.len_utf8()..];
    }
    path
}

impl Comparable<'_> {
    /// Whether it is a type, and no parameter that stands for any.
    fn says_something(&self) -> bool {
        let primitive = || self.path.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let first = self.whole.as_bytes().first().copied().unwrap_or(b'&');
        let closure = self.whole.ends_with(CLOSURE) || closure_at_end(&self.whole).is_some();
        let named = closure || ((first.is_ascii_alphabetic() || first == b'_') && !self.shown.starts_with("dyn "));
        named && (self.path.contains("::") || primitive())
    }

    /// Whether it is written with parameters of its own, as older names of functions are, and not with types.
    fn is_generic(&self) -> bool {
        let letters = |part: &str| {
            let mut bytes = part.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_uppercase())
                && bytes.all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        };
        self.whole.split(['<', '>', ',', '&', '(', ')', ';', '[', ']']).any(letters)
    }
}

/// Whether two names can be of one type. Older names leave arguments out, of functions around closures among them.
fn agree(one: &Comparable<'_>, other: &Comparable<'_>) -> bool {
    let loose = |own: &Comparable<'_>| own.is_generic() || own.whole.ends_with(CLOSURE) || own.whole == own.path;
    one.whole == other.whole || (one.path == other.path && (loose(one) || loose(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_functions_name_types() {
        for (name, expected) in [
            ("core::ptr::drop_in_place<alloc::vec::Vec<u8>>", Some("alloc::vec::Vec<u8>")),
            ("core::ptr::drop_in_place::<a::F<fn(u8) -> Vec<u8>>>", Some("a::F<fn(u8) -> Vec<u8>>")),
            ("core::ptr::drop_in_place<a::b::{{closure}}>", Some("a::b::{{closure}}")),
            ("core::ptr::drop_in_place<", None),
            ("core::ptr::drop_in_place", None),
            ("core::ptr::write<u8>", None),
        ] {
            assert_eq!(dropped(name), expected, "{name}");
        }
        for (name, expected) in [
            ("<a::A as a::Tr>::go", Some("a::A")),
            ("<a::G<<T as b::U>::V> as a::Tr<u8>>::go", Some("a::G<<T as b::U>::V>")),
            ("<a::F<fn(u8) -> u8> as a::Tr>::go", Some("a::F<fn(u8) -> u8>")),
            ("<(A, B) as a::Tr>::go", Some("(A, B)")),
            ("<a::A>::go", None),
            ("a::A::go", None),
            ("a::main::{{closure}}", Some("a::main::{{closure}}")),
            ("<a::A as a::Tr>::go::{closure#1}", Some("<a::A as a::Tr>::go::{closure#1}")),
            (
                "<a::main::{closure#0} as core::ops::FnOnce<()>>::call_once::{shim:vtable#0}",
                Some("a::main::{closure#0}"),
            ),
            ("<", None),
            ("", None),
            (">", None),
        ] {
            assert_eq!(self_type(name), expected, "{name}");
        }
        let says = |name| comparable(name).says_something();
        assert!(["a::A", "i32", "str", "a::b::{{closure}}", "<a::A as a::Tr>::go::{closure#1}"].into_iter().all(says));
        assert!(!["T", "&T", "A1", "(U,T)", "[T]", "", "dyn a::Tr"].into_iter().any(says));
    }

    #[test]
    fn a_callable_has_a_name_where_both_of_its_functions_have() {
        let handler = "std::_Function_handler<int (std::pair<int, long>), main::{lambda(int, char)#1}>";
        let all = [
            (1, format!("{handler}::_M_invoke(std::_Any_data const&, std::pair<int, long>&&)")),
            (2, format!("{handler}::_M_manager(std::_Any_data&, std::_Any_data const&, std::_Manager_operation)")),
            (
                3,
                "std::_Function_base::_Base_manager<main::{lambda(int, char)#1}>::_M_manager(std::_Any_data&)"
                    .to_owned(),
            ),
            (4, "std::_Function_handler<void (), main::{lambda()#2}>::_M_manager(std::_Any_data&)".to_owned()),
            (5, "main".to_owned()),
        ];
        let symbols = all.map(|(address, name)| (address, SymbolOffset { name, offset: 0 })).into_iter().collect();
        let named = |manager| callable(&symbols, 1, manager);
        assert_eq!([2, 3].map(named), [Some("main::{lambda(int, char)#1}"); 2]);
        assert_eq!([1, 4, 5, 6].map(named), [None; 4]);
        assert_eq!(callable(&symbols, 2, 2), None);
    }

    #[test]
    fn names_agree_that_can_be_of_one_type() {
        let agreed = |one, other| agree(&comparable(one), &comparable(other));
        for (one, other) in [
            ("a::G<u32>", "a::G<T>"),
            ("a::G<u32, u8>", "a::G<u32,u8>"),
            ("a::b<u8>::{{closure}}", "a::b::{{closure}}"),
            ("a::b::<u8>::{closure#0}", "a::b::{closure#0}"),
            ("<a::X<u8> as a::Tr>::go::{{closure}}", "<a::X<T> as a::Tr>::go::{{closure}}"),
        ] {
            assert!(agreed(one, other) && agreed(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("a::A", "a::B"),
            ("a::G<u32>", "a::G<u64>"),
            ("a::G<u32>", "a::H<T>"),
            ("a::b::{closure#0}", "a::b::{closure#1}"),
            ("<a::X as a::Tr>::go::{{closure}}", "<a::Y as a::Tr>::go::{{closure}}"),
        ] {
            assert!(!agreed(one, other) && !agreed(other, one), "{one} {other}");
        }
    }

    #[test]
    fn a_type_has_a_name_where_all_its_functions_agree() {
        let symbols = [
            (1, "core::ptr::drop_in_place<a::A>"),
            (2, "<a::A as a::Tr>::go"),
            (3, "<a::B as a::Tr>::go"),
            (4, "<T as core::any::Any>::type_id"),
            (5, "core::ptr::drop_in_place<a::C>"),
            (6, "<a::G<T> as a::Tr>::go"),
            (8, "<a::B as a::Tr>::stop"),
            (9, "<a::G<T> as a::Tr>::stop"),
        ];
        let symbol = |(address, name): (u64, &str)| (address, SymbolOffset { name: name.to_owned(), offset: 0 });
        let mut symbols: Symbols = symbols.into_iter().map(symbol).collect();
        symbols.insert(7, SymbolOffset { name: "<a::D as a::Tr>::go".to_owned(), offset: 4 });
        let vtable = |(address, drop, size, methods): (u64, u64, u64, &[u64])| {
            (address, TraitVtable { drop, size, align: 8, methods: methods.to_vec() })
        };
        let names = |vtables: &[(u64, u64, u64, &[u64])]| -> Vec<Option<String>> {
            let vtables = vtables.iter().copied().map(vtable).collect();
            let names = TraitNames::new(&symbols, &vtables);
            vtables.keys().map(|address| names.of(*address)).collect()
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(names(&[(10, 1, 8, &[2])]), [some("a::A")]);
        assert_eq!(names(&[(10, 1, 8, &[4, 2]), (20, 1, 8, &[4])]), [some("a::A"), some("a::A")]);
        // One function drops two types.
        assert_eq!(names(&[(10, 1, 8, &[2]), (20, 1, 8, &[3]), (30, 1, 8, &[4])]), [some("a::A"), None, None]);
        assert_eq!(names(&[(10, 1, 8, &[]), (20, 1, 16, &[])]), [None, None]);
        assert_eq!(names(&[(10, 1, 8, &[3, 8]), (20, 1, 8, &[3, 3]), (30, 1, 8, &[6, 9])]), [some("a::B"), None, None]);
        // Nothing is to be dropped; and what begins behind the methods is another vtable.
        assert_eq!(names(&[(10, 0, 8, &[3]), (20, 0, 8, &[4]), (30, 0, 8, &[2, 3])]), [some("a::B"), None, None]);
        assert_eq!(names(&[(10, 0, 8, &[2, 5, 3])]), [some("a::A")]);
        assert_eq!(names(&[(10, 0, 8, &[6, 6]), (20, 5, 8, &[6])]), [some("a::G<T>"), None]);
        assert_eq!(
            names(&[(10, 0, 8, &[7]), (20, 19, 8, &[2])]),
            [None, None],
            "of the middle of a function, of no function"
        );
    }
}
