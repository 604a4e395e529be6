use super::*;
use proptest::prelude::*;

fn text(name: &str) -> String {
    let mut out = Vec::new();
    Demangler::new().demangle(name.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

/// What `nm -C` of GNU binutils 2.40 shows, but for those marked.
#[test]
fn names_are_written_as_nm_writes_them() {
    let cases = [
        ("_Z3foov", "foo()"),
        ("_ZNK1A1bEi", "A::b(int) const"),
        ("_ZNKR1A1bEv", "A::b() const &"),
        ("_ZTV1A", "vtable for A"),
        ("_ZTv0_n24_N1A1bEv", "virtual thunk to A::b()"),
        ("_ZTCN3foo1BE0_NS_1AE", "construction vtable for foo::A-in-foo::B"),
        ("_ZGVZ3foovE1x", "guard variable for foo()::x"),
        ("_ZN12_GLOBAL__N_11fEv", "(anonymous namespace)::f()"),
        ("_ZNSsC1Ev", "std::basic_string<char, std::char_traits<char>, std::allocator<char> >::basic_string()"),
        ("_ZN1AB5cxx11C2Ev", "A[abi:cxx11]::A()"),
        ("_Z1fPFviEPA3_iM1AKFvvEMS3_i", "f(void (*)(int), int (*) [3], void (A::*)() const, int A::*)"),
        ("_Z1fIiEPFT_dES0_", "int (*f<int>(int))(double)"),
        ("_Z1fIPFivEEvRKT_", "void f<int (*)()>(int (* const&)())"),
        ("_Z1fIFivEEvRKT_", "void f<int ()>(int ( const&)())"),
        ("_Z1fILj9ELm7ELb1ELc65ELin3EEvv", "void f<9u, 7ul, true, (char)65, -3>()"),
        ("_Z1fIJilEEvDpOT_", "void f<int, long>(int&&, long&&)"),
        ("_Z1fIJEEvDpT_", "void f<>()"),
        ("_Z1fIRiEvOT_", "void f<int&>(int&)"),
        ("_ZN1AcvT_IiEEv", "A::operator int<int>()"),
        ("_ZlsR1AS_", "operator<<(A&, A)"),
        ("_ZlsIiEvT_", "void operator<< <int>(int)"),
        ("_ZnwmSt11align_val_t", "operator new(unsigned long, std::align_val_t)"),
        ("_Zli3_kmy", "operator\"\" _km(unsigned long long)"),
        ("_ZZ1fvENKUlvE_clEv", "f()::{lambda()#1}::operator()() const"),
        ("_ZZ1fvENKUlT_E0_clIiEEDaS_", "auto f()::{lambda(auto:1)#2}::operator()<int>(int) const"),
        ("_ZZ1fIiEvT_E1x_0", "f<int>(int)::x"),
        ("_Z1fIiEDTcl1gfp_EET_", "decltype (g({parm#1})) f<int>(int)"),
        ("_Z1fv.part.0.cold", "f() [clone .part.0] [clone .cold]"),
        ("_Z1fv.constprop.1.isra.2", "f() [clone .constprop.1] [clone .isra.2]"),
        ("._Z1fv", ".f()"),
        ("_Z1fv@@LIB_1.0", "f()@@LIB_1.0"),
        ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
        ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE.llvm.123", "core::fmt::Write::write_fmt"),
        (
            "_ZN59_$LT$dyn$u20$core..any..Any$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE",
            "<dyn core::any::Any as core::fmt::Debug>::fmt",
        ),
        ("_ZN1a1b17h0000000000000000E", "a::b::h0000000000000000"),
        ("_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"),
        ("_RNvNtCs1234_7mycrate3foo3bar.cold", "mycrate::foo::bar"),
        ("_RINvCs1234_7mycrate3fooNtB2_3BarE", "mycrate::foo::<mycrate::Bar>"),
        // Not as nm shows them, which leaves these as they are, or writes an extra comma.
        ("_ZL1x.0", "x [clone .0]"),
        ("_Z1fIJEEviDpRKT_c", "void f<>(int, char)"),
        ("_Z1fIiEu14__remove_cvrefIT_ES0_", "__remove_cvref<int> f<int>(int)"),
    ];
    for (mangled, expected) in cases {
        assert_eq!(text(mangled), expected, "{mangled}");
    }
}

#[test]
fn what_is_not_mangled_is_left_alone() {
    let swift = "$s4main3fooyyF";
    for name in ["", "_", "_Z", "_ZN", "main", "_Zfoo", "_RNv", swift, "_ZN1aE17h", "__Z1fv", "_Z1f.", "_Z1fvQ"] {
        assert_eq!(text(name), "", "{name}");
    }
    assert_eq!(demangled(b"malloc@@GLIBC_2.2.5"), "malloc");
    assert_eq!(demangled(b"@a"), "@a");
    assert_eq!(demangled(b"caf\xe9\xc3\xa9"), "caf\\xe9é");
    assert_eq!(demangled(b"_Z1\xffv"), "\\xff()");
}

#[test]
fn a_name_that_would_be_very_long_or_deep_is_left_alone() {
    // Each parameter is a pair of the one before.
    let twice = |name: String, index: usize| format!("{name}S_IS{0}_S{0}_E", index_36(index));
    let grown = (0..60).fold("_Z1f4pairIiiE".to_owned(), twice);
    let deep = format!("_Z1f{}i", "P".repeat(60_000));
    let templates = format!("_Z1f{}i{}", "1aI".repeat(20_000), "E".repeat(20_000));
    let arrows = format!("_Z1fIX{}1aEEvv", "nt".repeat(30_000));
    let small_stack = std::thread::Builder::new().stack_size(1 << 20);
    let run = move || {
        for name in [grown, deep, templates, arrows] {
            assert_eq!(text(&name), "", "{}", &name[..20]);
        }
        // As deep as is allowed.
        for (open, close) in [("P", ""), ("1aI", "E"), ("F1aPK", "vE"), ("M1b", "")] {
            for depth in [50, 100, 200, 250, 300] {
                text(&format!("_Z1f{}i{}", open.repeat(depth), close.repeat(depth)));
            }
        }
    };
    small_stack.spawn(run).unwrap().join().unwrap();
}

fn index_36(index: usize) -> String {
    let digit = |value: usize| char::from_digit(value as u32, 36).unwrap().to_ascii_uppercase();
    if index < 36 { digit(index).to_string() } else { format!("{}{}", digit(index / 36), digit(index % 36)) }
}

/// Letters of which much of the grammar is made.
fn mangled() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "N", "E", "I", "J", "S_", "S0_", "S1_", "St", "Sa", "Ss", "T_", "T0_", "1a", "2bc", "i", "v", "j", "P", "R",
        "O", "K", "F", "A3_", "A_", "M", "Z", "C1", "D0", "cv", "cl", "X", "L", "Li5E", "Lb1E", "Dp", "DT", "Ul",
        "Ut_", "_", "sr", "sZ", "fp_", "il", "tl", "nw", "qu", "pl", "ix", "TV", "Th", "GV", "B1t", ".a", "d_", "s",
        "0", "DnE", "Do", "u1x", "U1y", "gs", "dt",
    ]);
    prop::collection::vec(part, 0..40).prop_map(|parts| format!("_Z{}", parts.concat()))
}

