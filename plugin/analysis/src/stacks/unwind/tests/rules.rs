//! Each kind of rule, and each way in which a stack ends.

use super::module::{BASE, Cfi, Kind, Pieces, TEXT};
use super::{missing, there, unwind};
use crate::stacks::unwind::walk::MOST_FRAMES;
use crate::stacks::{End, Frame, Registers, Stack};
use target::modules::{Module, Search, survey};

const STACK: u64 = 0x7fff_0000_0000;

/// A function at the beginning of the code, 16 bytes long, and one that called it from its middle and was called by nobody.
const CALLEE: u64 = BASE + TEXT + 4;
const CALLER: u64 = BASE + TEXT + 0x18;

/// The rules that compilers begin with: the frame ends above the return address, which lies there.
const CALLED: [u8; 5] = [0x0c, 7, 8, 0x90, 1];

/// What a rule has to be unwound with: the callee's instructions after [`CALLED`], and its registers and words on its stack.
fn callee(kind: Kind, is_signal: bool, instructions: &[u8]) -> Cfi {
    let mut cfi = Cfi::new(kind);
    let common = cfi.common(is_signal, 16, &CALLED);
    cfi.function(common, TEXT, 16, instructions);
    let common = cfi.common(false, 16, &CALLED);
    // Nobody: DW_CFA_undefined rip.
    cfi.function(common, TEXT + 16, 16, &[0x07, 16]);
    cfi
}

fn registers(others: &[(&str, u64)]) -> Registers {
    [("rip", CALLEE), ("rsp", STACK)].into_iter().chain(others.iter().copied()).collect()
}

fn stack(words: &[u64]) -> Pieces {
    Pieces([(STACK, words.iter().flat_map(|word| word.to_le_bytes()).collect())].into())
}

fn frame(pc: u64, cfa: u64, interrupted: bool) -> Frame {
    Frame { pc, cfa, interrupted }
}

/// Asserts that the callee's frame ends `size` bytes above its stack pointer, and that its caller is found.
#[track_caller]
fn assert_found(cfi: &Cfi, words: &[u64], others: &[(&str, u64)], size: u64) {
    let found = unwind(there(cfi), stack(words), registers(others));
    let cfa = STACK + size;
    let frames = vec![frame(CALLEE, cfa, true), frame(CALLER, cfa + 8, false)];
    assert_eq!(found, Stack { frames, end: End::Outermost });
}

