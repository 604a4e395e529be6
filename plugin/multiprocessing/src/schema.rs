//! What both sides must agree on for a function: its name and its types.

use crate::function::Function;
use std::any::type_name;

/// A number for the name and the types of a function, never 0: two builds in which any of them is named differently differ
/// in it. The modules in which the types are do not count, for the same source may be a part of several programs.
pub(crate) fn schema<F: Function>() -> u64 {
    // FNV-1a: it is there for mistakes, not for attacks.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    F::NAME.bytes().for_each(&mut add);
    for name in [type_name::<F::Setup>(), type_name::<F::Argument>(), type_name::<F::Value>()] {
        add(0);
        without_modules(name).for_each(&mut add);
    }
    hash.max(1)
}

/// A type's name without the paths in it: `Vec<String>` of `alloc::vec::Vec<alloc::string::String>`.
pub(crate) fn without_modules(name: &str) -> impl Iterator<Item = u8> + '_ {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    let mut rest = name.as_bytes();
    std::iter::from_fn(move || {
        loop {
            let word = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
            match &rest[word..] {
                [b':', b':', after @ ..] => rest = after,
                _ => break,
            }
        }
        let end = rest.iter().position(|byte| !is_word(*byte)).map_or(rest.len(), |end| end.max(1));
        let (first, after) = rest.split_at_checked(end).filter(|(first, _)| !first.is_empty())?;
        rest = after;
        Some(first)
    })
    .flatten()
    .copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Context;

    struct Named<A>(A);

    impl<A: serde::Serialize + serde::de::DeserializeOwned + 'static> Function for Named<A> {
        const NAME: &'static str = "named";
        type Setup = ();
        type Argument = A;
        type Value = ();

        fn open((): ()) -> Result<Self, String> {
            Err("it is never opened".into())
        }

        fn call(&mut self, argument: A, _: &Context<'_>) -> Result<(), String> {
            self.0 = argument;
            Ok(())
        }
    }

    #[test]
    fn names_lose_their_modules() {
        for (name, expected) in [
            ("u64", "u64"),
            ("alloc::vec::Vec<alloc::string::String>", "Vec<String>"),
            ("(a::b::C, &[d::e_1::F; 3])", "(C, &[F; 3])"),
            ("core::result::Result<(), x::Y>", "Result<(), Y>"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8(without_modules(name).collect()).expect("text"), expected);
        }
    }

    #[test]
    fn types_make_the_difference() {
        assert_eq!(schema::<Named<u64>>(), schema::<Named<u64>>());
        assert_ne!(schema::<Named<u64>>(), schema::<Named<u32>>());
        assert_ne!(schema::<Named<Vec<u8>>>(), schema::<Named<Vec<String>>>());
    }
}
