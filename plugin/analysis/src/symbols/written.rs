//! A symbol's name as a user writes it, who leaves out what a demangler adds: what a template returns, its arguments, the tags
//! of an ABI, parameters, and spaces.

/// Names that begin with such a word and one of these tell what is made for a function or a variable, which follows.
const BEHIND_OTHERS: [&[u8]; 2] = [b"for", b"to"];

/// What a member function's parameters may be followed by.
const QUALIFIERS: [&[u8]; 6] = [b"", b" const", b" &", b" &&", b" const &", b" const &&"];

/// The hash that ends a Rust name is of so many digits.
const HASH: usize = 16;

/// A regex that matches all names that [`fits`] takes for `written`.
pub fn regex(written: &str) -> String {
    let mut regex = String::new();
    let mut before: Option<&str> = None;
    for token in tokens(written) {
        regex.push_str(match before {
            None => "",
            // Arguments and tags may be there that are not written.
            Some(_) if matches!(token, "::" | "(" | "<") => ".*",
            Some(before) if is_word(before) && is_word(token) => " +",
            Some(_) => " *",
        });
        let bound = |byte: Option<&u8>| if byte.copied().is_some_and(is_ascii_word) { r"\b" } else { "" };
        regex.push_str(bound(token.as_bytes().first()));
        regex.push_str(&regex_syntax::escape(token));
        regex.push_str(bound(token.as_bytes().last()));
        before = Some(token);
    }
    regex
}

/// Whether a symbol is called so: `name` is its name in full, as a demangler writes it. The scopes have to be there, and what is
/// written of arguments of templates and of parameters has to be the same.
pub fn fits(written: &str, name: &str) -> bool {
    let (written, name) = (written.as_bytes(), name.as_bytes());
    let is_it = |begin: usize| {
        let Some(rest) = eat(written, &name[begin..]) else { return false };
        // Only of functions it is said what they return, and these have parameters.
        (begin == 0 || rest.starts_with(b"(") || written.contains(&b'(')) && is_end(rest)
    };
    !behind_spaces(written).is_empty() && beginnings(name).into_iter().any(is_it)
}

/// Identifiers, `::`, and other characters, without spaces.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(' ');
        let first = rest.chars().next()?;
        let end = match rest.find(|letter| !is_letter(letter)).unwrap_or(rest.len()) {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            end => end,
        };
        let (token, behind) = rest.split_at(end);
        rest = behind;
        Some(token)
    })
}

fn is_letter(letter: char) -> bool {
    !letter.is_ascii() || is_ascii_word(letter as u8) || letter == '$'
}

fn is_word(token: &str) -> bool {
    token.starts_with(is_letter)
}

fn is_ascii_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a byte is of an identifier.
fn is_identifier(byte: u8) -> bool {
    !byte.is_ascii() || is_ascii_word(byte) || byte == b'$'
}

/// Where what a symbol is called may begin in its name: at its front, or behind what it returns.
fn beginnings(name: &[u8]) -> Vec<usize> {
    let mut begin = vec![0];
    let (mut word, mut at) = (0, 0);
    while at < name.len() {
        let text = &name[at..];
        match text[0] {
            b' ' if BEHIND_OTHERS.contains(&&name[word..at]) => break,
            b' ' => {
                at += 1;
                word = at;
                begin.push(at);
            }
            // What follows is part of what it is called.
            b'o' if is_operator(name, at) => break,
            b'<' | b'(' | b'[' | b'{' => match bracketed(text) {
                Some(length) => at += length,
                None => break,
            },
            _ => at += 1,
        }
    }
    begin
}

/// Whether the word `operator` is in a name at `at`.
fn is_operator(name: &[u8], at: usize) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| is_identifier(*byte));
    let rest = name[at..].strip_prefix(b"operator");
    rest.is_some_and(|rest| !is_part(rest.first()) && !is_part(name[..at].last()))
}

/// The length of what is in brackets at the front of a text, with them; `None` if they are not closed.
fn bracketed(text: &[u8]) -> Option<usize> {
    let mut open: Vec<u8> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'<' | b'(' | b'[' | b'{' => open.push(byte),
            // An arrow, or a comparison, which is in parentheses.
            b'>' if text[..at].ends_with(b"-") || open.last() != Some(&b'<') => {}
            b'>' => {
                open.pop();
            }
            b')' | b']' | b'}' => {
                let opening = match byte {
                    b')' => b'(',
                    b']' => b'[',
                    _ => b'{',
                };
                // So was an angle that is still open.
                while open.pop()? != opening {}
            }
            b'o' if is_operator(text, at) => {
                at += b"operator".len();
                let sign = |byte: &&u8| b"<>=-".contains(byte);
                at += text[at..].iter().take_while(sign).count();
                continue;
            }
            _ => {}
        }
        at += 1;
        if open.is_empty() {
            return Some(at);
        }
    }
    None
}

