//! Where rustc says that members lie, who is asked by a program of its own.

use crate::programs::{Build, layouts};
use analysis::MemberRow;
use std::collections::BTreeMap;

/// Prints a line for each member: the type, the variant or `-`, the member, its offset and its size.
const PROGRAM: &str = r#"
#![allow(dead_code)]
use std::mem::{offset_of, size_of};

pub struct Plain { a: u8, b: u64, c: u16, d: u32, e: (u8, u32), f: [u16; 3] }
#[repr(C)]
pub struct AsC { a: u8, b: u64, c: u16, d: [u8; 3] }
#[repr(C, packed(2))]
pub struct Packed { a: u8, b: u64, c: u16 }
#[repr(align(64))]
pub struct Aligned { a: u8, b: Option<Box<u8>> }
pub struct Generic<T> { first: u8, item: T, last: Option<T> }
pub struct Tuple(u8, u64, u16);
pub enum Message { Quit, Move { x: u8, y: i64 }, Write(String), Pair(u16, u32) }
#[repr(u16)]
pub enum Tagged { None, One { value: u64 }, Two { a: u8, b: u32 } }
#[repr(C)]
pub enum LikeC { First { small: u8 }, Second { large: u64, small: u8 } }
pub enum Niche { Empty, Full(Box<u32>) }
pub union Either { number: u32, bytes: [u8; 7] }

macro_rules! tell {
    ($name:expr, $type:ty, $($member:tt: $of:ty),*) => {
        println!("{} - {} {} {}", $name, "", 0, size_of::<$type>());
        $(println!("{} - {} {} {}", $name, stringify!($member), offset_of!($type, $member), size_of::<$of>());)*
    };
}

fn within<T, M>(name: &str, variant: &str, member: &str, whole: &T, part: &M) {
    let offset = part as *const M as usize - whole as *const T as usize;
    println!("{name} {variant} {member} {offset} {}", size_of::<M>());
}

fn main() {
    tell!("Plain", Plain, a: u8, b: u64, c: u16, d: u32, e: (u8, u32), f: [u16; 3]);
    tell!("AsC", AsC, a: u8, b: u64, c: u16, d: [u8; 3]);
    tell!("Packed", Packed, a: u8, b: u64, c: u16);
    tell!("Aligned", Aligned, a: u8, b: Option<Box<u8>>);
    tell!("Generic<u32>", Generic<u32>, first: u8, item: u32, last: Option<u32>);
    tell!("Generic<u8>", Generic<u8>, first: u8, item: u8, last: Option<u8>);
    tell!("Tuple", Tuple, 0: u8, 1: u64, 2: u16);
    tell!("Either", Either, number: u32, bytes: [u8; 7]);
    let messages =
        [Message::Quit, Message::Move { x: 1, y: 2 }, Message::Write("text".into()), Message::Pair(3, 4)];
    for message in &messages {
        match message {
            Message::Quit => println!("Message -  0 {}", size_of::<Message>()),
            Message::Move { x, y } => {
                within("Message", "Move", "x", message, x);
                within("Message", "Move", "y", message, y);
            }
            Message::Write(text) => within("Message", "Write", "0", message, text),
            Message::Pair(one, other) => {
                within("Message", "Pair", "0", message, one);
                within("Message", "Pair", "1", message, other);
            }
        }
    }
    let tagged = [Tagged::None, Tagged::One { value: 1 }, Tagged::Two { a: 1, b: 2 }];
    for of in &tagged {
        match of {
            Tagged::None => println!("Tagged -  0 {}", size_of::<Tagged>()),
            Tagged::One { value } => within("Tagged", "One", "value", of, value),
            Tagged::Two { a, b } => {
                within("Tagged", "Two", "a", of, a);
                within("Tagged", "Two", "b", of, b);
            }
        }
    }
    let like_c = [LikeC::First { small: 1 }, LikeC::Second { large: 2, small: 3 }];
    for of in &like_c {
        match of {
            LikeC::First { small } => within("LikeC", "First", "small", of, small),
            LikeC::Second { large, small } => {
                within("LikeC", "Second", "large", of, large);
                within("LikeC", "Second", "small", of, small);
            }
        }
    }
    let niche = [Niche::Empty, Niche::Full(Box::new(1))];
    for of in &niche {
        match of {
            Niche::Empty => println!("Niche -  0 {}", size_of::<Niche>()),
            Niche::Full(inner) => within("Niche", "Full", "0", of, inner),
        }
    }
    let plain = Plain { a: 1, b: 2, c: 3, d: 4, e: (5, 6), f: [7; 3] };
    let generic = (Generic { first: 1, item: 2u32, last: None }, Generic { first: 1, item: 2u8, last: Some(3) });
    let others = (AsC { a: 1, b: 2, c: 3, d: [4; 3] }, Packed { a: 1, b: 2, c: 3 }, Aligned { a: 1, b: None });
    std::hint::black_box((&plain, &generic, &others, &Tuple(1, 2, 3), &Either { number: 1 }));
}
"#;

/// The members of a type or a variant, by name: `__0` is how rustc calls those of tuples.
fn members(rows: &[MemberRow]) -> BTreeMap<String, (u64, u64)> {
    let place = |row: &MemberRow| Some((row.name.trim_start_matches("__").to_owned(), (row.offset?, row.size?)));
    rows.iter().filter_map(place).collect()
}

#[test]
fn structs_and_variants_of_rust_lie_where_rustc_says() {
    let build = Build::new();
    std::fs::write(build.path("program.rs"), PROGRAM).unwrap();
    for options in ["-C opt-level=0", "-C opt-level=2", "-C opt-level=0 -C link-arg=-Wl,--compress-debug-sections=zlib"]
    {
        build.run(&format!("rustc --edition 2021 -g {options} program.rs -o program"));
        let said = build.run("./program");
        let all = build.search("program", layouts("^program::"));
        assert_eq!(all.problems, [] as [String; 0]);
        let mut compared = 0;
        for line in said.lines() {
            let [name, variant, member, offset, size] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let expected: (u64, u64) = (offset.parse().unwrap(), size.parse().unwrap());
            let row = all.row(&format!("program::{name}"));
            compared += 1;
            if member.is_empty() {
                assert_eq!(row.size, Some(expected.1), "{options} {name}");
                continue;
            }
            let layout = row.layout.as_ref().unwrap();
            let of = match variant {
                "-" => &layout.members,
                _ => {
                    let variant = layout.members.iter().find(|row| row.name == variant);
                    &variant.unwrap_or_else(|| panic!("{options}: no {variant:?} of {name}: {layout:?}")).members
                }
            };
            assert_eq!(members(of).get(member), Some(&expected), "{options} {name} {variant} {member}: {layout:?}");
        }
        assert!(compared > 40, "{compared}");
    }
}
