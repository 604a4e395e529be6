//! The tests' own ground: debuggees say the truth, and the debugger is one.

use tests::{CoreFile, Debuggee, Segment, Session, gcore, needle};

/// Reads 16 bytes at each address through the debugger.
fn read_all(session: &mut Session, addresses: &[u64]) -> Vec<Vec<u8>> {
    let answer = session.python(&format!(
        "answer = [list(process.ReadMemory(address, 16, lldb.SBError()) or b'') for address in {addresses:?}]"
    ));
    let bytes = |list: &serde_json::Value| -> Vec<u8> {
        list.as_array().expect("a list").iter().map(|byte| byte.as_u64().expect("a byte") as u8).collect()
    };
    answer.as_array().expect("a list").iter().map(bytes).collect()
}

#[test]
fn a_debuggee_says_where_its_needles_are() {
    let mut session = Session::without_plugin([] as [(&str, &str); 0]);
    let truth = session.launch("needles.c", &[]);
    let addresses = truth.addresses("needle");
    assert!(addresses.len() > 200, "{}", addresses.len());
    for (address, bytes) in addresses.iter().zip(read_all(&mut session, &addresses)) {
        assert_eq!(bytes, needle(), "{address:#x} {:?}", truth.label(*address));
    }
}

#[test]
fn a_core_file_has_what_its_process_had() {
    let mut session = Session::without_plugin([] as [(&str, &str); 0]);
    let debuggee = Debuggee::start("needles.c", &[]);
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    let addresses =
        debuggee.truth.labelled("needle", |label| label.starts_with("sparse") || label.starts_with("region"));
    for (address, bytes) in addresses.iter().zip(read_all(&mut session, &addresses)) {
        assert_eq!(bytes, needle(), "{address:#x} {:?}", debuggee.truth.label(*address));
    }
}

#[test]
fn the_debugger_opens_core_files_that_are_made_by_hand() {
    let makers = [CoreFile::x86_64, CoreFile::i386, CoreFile::aarch64_be];
    for maker in makers {
        let mut session = Session::without_plugin([] as [(&str, &str); 0]);
        let core = maker(vec![Segment::new(0x10000, needle().to_vec())]).write(session.folder());
        session.open_core(None, &core);
        assert_eq!(read_all(&mut session, &[0x10000]), [needle()]);
    }
}