/// What follows in `name` on what is written, without what it has more than that.
fn eat<'a>(mut written: &[u8], mut name: &'a [u8]) -> Option<&'a [u8]> {
    let mut last = None;
    loop {
        let (wanted, there) = (behind_spaces(written), behind_spaces(name));
        let Some(&next) = wanted.first() else { return Some(behind_additions(name)) };
        let other = *there.first()?;
        // A space tells two words apart, and nothing else.
        let words = last.is_some_and(is_identifier) && is_identifier(next);
        let apart = [wanted.len() < written.len(), there.len() < name.len()];
        if next == other && (!words || apart[0] == apart[1]) {
            last = Some(next);
            (written, name) = (&wanted[1..], &there[1..]);
            continue;
        }
        let rest = match next {
            b':' | b'(' if wanted.starts_with(b"::") || next == b'(' => behind_additions(there),
            b'<' => behind_tags(there),
            // `a::f` is `a::<T>::f` in names of Rust, too.
            _ if last == Some(b':') && other == b'<' => there[bracketed(there)?..].strip_prefix(b"::")?,
            _ => return None,
        };
        if rest.len() == there.len() {
            return None;
        }
        name = rest;
    }
}

/// What follows on tags of an ABI and arguments of a template.
fn behind_additions(name: &[u8]) -> &[u8] {
    let untagged = behind_tags(name);
    let plain = behind_spaces(untagged);
    let plain = plain.strip_prefix(b"::").unwrap_or(plain);
    match bracketed(plain).filter(|_| plain.starts_with(b"<")) {
        Some(length) => behind_tags(&plain[length..]),
        None => untagged,
    }
}

fn behind_spaces(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b" ") {
        text = rest;
    }
    text
}

fn behind_tags(mut name: &[u8]) -> &[u8] {
    while name.starts_with(b"[abi:")
        && let Some(length) = bracketed(name)
    {
        name = &name[length..];
    }
    name
}