#[test]
fn the_frame_ends_above_a_register_or_where_an_expression_says() {
    for kind in [Kind::EhFrame, Kind::EhFrameAndTable, Kind::DebugFrame] {
        assert_found(&callee(kind, false, &[]), &[CALLER], &[], 8);
        // def_cfa_offset 24, of which 16 are local.
        assert_found(&callee(kind, false, &[0x0e, 24]), &[1, 2, CALLER], &[], 24);
        // def_cfa rbp, 16.
        assert_found(&callee(kind, false, &[0x0c, 6, 16]), &[1, 2, CALLER], &[("rbp", STACK + 8)], 24);
        // def_cfa_expression: the word 8 below rbp.
        let expression = callee(kind, false, &[0x0f, 3, 0x76, 0x78, 0x06]);
        assert_found(&expression, &[STACK + 32, 2, 3, CALLER], &[("rbp", STACK + 8)], 32);
        // That of a stub in the procedure linkage table: 8 above the stack pointer, and 8 more from its eleventh byte on.
        let stub = [0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
        assert_found(&callee(kind, false, &stub), &[CALLER], &[], 8);
    }
}

#[test]
fn rows_hold_from_where_they_begin() {
    // After 4 bytes 16 are pushed, after 8 they are gone again: the callee is at 4.
    let cfi = callee(Kind::EhFrame, false, &[0x44, 0x0e, 24, 0x44, 0x0e, 8]);
    assert_found(&cfi, &[1, 2, CALLER], &[], 24);
    let mut before = registers(&[]);
    before.set(Registers::PC, Some(CALLEE - 1));
    let found = unwind(there(&cfi), stack(&[CALLER]), before);
    assert_eq!((found.frames[1].pc, found.end), (CALLER, End::Outermost));
    // remember_state and restore_state, with a size of arguments that is nobody's matter here.
    let cfi = callee(Kind::EhFrame, false, &[0x0e, 24, 0x2e, 8, 0x0a, 0x42, 0x0e, 99, 0x42, 0x0b]);
    assert_found(&cfi, &[1, 2, CALLER], &[], 24);
}

/// The callee leaves rbp by `rule`; the caller's frame ends 16 above rbp.
#[track_caller]
fn assert_rbp(rule: &[u8], words: &[u64], others: &[(&str, u64)], rbp: u64) {
    let mut cfi = Cfi::new(Kind::EhFrame);
    let common = cfi.common(false, 16, &CALLED);
    cfi.function(common, TEXT, 16, rule);
    cfi.function(common, TEXT + 16, 16, &[0x0c, 6, 16, 0x07, 16]);
    let found = unwind(there(&cfi), stack(words), registers(others));
    assert_eq!(found.end, End::Outermost);
    assert_eq!(found.frames[1].cfa, rbp + 16);
}

#[test]
fn registers_are_had_back_by_all_kinds_of_rules() {
    let rbp = STACK + 64;
    assert_rbp(&[], &[CALLER], &[("rbp", rbp)], rbp);
    assert_rbp(&[0x08, 6], &[CALLER], &[("rbp", rbp)], rbp);
    // offset, of 8 words above; offset_extended_sf.
    assert_rbp(&[0x0e, 24, 0x86, 2], &[1, rbp, CALLER], &[], rbp);
    assert_rbp(&[0x11, 6, 0x7f], &[CALLER, 1, rbp], &[], rbp);
    // val_offset: 8 words of -8 from the end of the frame, upwards.
    assert_rbp(&[0x15, 6, 0x78], &[CALLER], &[], STACK + 8 + 64);
    // register rbx, r15.
    assert_rbp(&[0x09, 6, 3], &[CALLER], &[("rbx", rbp)], rbp);
    assert_rbp(&[0x09, 6, 15], &[CALLER], &[("r15", rbp)], rbp);
    // expression: 8 above the stack pointer; the end of the frame that it begins with is left below.
    assert_rbp(&[0x10, 6, 2, 0x77, 8], &[CALLER, rbp], &[], rbp);
    // val_expression: 64 above the end of the frame, less 8.
    assert_rbp(&[0x16, 6, 4, 0x23, 64, 0x38, 0x1c], &[CALLER], &[], rbp);
    // Half a word: deref_size 4.
    let low = rbp - 0x7fff_0000_0000;
    assert_rbp(
        &[0x16, 6, 14, 0x77, 8, 0x94, 4, 0x0e, 0, 0, 0, 0, 0xff, 0x7f, 0, 0, 0x22],
        &[CALLER, low | 0xdead << 32],
        &[],
        rbp,
    );
}

#[test]
fn the_return_address_may_be_anywhere() {
    // In a register; in another column than the usual; at an address that an expression gives.
    assert_found(&callee(Kind::EhFrame, false, &[0x09, 16, 11]), &[1], &[("r11", CALLER)], 8);
    let mut cfi = Cfi::new(Kind::EhFrame);
    let common = cfi.common(false, 9, &[0x0c, 7, 16, 0x89, 2]);
    cfi.function(common, TEXT, 16, &[]);
    cfi.function(common, TEXT + 16, 16, &[0x0e, 8, 0x07, 9]);
    assert_found(&cfi, &[CALLER, 2], &[], 16);
    assert_found(&callee(Kind::EhFrame, false, &[0x0e, 24, 0x10, 16, 2, 0x77, 8]), &[1, CALLER, 3], &[], 24);
}

#[test]
fn what_a_signal_interrupts_is_at_its_own_instruction() {
    // The caller was interrupted at its first instruction: the call before would lie in the callee.
    let first = BASE + TEXT + 16;
    let cfi = callee(Kind::EhFrame, true, &[0x0e, 24, 0x87, 2]);
    // Its stack lies lower than that of the handler: rsp by offset, and the frame ends there as well.
    let found = unwind(there(&cfi), stack(&[1, STACK - 0x1000, first]), registers(&[]));
    let frames = vec![frame(CALLEE, STACK + 24, true), frame(first, STACK - 0x1000 + 8, true)];
    assert_eq!(found, Stack { frames, end: End::Outermost });
}

#[test]
fn what_a_handler_returns_to_is_known_by_its_bytes_too() {
    let mut cfi = Cfi::new(Kind::EhFrame);
    let common = cfi.common(false, 16, &CALLED);
    cfi.function(common, TEXT, 16, &[]);
    cfi.function(common, TEXT + 16, 16, &[0x07, 16]);
    let mut module = cfi.module();
    let restorer = TEXT + 0x100;
    module[restorer as usize..][..9].copy_from_slice(&[0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05]);
    let image = Module { path: "module".into(), base: Some(BASE), image: Some(module.clone()), ..Module::default() };
    let interrupted = STACK - 0x4000;
    let mut words = vec![0; 64];
    words[0] = BASE + restorer;
    // struct ucontext begins above the return address; rsp and rip are the 16th and 17th of its registers.
    words[1 + 5 + 15] = interrupted;
    words[1 + 5 + 16] = CALLER;
    let mut memory = stack(&words);
    memory.0.insert(BASE, module);
    let found = unwind(super::files(image), memory, registers(&[]));
    let frames = vec![
        frame(CALLEE, STACK + 8, true),
        frame(BASE + restorer, interrupted, true),
        frame(CALLER, interrupted + 8, true),
    ];
    assert_eq!(found, Stack { frames, end: End::Outermost });
}

#[test]
fn a_call_of_what_is_no_function_has_a_caller() {
    let cfi = callee(Kind::EhFrame, false, &[]);
    for pc in [0, 8, 0x1234_5678] {
        let mut registers = registers(&[]);
        registers.set(Registers::PC, Some(pc));
        let found = unwind(there(&cfi), stack(&[CALLER]), registers);
        assert_eq!(found.frames, [frame(pc, STACK + 8, true), frame(CALLER, STACK + 16, false)]);
    }
}

#[track_caller]
fn assert_end(cfi: &Cfi, words: &[u64], others: &[(&str, u64)], end: End, frames: usize) {
    let found = unwind(there(cfi), stack(words), registers(others));
    assert_eq!((found.end, found.frames.len()), (end, frames), "{found:x?}");
}

#[test]
fn a_register_that_is_not_known_is_asked_for_and_one_that_is_lost_is_not() {
    let rbx = 3;
    assert_end(&callee(Kind::EhFrame, false, &[0x0c, 3, 8]), &[CALLER], &[], End::Needs(rbx), 1);
    assert_end(&callee(Kind::EhFrame, false, &[0x0f, 2, 0x73, 8]), &[CALLER], &[], End::Needs(rbx), 1);
    assert_end(&callee(Kind::EhFrame, false, &[0x09, 6, 3]), &[CALLER], &[], End::Needs(rbx), 1);
    let none = unwind(there(&callee(Kind::EhFrame, false, &[])), stack(&[]), Registers::default());
    assert_eq!(none, Stack { frames: Vec::new(), end: End::Needs(Registers::PC) });
    // It is the caller that asks for rbp, which the callee has not left: it is lost, or lies where nothing can be read.
    for rule in [&[0x07, 6][..], &[0x11, 6, 0x80, 0x40]] {
        let mut cfi = Cfi::new(Kind::EhFrame);
        let common = cfi.common(false, 16, &CALLED);
        cfi.function(common, TEXT, 16, rule);
        cfi.function(common, TEXT + 16, 16, &[0x0c, 6, 16]);
        assert_end(&cfi, &[CALLER], &[("rbp", STACK)], End::Malformed, 2);
    }
}

#[test]
fn a_stack_ends_for_a_reason() {
    let plain = callee(Kind::EhFrame, false, &[]);
    assert_end(&plain, &[0], &[], End::Outermost, 1);
    assert_end(&plain, &[], &[], End::Unreadable(STACK), 1);
    assert_end(&plain, &[0x1234], &[], End::NoCode, 2);
    // Past the end of the code, and in code that nothing describes.
    assert_end(&plain, &[BASE + 0x3000], &[], End::NoCode, 2);
    assert_end(&plain, &[BASE + TEXT + 0x800], &[], End::NoRules, 2);
    // There is no such instruction; no such register; more is restored than was remembered; no value.
    for instructions in [&[0x3f][..], &[0x0c, 60, 8], &[0x0b], &[0x0f, 1, 0x22], &[0x08, 16]] {
        assert_end(&callee(Kind::EhFrame, false, instructions), &[CALLER], &[], End::Malformed, 1);
    }
}

#[test]
fn an_expression_ends() {
    // skip -3, for ever.
    let cfi = callee(Kind::EhFrame, false, &[0x0f, 3, 0x2f, 0xfd, 0xff]);
    assert_end(&cfi, &[CALLER], &[], End::Malformed, 1);
}

#[test]
fn a_stack_that_leads_back_to_itself_ends() {
    // Both are called from the callee again; the frame ends above rbp, which leads to itself.
    let cfi = callee(Kind::EhFrame, false, &[0x0c, 6, 16, 0x86, 2]);
    let rbp = STACK + 16;
    assert_end(&cfi, &[0, 0, rbp, CALLEE], &[("rbp", rbp)], End::Loop, 1);
    // By two others, of which one lies lower.
    let words = [0, 0, STACK + 48, CALLEE, 0, 0, STACK + 16, CALLEE];
    assert_end(&cfi, &words, &[("rbp", STACK + 16)], End::Loop, 2);
    // By another stack that lies below.
    let mut memory = stack(&[0, 0, STACK - 0x1000, CALLEE]);
    memory.0.insert(STACK - 0x1000, [STACK + 16, CALLEE].iter().flat_map(|word| word.to_le_bytes()).collect());
    let found = unwind(there(&cfi), memory, registers(&[("rbp", rbp)]));
    assert_eq!((found.end, found.frames.len()), (End::Loop, 2));
}

#[test]
fn a_deep_stack_is_cut() {
    let cfi = callee(Kind::EhFrame, false, &[]);
    let words = vec![CALLEE; MOST_FRAMES + 2];
    assert_end(&cfi, &words, &[], End::Deep, MOST_FRAMES);
    let mut words = vec![CALLEE; MOST_FRAMES];
    words[MOST_FRAMES - 1] = 0;
    assert_end(&cfi, &words, &[], End::Outermost, MOST_FRAMES);
}

#[test]
fn a_module_without_a_file_is_read_from_memory() {
    let cfi = callee(Kind::EhFrameAndTable, false, &[0x0e, 24]);
    let mut memory = stack(&[1, 2, CALLER]);
    memory.0.insert(BASE, cfi.module());
    let found = unwind(missing(), memory.clone(), registers(&[]));
    let frames = vec![frame(CALLEE, STACK + 24, true), frame(CALLER, STACK + 32, false)];
    assert_eq!(found, Stack { frames, end: End::Outermost });
    // Where only its first page is there, as in a core, its code is known and no rules are.
    memory.0.get_mut(&BASE).unwrap().truncate(4096);
    let found = unwind(missing(), memory.clone(), registers(&[]));
    assert_eq!(found, Stack { frames: vec![frame(CALLEE, 0, true)], end: End::NoRules });
    memory.0.remove(&BASE);
    let mut registers = registers(&[]);
    registers.set(Registers::PC, Some(CALLEE));
    memory.0.insert(CALLEE, vec![0x90]);
    assert_eq!(unwind(missing(), memory, registers).end, End::NoCode);
    let surveyed =
        survey(&Module { path: "/no/such".into(), base: Some(BASE), ..Module::default() }, &Search::default());
    assert_eq!((surveyed.base, surveyed.bias), (Some(BASE), None));
}

#[test]
fn a_table_that_is_out_of_order_is_not_searched() {
    let mut cfi = callee(Kind::EhFrameAndTable, false, &[]);
    let common = cfi.common(false, 16, &CALLED);
    cfi.function(common, TEXT + 0x20, 16, &[]);
    let mut module = cfi.module();
    let rows = module[0x200c..0x200c + 24].to_vec();
    module[0x200c..0x2014].copy_from_slice(&rows[16..]);
    module[0x201c..0x2024].copy_from_slice(&rows[..8]);
    let image = Module { path: "module".into(), base: Some(BASE), image: Some(module), ..Module::default() };
    let found = unwind(super::files(image), stack(&[CALLER]), registers(&[]));
    assert_eq!((found.frames.len(), found.end), (2, End::Outermost));
}