#[test]
fn all_of_a_name_is_telling_but_the_hash_of_one_of_rust() {
    let hashed = ["_ZN1a2bc17h0123456789abcdefE", "_ZN1a2bc17hfedcba9876543210E.llvm.9"];
    assert_eq!(hashed.map(|name| telling(name.as_bytes())), [(&b"_ZN1a2bc"[..], true); 2]);
    // The second is malformed: a part of it is longer than what is left.
    for whole in ["_ZN1a2bcE", "_ZN1a9bc17h0123456789abcdefE", "_RNvCs1234_7mycrate3foo", "main", ""] {
        assert_eq!(telling(whole.as_bytes()), (whole.as_bytes(), false));
    }
}

/// Names of which some are Rust's, some nearly, and some have the same before their hashes.
fn nearly_rust() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("3foo"),
        Just("1E"),
        Just("1."),
        Just("2$LT$"),
        Just("0"),
        Just("17h"),
        Just("E"),
        Just("\u{e9}")
    ];
    let hash =
        prop_oneof![Just("17h0123456789abcdef"), Just("17hfedcba9876543210"), Just("17h0000000000000001"), Just("")];
    let end = prop_oneof![Just("E"), Just("E.llvm.1"), Just("E.cold"), Just(""), Just("E@V")];
    let start = prop_oneof![Just("_ZN"), Just("._ZN"), Just("_Z"), Just("")];
    (start, proptest::collection::vec(part, 0..3), hash, end)
        .prop_map(|(start, parts, hash, end)| format!("{start}{}{hash}{end}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn names_of_which_the_same_is_telling_are_shown_alike(names in proptest::collection::vec(nearly_rust(), 2..20)) {
        for one in &names {
            for other in names.iter().filter(|other| telling(one.as_bytes()) == telling(other.as_bytes())) {
                prop_assert_eq!(demangled(one), demangled(other), "{} {}", one, other);
            }
        }
    }

    #[test]
    fn no_name_makes_it_panic(name in mangled()) {
        let mut out = b"before".to_vec();
        let found = Demangler::new().demangle(name.as_bytes(), &mut out);
        prop_assert!(out.starts_with(b"before"));
        prop_assert_eq!(found, out.len() > 6);
    }

    #[test]
    fn no_bytes_make_it_panic(name in prop::collection::vec(any::<u8>(), 0..64), prefix in prop::sample::select(vec!["_Z", "_R", "_ZN", ""])) {
        let name = [prefix.as_bytes(), &name].concat();
        Demangler::new().demangle(&name, &mut Vec::new());
    }

    /// It keeps nothing of the names before.
    #[test]
    fn names_do_not_depend_on_each_other(names in prop::collection::vec(mangled(), 1..8)) {
        let mut one = Demangler::new();
        for name in names {
            let mut out = Vec::new();
            one.demangle(name.as_bytes(), &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), text(&name));
        }
    }
}