/// Whether what a symbol is called ends before `rest`: with parameters or the hash of a name of Rust, or without.
fn is_end(rest: &[u8]) -> bool {
    let hash = rest.strip_prefix(b"::h").and_then(|rest| rest.split_at_checked(HASH));
    let rest = match hash {
        Some((hash, rest)) if hash.iter().all(u8::is_ascii_hexdigit) => rest,
        _ => rest,
    };
    let parameters = || bracketed(rest).filter(|_| rest.starts_with(b"("));
    rest.is_empty() || parameters().is_some_and(|length| QUALIFIERS.contains(&&rest[length..]))
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Pattern;
    use super::*;
    use crate::symbols::demangled;
    use proptest::prelude::*;

    /// Whether the regex finds it as well, which it has to if it fits.
    fn is_found(written: &str, name: &str) -> bool {
        let found = Pattern::new(&regex(written), false).unwrap().matches(name.as_bytes());
        let fits = fits(written, name);
        assert!(found || !fits, "{written} fits {name}, but its regex does not match");
        fits
    }

    #[test]
    fn a_name_fits_with_and_without_its_parameters() {
        for name in ["a::step", "a::step(int (*)(int), b<(c)1>)", "a::step() const", "a::step::h0123456789abcdef"] {
            assert!(is_found("a::step", name), "{name}");
        }
        for name in [
            "a::steps",
            "b::a::step",
            "a::step()::{lambda()#1}::operator()() const",
            "a::step(int) [clone .cold]",
            "a::step::h",
            "a::step::hop",
            "step",
            "a::step(",
            "vtable for a::step",
            "non-virtual thunk to a::step(int)",
        ] {
            assert!(!is_found("a::step", name), "{name}");
        }
        assert!(is_found("a::step(int)", "a::step(int)"));
        assert!(!is_found("a::step(int)", "a::step()"));
        assert!(!is_found("", "a"));
    }

    #[test]
    fn what_a_demangler_adds_need_not_be_written() {
        for (written, name) in [
            ("twice<int>", "int twice<int>(int)"),
            ("twice", "int twice<int>(int)"),
            ("twice(int)", "int twice<int>(int)"),
            ("int twice<int>(int)", "int twice<int>(int)"),
            ("Box<int>::as<long>", "long Box<int>::as<long>()"),
            ("Box<int>::as", "long Box<int>::as<long>()"),
            ("Box::as", "long Box<int>::as<long>()"),
            ("Box::as<long>", "long Box<int>::as<long>()"),
            ("Box::value", "Box<int>::value() const"),
            ("name_of", "name_of[abi:cxx11](int)"),
            ("name_of(int)", "name_of[abi:cxx11](int)"),
            ("name_of[abi:cxx11]", "name_of[abi:cxx11](int)"),
            ("a::sum", "std::enable_if<(1)>::type a::sum[abi:x]<int, (char)60>(std::vector<int> const&)"),
            ("a::first", "std::vector<int, std::allocator<int> > a::first<int>(int)"),
            ("a::first", "decltype ((a)->b) a::first<int>(int)"),
            ("std::vector<std::vector<int>>::size", "std::vector<std::vector<int> >::size() const"),
            ("f(int(*)(int),char const*)", "f(int (*)(int), char const*)"),
            ("operator new( unsigned  long)", "operator new(unsigned long)"),
            ("std::operator<<", "std::ostream& std::operator<< <std::char_traits<char> >(std::ostream&, char const*)"),
            ("operator<", "bool operator< <int>(Box<int> const&, Box<int> const&)"),
            ("Box::operator int", "Box<char>::operator int() const"),
            ("Box::operator()", "void Box<char>::operator()<int>(int)"),
            ("N::operator->", "N::operator->() const"),
            ("value", "value<int>"),
            ("core::ptr::drop_in_place", "core::ptr::drop_in_place<alloc::vec::Vec<u8>>::h0123456789abcdef"),
            ("a::f", "a::f::<u8>"),
            ("a::B::f", "a::B::<u8>::f::<u16>"),
            ("a::f::<u8>", "a::f::<u8>"),
            ("(anonymous namespace)::f", "(anonymous namespace)::f(int)"),
        ] {
            assert!(is_found(written, name), "{written} of {name}");
        }
    }

    #[test]
    fn what_is_written_has_to_be_there() {
        for (written, name) in [
            ("twice<long>", "int twice<int>(int)"),
            ("twice(long)", "int twice<int>(int)"),
            ("as", "long Box<int>::as<long>()"),
            ("int", "int twice<int>(int)"),
            ("int", "Box<char>::operator int() const"),
            ("new", "operator new(unsigned long)"),
            ("operator new(unsignedlong)", "operator new(unsigned long)"),
            ("operatornew(unsigned long)", "operator new(unsigned long)"),
            ("thunk", "non-virtual thunk to a(int)"),
            ("a", "non-virtual thunk to a(int)"),
            ("a", "guard variable for a(int)"),
            ("N::operator-", "N::operator->() const"),
            ("N::operator<", "N::operator<=(int)"),
            ("operator<", "std::ostream& operator<< <int>(std::ostream&)"),
            ("f(Box)", "f(Box<int>)"),
            ("Box", "Box<int>::Box()"),
            ("Box<int>::as<long>", "long Box<int>::as<long>"),
            ("f", "f<"),
            ("f", "f<(int)"),
        ] {
            assert!(!is_found(written, name), "{written} of {name}");
        }
    }

    proptest! {
        /// Whatever stands there, nothing fails, and a regex is one.
        #[test]
        fn any_text_is_compared(
            written in "[a-c:<>()\\[\\] &*{}#-]{0,12}|operator[<>()=-]{0,4}|\\PC{0,8}",
            name in "[a-c:<>()\\[\\] &*{}#-]{0,24}|\\PC{0,4}operator[<>()=-]{0,4}\\PC{0,8}",
        ) {
            is_found(&written, &name);
            is_found(&name, &name);
        }

        /// What a name is found by in full, it is found by without spaces that tell no words apart.
        #[test]
        fn spaces_do_not_matter(name in "[a-b]{1,3}(::[a-b]{1,2}){0,2}(<[a-b]{1,2}(, [a-b]{1,2}){0,2}>)?(\\([a-b]{0,2}\\))?") {
            prop_assert!(is_found(&name, &name));
            prop_assert!(is_found(&name.replace(' ', ""), &name));
            prop_assert!(is_found(&name.replace(',', " ,").replace('>', " >"), &name));
        }
    }

    #[test]
    fn every_name_of_a_library_fits_itself() {
        let path = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6";
        let bytes = std::fs::read(path).unwrap();
        let file = crate::xrefs::Elf::parse(&bytes[..]).unwrap();
        let symbols = file.symbols(object::elf::SHT_DYNSYM).unwrap();
        let mut count = 0;
        for (_, symbol) in symbols.iter() {
            let name = demangled(symbols.name(&symbol));
            if !name.is_empty() {
                assert!(fits(&name, &name), "{name}");
                count += 1;
            }
        }
        assert!(count > 1000, "{count}");
    }
}
